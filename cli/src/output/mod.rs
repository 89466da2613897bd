//! The output of verbs: tables for people, JSON for programs, both on standard output.
//!
//! Names, addresses and messages may have been chosen by an attacker: here, and nowhere else, what could control a terminal
//! is escaped. Nothing but this module and `logs` writes to standard output.
//!
//! Colours appear on terminals only, and not where `NO_COLOR` is set (<https://no-color.org>): `anstream` sees to that.

mod table;

use std::io::{self, Write};

use cni::{printable, printable_json};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

pub(crate) use table::{BAD, Cell, FAINT, GOOD, Table};

use crate::error::Error;

/// The option of every verb that lists or describes something.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Form {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Prints the value where JSON was asked for, and the table otherwise.
    pub(crate) fn show<T: Serialize>(
        self,
        value: impl FnOnce() -> T,
        table: impl FnOnce() -> Table,
    ) -> Result<(), Error> {
        if self.json { json(&value()) } else { tables(&[table()]) }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }
}

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    let text = pretty(value).map_err(|error| Error::io("print JSON", error))?;
    write(&printable_json(&text))
}

/// Prints tables, with an empty line between them.
pub(crate) fn tables(tables: &[Table]) -> Result<(), Error> {
    // Cells are escaped already, and their colours must stay.
    write(&tables.iter().map(Table::to_string).collect::<Vec<_>>().join("\n"))
}

/// JSON as cnitool and Docker print it: four spaces a level, and a line feed at the end.
fn pretty<T: Serialize + ?Sized>(value: &T) -> io::Result<String> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(io::Error::other)
}

/// Prints what a template has made, which may be a table: without its colours.
pub(crate) fn plain(text: &str) -> Result<(), Error> {
    write(&printable(anstream::adapter::strip_str(text).to_string().as_str()))
}

/// Prints text.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    write(&printable(text))
}

/// A reader that has closed the pipe is no failure.
fn write(text: &str) -> Result<(), Error> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes a message to standard error. Where that is closed, nobody reads it.
pub(crate) fn tell(text: &str) {
    let _ = anstream::stderr().write_all(printable(text).as_bytes());
}

/// Writes to standard error what went wrong, and what can be done about it.
pub(crate) fn fail(message: &str, cure: Option<&str>) {
    let cure = cure.map(|cure| format!("  {}\n", printable(cure))).unwrap_or_default();
    let text = format!("{BAD}cleat:{BAD:#} {}\n{cure}", printable(message));
    let _ = anstream::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_spaces_a_level() {
        assert_eq!(pretty(&serde_json::json!({"a": [1]})).unwrap(), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
