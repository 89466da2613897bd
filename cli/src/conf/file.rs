//! A file that holds a network, and what is found wrong in it.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::document::{Node, Position, position};
use super::keys::Fault;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) cure: String,
}

impl Finding {
    pub(super) fn new(file: &Path, Position { line, column }: Position, message: String) -> Self {
        Self { file: file.to_owned(), line, column, message, cure: String::new() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, cure } = self;
        write!(f, "{}:{line}:{column}: {message}", file.display())?;
        if cure.is_empty() { Ok(()) } else { write!(f, " ({cure})") }
    }
}

/// How many mistakes of a file are reported.
const MOST: usize = 100;

/// A file that holds a network.
pub(super) struct Network {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) root: Node,
    /// The name; empty where there is none.
    pub(super) name: String,
}

impl Network {
    /// The objects of its plugins: those of a list, or a single configuration itself.
    pub(super) fn plugins(&self) -> &[Node] {
        match self.root.get("plugins") {
            Some(plugins) => plugins.items(),
            None => std::slice::from_ref(&self.root),
        }
    }

    /// Its mistakes, one for each place, and no more than [`MOST`]: finding the position of each reads the whole text.
    pub(super) fn findings(&self, mut faults: Vec<Fault>) -> impl Iterator<Item = Finding> {
        let mut places = HashSet::new();
        faults.retain(|fault| places.insert(fault.at));
        if let Some(further) = faults.len().checked_sub(MOST).filter(|further| *further > 0) {
            faults.sort_by_key(|fault| fault.at);
            faults.truncate(MOST);
            let problem = format!("and {further} further mistakes in this file");
            let at = faults.last().map_or(0, |fault| fault.at + 1);
            faults.push(Fault::new(at, problem, "correct those above first"));
        }
        faults.into_iter().map(|fault| self.finding(fault))
    }

    pub(super) fn finding(&self, fault: Fault) -> Finding {
        let finding = Finding::new(&self.file, position(&self.text, fault.at), fault.problem);
        Finding { cure: fault.cure, ..finding }
    }

    /// `file:line:column` of a byte, for messages about two places.
    pub(super) fn at(&self, at: usize) -> String {
        let Position { line, column } = position(&self.text, at);
        format!("{}:{line}:{column}", self.file.display())
    }
}
