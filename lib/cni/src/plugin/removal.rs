//! Configurations of DEL and GC: a mistake in what a removal does not need does not stop it.
//!
//! The network's name is needed, and that the input is a JSON object. The version is not, as neither verb answers a
//! result; nor is the previous result, of which is taken what can be read.

use serde_json::{Map, Value};

use crate::spec::conf::{expect_bounded, read_object};
use crate::spec::error::Error;

/// The most that is read from standard input, in bytes: a previous result that is too
/// long is left out, up to the size of a file of the result cache.
pub(crate) const MAX_INPUT: usize = 8 << 20;

/// Reads bytes as one JSON object, without its `prevResult` where that makes it larger than a configuration may be.
///
/// # Errors
/// As [`read_object`], of the rest.
pub(crate) fn read(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match expect_bounded(bytes) {
        Ok(()) => read_object(bytes),
        Err(error) => read_object(&without(bytes, b"prevResult").ok_or(error)?),
    }
}

/// A JSON object with null in the place of a key's values; `None` where the text ends early, or has no such key. What is no
/// JSON stays none.
fn without(bytes: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let (mut kept, mut copied) = (Vec::new(), 0);
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = end_of_text(bytes, at)?;
                let is_key = depth == 1 && bytes[at + 1..end - 1].eq_ignore_ascii_case(key);
                if let Some(value) = colon(bytes, end).filter(|_| is_key) {
                    kept.extend_from_slice(&bytes[copied..value]);
                    kept.extend_from_slice(b"null");
                    copied = end_of_value(bytes, value)?;
                    at = copied;
                    continue;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return None;
    }
    kept.extend_from_slice(&bytes[copied..]);
    Some(kept)
}

/// The position after the closing quotation mark of a text that begins here.
fn end_of_text(bytes: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    while *bytes.get(at)? != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

/// The position after a colon that comes next.
fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    let space = bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    (bytes.get(at + space) == Some(&b':')).then_some(at + space + 1)
}

/// The position after a value: the comma or bracket that follows it.
fn end_of_value(bytes: &[u8], begin: usize) -> Option<usize> {
    let (mut at, mut depth) = (begin, 0_usize);
    loop {
        match *bytes.get(at)? {
            b',' | b'}' | b']' if depth == 0 => return Some(at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                at = end_of_text(bytes, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_previous_result_that_is_too_large_is_passed_over() {
        let ips = vec![json!({"address": "10.1.0.2/24", "note": "}],\"\\"}); 20_000];
        let huge = json!({"cniVersion": "1.0.0", "name": "net", "a": {"prevResult": [1]}, "prevResult": {"ips": ips},
            "z": "prevResult"});
        let read = read(huge.to_string().as_bytes()).unwrap();
        let wanted = json!({"cniVersion": "1.0.0", "name": "net", "a": {"prevResult": [1]}, "prevResult": null,
            "z": "prevResult"});
        assert_eq!(Value::Object(read), wanted);
    }

    #[test]
    fn what_else_is_too_large_is_refused() {
        let many = "{},".repeat(20_000);
        for text in [
            format!(r#"{{"a":[{many}0]}}"#),
            format!(r#"{{"a":[{many}0],"prevResult":1}}"#),
            format!(r#"{{"prevResult":[{many}"#),
            format!(r#"{{"prevResult":[{many}0]"#),
            format!(r#"{{"prevResult":"{many}"#),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code(), 6);
        }
    }

    #[test]
    fn values_of_every_kind_are_cut_out() {
        for (text, wanted) in [
            (r#"{"PrevResult" : "a\",}" , "b":1}"#, r#"{"PrevResult" :null, "b":1}"#),
            (r#"{"prevResult":{"a":[{}]},"b":1}"#, r#"{"prevResult":null,"b":1}"#),
            (r#"{"b":1,"prevResult":7}"#, r#"{"b":1,"prevResult":null}"#),
            (r#"{"prevResult":1,"prevResult":[]}"#, r#"{"prevResult":null,"prevResult":null}"#),
        ] {
            assert_eq!(without(text.as_bytes(), b"prevResult").unwrap(), wanted.as_bytes());
        }
        for text in ["", "{}", r#"["prevResult"]"#, r#"{"b":"prevResult"}"#, r#"{"prevResult"#, r#"{"a\"#] {
            assert_eq!(without(text.as_bytes(), b"prevResult"), None, "{text}");
        }
    }
}
