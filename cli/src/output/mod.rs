//! What verbs tell: tables for people, JSON for programs, both on standard output.
//!
//! Colours appear on terminals only, and not where `NO_COLOR` is set (<https://no-color.org>): `anstream` sees to that.

mod json;
mod table;

use std::io::{self, Write};

use serde::Serialize;

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
        if self.json { json(&value()) } else { text(&table().to_string()) }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }
}

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Error> {
    let text = json::pretty(value).map_err(|error| Error::io("print JSON", error))?;
    self::text(&text)
}

/// Prints text that may have colours. A reader that has seen enough is no failure.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Tells people something on standard error. Where that is closed there is nobody to tell.
pub(crate) fn tell(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
