//! Text that somebody else has chosen, for a terminal: nothing in it moves the cursor, changes colours or titles, or turns the
//! order of what is read around.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character is an order to a terminal, or to the program that lays text out, rather than something to be read: control
/// characters of ASCII and of ISO 6429 (U+0080 to U+009F), and those that turn the direction of text (Unicode, UAX 9).
#[must_use]
pub fn is_order(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text in which such characters are written as Rust writes them (`\u{1b}`), but for line feeds and tabs.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |character| matches!(character, '\n' | '\t'),
        |text, character| {
            text.extend(character.escape_default());
        },
    )
}

/// The same on one line: line feeds and tabs are escaped as well.
#[must_use]
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, |text, character| text.extend(character.escape_default()))
}

/// JSON in which they are written as JSON writes them (`\u001b`). Outside of its strings there are none but white space.
#[must_use]
pub fn printable_json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |character| matches!(character, '\n' | '\t' | '\r'),
        |text, character| {
            // All of them are of the basic multilingual plane.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        },
    )
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let is_escaped = |character: char| is_order(character) && !is_kept(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            escape(&mut written, character);
        } else {
            written.push(character);
        }
    }
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_written_out_and_text_stays() {
        let text = "a\u{1b}[2Jb\u{7f}\u{9b}c\u{202e}d\r\n\te\u{2066}ü\u{1f600}";
        assert_eq!(printable(text), "a\\u{1b}[2Jb\\u{7f}\\u{9b}c\\u{202e}d\\r\n\te\\u{2066}ü\u{1f600}");
        assert_eq!(printable_line("a\nb\tc"), "a\\nb\\tc");
        assert!(matches!(printable("plain ü"), Cow::Borrowed(_)));
        let json = printable_json("{\n\"\u{7f}\u{9b}\u{202e}\": 1}");
        assert_eq!(json, "{\n\"\\u007f\\u009b\\u202e\": 1}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["\u{7f}\u{9b}\u{202e}"], 1);
    }
}
