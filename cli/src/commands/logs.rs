//! `cleat logs`: what a container in the background wrote.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::thread;
use std::time::Duration;

use cni::printable;

use crate::error::Error;
use crate::output;
use crate::runs::{self, Log, Part};

/// How often a log that is followed is looked at.
const PAUSE: Duration = Duration::from_millis(100);
const CHUNK: usize = 64 << 10;
/// The longest character of UTF-8, in bytes.
const LONGEST: usize = 4;

/// The arguments of `cleat logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container
    container: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Let what was written steer the terminal: colours, and whatever else the command tells it to do
    #[arg(long)]
    raw: bool,
}

/// Prints the log, to anything but a terminal byte for byte.
pub(crate) fn execute(args: &Args) -> Result<(), Error> {
    let run = runs::find(&args.container)?;
    if !run.record.detached {
        return Err(Error::refused(
            format!("read the log of container {}", args.container),
            "it runs in the foreground",
            "it writes where it was started",
        ));
    }
    let mut reader = Reader { log: run.log(), current: None };
    let is_raw = args.raw || !io::stdout().is_terminal();
    let mut printer = Printer { output: io::stdout().lock(), is_raw, rest: Vec::new() };
    loop {
        // In this order: what is written before the end is read after it.
        let goes_on = args.follow && run.is_alive()?;
        match reader.copy(&mut printer).and_then(|()| if goes_on { Ok(()) } else { printer.end() }) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(|error| Error::io("print the log", error))?,
        }
        if !goes_on {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

/// Goes through a log, from file to file.
struct Reader {
    log: Log,
    current: Option<(Part, File)>,
}

impl Reader {
    /// Copies what has been added.
    fn copy(&mut self, printer: &mut Printer<impl Write>) -> io::Result<()> {
        loop {
            if let Some((_, file)) = &mut self.current {
                printer.copy(file)?;
            }
            let number = self.current.as_ref().map(|(part, _)| part.number);
            let parts = self.log.parts();
            let Some(next) = parts.into_iter().find(|part| number.is_none_or(|number| part.number > number))
            else {
                return Ok(());
            };
            // One file is written at a time: what is not in this one by now never will be.
            if let Some((part, file)) = &mut self.current {
                printer.copy(file)?;
                if next.number > part.number + 1 {
                    output::tell("cleat: more was written than the log keeps: some of it is missing here\n");
                }
            }
            match next.open() {
                Ok(file) => self.current = Some((next, file)),
                // It has just been removed, as two newer ones are there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Prints bytes, to a terminal as text that steers nothing.
struct Printer<W> {
    output: W,
    is_raw: bool,
    /// The beginning of a character whose end was not there yet.
    rest: Vec<u8>,
}

impl<W: Write> Printer<W> {
    fn copy(&mut self, file: &mut File) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return self.output.flush(),
                Ok(length) => self.print(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn print(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_raw {
            return self.output.write_all(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.output.write_all(printable(chunk.valid()).as_bytes())?;
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_cut(invalid) {
                self.rest = invalid.to_vec();
            } else {
                write!(self.output, "{}", invalid.escape_ascii())?;
            }
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        write!(self.output, "{}", std::mem::take(&mut self.rest).escape_ascii())?;
        self.output.flush()
    }
}

/// Whether bytes that are no character may become one with those to come.
fn is_cut(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() < LONGEST
        && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(parts: &[&[u8]], is_raw: bool) -> Vec<u8> {
        let mut printer = Printer { output: Vec::new(), is_raw, rest: Vec::new() };
        for part in parts {
            printer.print(part).unwrap();
        }
        printer.end().unwrap();
        printer.output
    }

    #[test]
    fn a_terminal_gets_text_and_anything_else_the_bytes() {
        let parts: [&[u8]; 4] = [b"a\x1b[2J\xc3", b"\xbc\xff\n\tb\r\n", b"\xe2\x80", b"\xaec\xf0\x9f"];
        assert_eq!(printed(&parts, true), parts.concat());
        let text = String::from_utf8(printed(&parts, false)).unwrap();
        assert_eq!(text, "a\\u{1b}[2Jü\\xff\n\tb\\r\n\\u{202e}c\\xf0\\x9f");
    }
}
