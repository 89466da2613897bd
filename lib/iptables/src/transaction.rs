//! Changes of one table that hold together or not at all.

use std::fmt::Write;

use crate::words::{expect_name, push_word};
use crate::{Error, Result, Rule};

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

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.fault.is_none()
    }

    /// Makes a chain; the transaction fails where it exists.
    pub fn new_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-N", chain, &[])
    }

    /// Makes a chain, or empties the one that exists. Not for a chain that others put rules into.
    pub fn reset_chain(&mut self, chain: &str) -> &mut Self {
        // Before the lines that begin with an option, as iptables-save writes it; the dash is for "no policy".
        match expect_name(chain) {
            Ok(()) => self.lines.push(format!(":{chain} - [0:0]")),
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Empties a chain; the transaction fails where it does not exist.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-F", chain, &[])
    }

    /// Removes an empty chain that nothing leads to; the transaction fails otherwise.
    pub fn del_chain(&mut self, chain: &str) -> &mut Self {
        self.push("-X", chain, &[])
    }

    /// Puts a rule at a chain's end. Its words are handed over one by one, whatever is in them.
    pub fn append(&mut self, chain: &str, words: &[&str]) -> &mut Self {
        self.push("-A", chain, words)
    }

    /// Puts a rule at a chain's head.
    pub fn insert(&mut self, chain: &str, words: &[&str]) -> &mut Self {
        self.push("-I", chain, words)
    }

    /// Removes the first rule of a chain that is like this; the transaction fails where there is none.
    pub fn delete(&mut self, chain: &str, words: &[&str]) -> &mut Self {
        self.push("-D", chain, words)
    }

    /// Removes a rule that was read, by its own print.
    pub fn delete_rule(&mut self, rule: &Rule) -> &mut Self {
        self.lines.push(format!("-D {}", rule.text()));
        self
    }

    fn push(&mut self, command: &str, chain: &str, words: &[&str]) -> &mut Self {
        let mut line = command.to_owned();
        let written = expect_name(chain).and_then(|()| {
            let mut words = std::iter::once(&chain).chain(words);
            words.try_for_each(|word| push_word(&mut line, word))
        });
        match written {
            Ok(()) => self.lines.push(line),
            Err(error) => self.refuse(error),
        }
        self
    }

    fn refuse(&mut self, error: Error) {
        self.fault.get_or_insert(error);
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
        change
            .reset_chain("CNI-1")
            .append("CNI-1", &["-m", "comment", "--comment", "a \"b\"", "-j", "ACCEPT"]);
        change.delete_rule(&Rule::parse("-A POSTROUTING -s 10.1.0.2/32 -j CNI-2").unwrap());
        let script = change.script().unwrap().unwrap();
        assert_eq!(
            script.lines().collect::<Vec<_>>(),
            [
                "*nat",
                ":CNI-1 - [0:0]",
                r#"-A CNI-1 -m comment --comment "a \"b\"" -j ACCEPT"#,
                "-D POSTROUTING -s 10.1.0.2/32 -j CNI-2",
                "COMMIT",
            ]
        );
        assert_eq!(change.line_of("iptables-restore: line 2 failed"), Some(":CNI-1 - [0:0]"));
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
        assert!(change.script().is_err() && !change.is_empty());
    }
}
