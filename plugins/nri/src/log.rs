//! What is told on standard error, which the log of the runtime or of the unit has. Pods choose names, variables and
//! paths: none of them reaches a log as anything but printable text, nor at any length.

use std::io::Write;

/// The longest line, and the longest name in one, in characters.
const LINE: usize = 2000;
const NAME: usize = 128;

/// Tells a line.
pub(crate) fn log(line: &str) {
    // Where nobody reads it, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "cleat-nri: {}", printable(line, LINE));
}

/// A name that somebody else has chosen, to stand in a line.
pub(crate) fn name(text: &str) -> String {
    printable(text, NAME)
}

/// The text with what is not to be printed written as in Rust (`\n`, `\u{1b}`), and its end left out where it is too long.
pub(crate) fn printable(text: &str, longest: usize) -> String {
    let mut printable = String::with_capacity(text.len().min(longest));
    for (place, character) in text.chars().enumerate() {
        if place == longest {
            printable.push('…');
            break;
        }
        if is_hidden(character) {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Whether a character is a control, or one of those that have a terminal or an editor show others in another order or
/// on another line.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_text() {
        assert_eq!(name("web\n\x1b[2Jx\u{9b}\u{202e}y\u{85}ä"), "web\\n\\u{1b}[2Jx\\u{9b}\\u{202e}y\\u{85}ä");
        assert_eq!(name(&"ä".repeat(129)).chars().count(), 129);
        assert!(printable(&"\0".repeat(1 << 20), LINE).len() < 20 * LINE);
    }
}
