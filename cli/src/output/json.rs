//! JSON as cnitool and Docker print it: four spaces a level.

use std::io;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// The text of a value, with a line feed at its end.
pub(super) fn pretty<T: Serialize + ?Sized>(value: &T) -> io::Result<String> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spaces_a_level() {
        assert_eq!(pretty(&serde_json::json!({"a": [1]})).unwrap(), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
