//! The line format of `iptables-restore` and `iptables -S`: words between blanks, in double quotes where needed, with a
//! backslash before a quote or a backslash (`add_param_to_argv`, `xtables_save_string`).

use crate::{Error, Result};

/// `XT_EXTENSION_MAXNAMELEN` less the NUL: the longest name of a chain.
const NAME_MAX: usize = 28;
/// The longest word that `iptables-restore` reads (`struct xt_param_buf`).
const WORD_MAX: usize = 1023;

/// Refuses what cannot name a table or chain, or would be read as an option or a negation.
pub(crate) fn expect_name(name: &str) -> Result<()> {
    let unfit = |reason| Err(Error::Unfit { text: name.to_owned(), reason });
    if name.is_empty() || name.len() > NAME_MAX {
        return unfit("a chain's name has 1 to 28 bytes");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+@".contains(&byte);
    if !name.bytes().all(is_plain) || name.starts_with(['-', ':']) {
        return unfit(
            "a chain's name consists of letters, digits and -_.:+@, and begins with neither - nor :",
        );
    }
    Ok(())
}

/// Appends a word as the programs read it back.
pub(crate) fn push_word(line: &mut String, word: &str) -> Result<()> {
    let unfit = |reason| Err(Error::Unfit { text: word.to_owned(), reason });
    if word.chars().any(char::is_control) {
        return unfit("it has a control character");
    }
    if word.len() > WORD_MAX {
        return unfit("it is longer than 1023 bytes");
    }
    if !line.is_empty() {
        line.push(' ');
    }
    if !word.is_empty() && !word.contains([' ', '"', '\\', '\'', '#', ';', '*']) {
        line.push_str(word);
        return Ok(());
    }
    line.push('"');
    for character in word.chars() {
        if matches!(character, '"' | '\\') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
    Ok(())
}

/// The words of a line.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut escaped) = (None::<String>, false, false);
    for character in line.chars() {
        match character {
            _ if escaped => {
                escaped = false;
                word.get_or_insert_default().push(character);
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        let words =
            ["--comment", "name: \"net\" id: \"a\"", "", "back\\slash", "it's", "#", "é", "10.1.0.0/24"];
        let mut line = String::new();
        for word in words {
            push_word(&mut line, word).unwrap();
        }
        assert_eq!(split(&line), words);
        assert!(line.starts_with(r#"--comment "name: \"net\" id: \"a\"" "" "back\\slash""#), "{line}");
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        for bad in ["a\nb", "a\0b", "a\tb", &"x".repeat(1024)] {
            assert!(push_word(&mut String::new(), bad).is_err(), "{bad:?}");
        }
        for good in ["CNI-HOSTPORT-DNAT", "nat", &"x".repeat(28)] {
            assert!(expect_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "-j", "a b", "a\"b", "!", ":a", "a\nb", &"x".repeat(29)] {
            assert!(expect_name(bad).is_err(), "{bad:?}");
        }
    }
}
