//! A rule as `iptables -S` prints it.

use crate::words;

/// A rule of a chain. [`crate::Transaction::delete_rule`] deletes it as it was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All after `-A`, as printed.
    text: String,
    /// The same in words: the chain, then the specification.
    words: Vec<String>,
}

impl Rule {
    /// Reads a line; `None` for one that declares a chain or its policy.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let text = line.strip_prefix("-A ")?;
        Some(Self { text: text.to_owned(), words: words::split(text) })
    }

    /// As printed, from the chain's name on.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The specification in words, without the chain.
    #[must_use]
    pub fn words(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The value of an option, as `-s` or `--to-destination`. A negated option is another one.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let words = self.words();
        // A comment may look like an option.
        let stands = |at: usize| at == 0 || !matches!(words[at - 1].as_str(), "!" | "--comment");
        let is_it = |at: &usize| words[*at] == name && stands(*at);
        let at = (0..words.len()).find(is_it)?;
        words.get(at + 1).map(String::as_str)
    }

    /// Where it leads: a chain, or a verdict as `ACCEPT`.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.option("-j").or_else(|| self.option("-g"))
    }

    /// Its comment.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.option("--comment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_rule_is_understood() {
        let line = r#"-A POSTROUTING ! -d 224.0.0.0/4 -s 10.1.0.2/32 -m comment --comment "name: \"net\" -j X" -j CNI-1"#;
        let rule = Rule::parse(line).unwrap();
        assert_eq!(rule.target(), Some("CNI-1"));
        assert_eq!(rule.comment(), Some("name: \"net\" -j X"));
        assert_eq!((rule.option("-s"), rule.option("-d")), (Some("10.1.0.2/32"), None));
        assert_eq!(rule.words()[..2], ["!", "-d"]);
        let rule = Rule::parse("-A FORWARD -m comment --comment -j -j ACCEPT").unwrap();
        assert_eq!((rule.comment(), rule.target()), (Some("-j"), Some("ACCEPT")));
        assert_eq!(Rule::parse("-N CNI-1"), None);
        assert_eq!(Rule::parse("-P POSTROUTING ACCEPT"), None);
    }
}
