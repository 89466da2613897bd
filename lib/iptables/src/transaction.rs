//! Changes of one table that hold together or not at all.

use std::fmt::Write;

use crate::words::{expect_name, push_word};
use crate::{Error, Result, Rule};

const NO_WORDS: &[&str] = &[];

/// Changes of one table, in their order. A table is what the programs commit at once.
#[derive(Debug)]
pub struct Transaction {
    table: &'static str,
    lines: Vec<String>,
    /// The first change that could not be written as it was meant.
    fault: Option<Error>,
}

impl Transaction {
    /// No changes yet, of a table: `nat`, `filter`.
    #[must_use]
    pub const fn new(table: &'static str) -> Self {
        Self { table, lines: Vec::new(), fault: None }
    }

    pub(crate) const fn table(&self) -> &'static str {
        self.table
    }

    /// Makes a chain; the transaction fails where it exists.
    pub fn new_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-N", chain, NO_WORDS)
    }

    /// Empties a chain; the transaction fails where it does not exist.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-F", chain, NO_WORDS)
    }

    /// Removes an empty chain that nothing leads to; the transaction fails otherwise.
    pub fn del_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-X", chain, NO_WORDS)
    }

    /// Puts a rule at a chain's end. A word may contain anything but control characters.
    pub fn append(&mut self, chain: &str, words: &[impl AsRef<str>]) -> &mut Self {
        self.push("-A", chain, words)
    }

    /// Puts a rule at a chain's head.
    pub fn insert(&mut self, chain: &str, words: &[impl AsRef<str>]) -> &mut Self {
        self.push("-I", chain, words)
    }

    /// Removes a rule that was read, as it was printed.
    pub fn delete_rule(&mut self, rule: &Rule) -> &mut Self {
        self.lines.push(format!("-D {}", rule.text()));
        self
    }

    fn push(&mut self, command: &str, chain: &str, words: &[impl AsRef<str>]) -> &mut Self {
        let mut line = command.to_owned();
        let written = expect_name(chain)
            .and_then(|()| push_word(&mut line, chain))
            .and_then(|()| words.iter().try_for_each(|word| push_word(&mut line, word.as_ref())));
        match written {
            Ok(()) => self.lines.push(line),
            Err(error) => _ = self.fault.get_or_insert(error),
        }
        self
    }

    /// What `iptables-restore` reads; `None` where there is nothing to do.
    pub(crate) fn script(&self) -> Result<Option<String>> {
        if let Some(Error::Unfit { text, reason }) = &self.fault {
            return Err(Error::Unfit { text: text.clone(), reason });
        }
        if self.lines.is_empty() {
            return Ok(None);
        }
        expect_name(self.table)?;
        let mut script = format!("*{}\n", self.table);
        for line in &self.lines {
            let _ = writeln!(script, "{line}");
        }
        script.push_str("COMMIT\n");
        Ok(Some(script))
    }

    /// The change that a complaint is about, by the line number in it.
    pub(crate) fn line_of(&self, complaint: &str) -> Option<&str> {
        let number = complaint.split("line").nth(1)?.trim_start_matches([':', ' ']);
        let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
        // The first line names the table.
        let at = digits.parse::<usize>().ok()?.checked_sub(2)?;
        self.lines.get(at).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_what_iptables_restore_reads() {
        let mut change = Transaction::new("nat");
        change.new_chain("CNI-1").append("CNI-1", &["-m", "comment", "--comment", "a \"b\"", "-j", "ACCEPT"]);
        change.delete_rule(&Rule::parse("-A POSTROUTING -s 10.1.0.2/32 -j CNI-2").unwrap());
        let script = change.script().unwrap().unwrap();
        assert_eq!(
            script.lines().collect::<Vec<_>>(),
            [
                "*nat",
                "-N CNI-1",
                r#"-A CNI-1 -m comment --comment "a \"b\"" -j ACCEPT"#,
                "-D POSTROUTING -s 10.1.0.2/32 -j CNI-2",
                "COMMIT",
            ]
        );
        assert_eq!(change.line_of("iptables-restore: line 2 failed"), Some("-N CNI-1"));
        assert_eq!(
            change.line_of("Error occurred at line: 4"),
            Some("-D POSTROUTING -s 10.1.0.2/32 -j CNI-2")
        );
        assert_eq!(change.line_of("line 5 failed"), None);
        assert!(Transaction::new("nat").script().unwrap().is_none());
    }

    #[test]
    fn nothing_gets_out_of_its_word() {
        for bad in ["x\nCOMMIT\n*filter\n-F", "x\0"] {
            let mut change = Transaction::new("nat");
            change.append("CNI-1", &["--comment", bad]);
            assert!(matches!(change.script(), Err(Error::Unfit { .. })), "{bad:?}");
        }
        let mut change = Transaction::new("nat");
        change.new_chain("a\n-F POSTROUTING");
        assert!(change.script().is_err());
    }
}
