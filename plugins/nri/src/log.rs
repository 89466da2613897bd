//! The log: standard error, which systemd keeps; where a runtime started the plugin, standard error is `/dev/null`, and
//! the log is the node's (`/dev/log`). Pods choose names, variables and paths: in a line they are printable, and cut.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line, and the longest name in one, in characters.
const LINE: usize = 2000;
const NAME: usize = 128;
/// The socket of the node's log.
const NODES: &str = "/dev/log";
/// How many lines wait for a reader that is slow, and how long the end waits for it.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_millis(500);

/// What is sent to the writer.
enum Item {
    Line(String),
    /// Answered when everything before it is written.
    End(SyncSender<()>),
}

/// The channel to a thread that writes. A write to a pipe that nobody reads waits for ever, and containers must not.
static WRITER: OnceLock<SyncSender<Item>> = OnceLock::new();
static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

/// Logs a line, on another thread. Where the reader is slow, lines are left out, and counted.
pub(crate) fn log(line: &str) {
    if writer().try_send(Item::Line(printable(line, LINE))).is_err() {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until all lines are written, for half a second each way at most.
pub(crate) fn finish() {
    let (sender, receiver) = mpsc::sync_channel(1);
    let began = Instant::now();
    while writer().try_send(Item::End(sender.clone())).is_err() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = receiver.recv_timeout(PATIENCE);
}

fn writer() -> &'static SyncSender<Item> {
    WRITER.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        // Without a thread, there is no log.
        let _ = thread::Builder::new().spawn(move || write(&receiver));
        sender
    })
}

fn write(items: &Receiver<Item>) {
    // For syslog(3), or the journal in its place. Without a socket, there is no log either.
    let nodes = if leads_nowhere() { UnixDatagram::unbound().ok() } else { None };
    // A log that cannot be written has no other place for the error.
    let write = |line: &str| match &nodes {
        None => drop(writeln!(io::stderr(), "cleat-nri: {line}")),
        Some(socket) => {
            // A warning of a daemon (RFC 3164).
            let message = format!("<28>cleat-nri[{}]: {line}", process::id());
            drop(socket.send_to(message.as_bytes(), NODES));
        }
    };
    for item in items {
        match item {
            Item::Line(line) => {
                let left_out = LEFT_OUT.swap(0, Ordering::Relaxed);
                if left_out > 0 {
                    write(&format!("{left_out} lines are left out"));
                }
                write(&line);
            }
            Item::End(done) => drop(done.try_send(())),
        }
    }
}

/// Whether standard error is /dev/null.
fn leads_nowhere() -> bool {
    const NULL: u64 = 0x0103;
    fs::metadata("/proc/self/fd/2").is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == NULL)
}

/// A name that a pod chose, to be part of a line.
pub(crate) fn name(text: &str) -> String {
    printable(text, NAME)
}

/// The text with hidden characters escaped as in Rust (`\n`, `\u{1b}`), cut after `longest` characters.
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

/// Whether a character is a control, or makes a terminal or an editor show others in another order or on another line.
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
