//! The log: standard error, a line a message. In the journal each line begins with its priority (sd-daemon(3)).

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Whether lines go to the journal.
static JOURNAL: OnceLock<bool> = OnceLock::new();

/// How much a line matters: the number of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Something does not work.
    Error = 3,
    /// Something will not work unless somebody sees to it.
    Warning = 4,
    /// What goes on.
    Info = 6,
}

/// To be called once, with the value of `JOURNAL_STREAM`: `DEVICE:INODE` of the journal's socket. Standard error may have been
/// led elsewhere since.
pub(crate) fn init(journal_stream: Option<&str>) {
    let stderr = fs::metadata("/proc/self/fd/2").ok().map(|file| format!("{}:{}", file.dev(), file.ino()));
    let _ = JOURNAL.set(journal_stream.is_some() && stderr.as_deref() == journal_stream);
}

/// Writes a line. A log that cannot be written has no other place for the error.
pub(crate) fn log(priority: Priority, line: impl fmt::Display) {
    // What an engine or a file says stays on one line, which is one write.
    let line = line.to_string();
    let line = cni::printable_line(&line);
    let text = if JOURNAL.get() == Some(&true) {
        format!("<{}>{line}\n", priority as u8)
    } else {
        format!("cleat-overlay: {line}\n")
    };
    drop(io::stderr().write_all(text.as_bytes()));
}
