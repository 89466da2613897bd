//! `cleat logs`: the output of a container in the background.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::thread;
use std::time::Duration;

use cni::printable;

use crate::error::Error;
use crate::output;
use crate::runs::{self, Log, Part};

/// How often a log that is followed is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The arguments of `cleat logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container
    container: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines, so many of them, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = lines)]
    tail: Lines,
    /// Print control characters as well: colours, and whatever else the output does to the terminal
    #[arg(long)]
    raw: bool,
}

/// How many lines; `None` means all.
#[derive(Clone, Copy, Debug)]
struct Lines(Option<usize>);

fn lines(text: &str) -> Result<Lines, &'static str> {
    match text.parse() {
        Ok(number) => Ok(Lines(Some(number))),
        Err(_) if text == "all" => Ok(Lines(None)),
        Err(_) => Err("write a number, or all"),
    }
}

/// Prints the log: byte for byte, unless to a terminal.
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
    if let Some(lines) = args.tail.0 {
        reader.skip_to(lines).map_err(|error| Error::io("read the log", error))?;
    }
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
        thread::sleep(POLL_INTERVAL);
    }
}

/// Goes through a log, from file to file.
struct Reader {
    log: Log,
    current: Option<(Part, File)>,
}

impl Reader {
    /// Goes to the beginning of the last so many lines.
    fn skip_to(&mut self, lines: usize) -> io::Result<()> {
        let mut missing = lines;
        let mut is_end = true;
        for part in self.log.parts().into_iter().rev() {
            let mut file = part.open()?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            // The end of the last line is no beginning of another one.
            let last = bytes.len().saturating_sub(usize::from(is_end));
            let mut ends = (0..last).rev().filter(|at| bytes[*at] == b'\n');
            let start = if lines == 0 { Some(bytes.len()) } else { ends.nth(missing - 1).map(|at| at + 1) };
            let offset = start.unwrap_or_default();
            file.seek(SeekFrom::Start(offset as u64))?;
            self.current = Some((part, file));
            if start.is_some() {
                return Ok(());
            }
            missing -= bytes[..last].split(|byte| *byte == b'\n').count() - 1;
            is_end = false;
        }
        Ok(())
    }

    /// Copies what has been added.
    fn copy(&mut self, printer: &mut Printer<impl Write>) -> io::Result<()> {
        loop {
            if let Some((_, file)) = &mut self.current {
                io::copy(file, printer)?;
                printer.flush()?;
            }
            let number = self.current.as_ref().map(|(part, _)| part.number);
            let parts = self.log.parts();
            let Some(next) = parts.into_iter().find(|part| number.is_none_or(|number| part.number > number))
            else {
                return Ok(());
            };
            // As there is a next file, nothing more is written to this one.
            if let Some((part, file)) = &mut self.current {
                io::copy(file, printer)?;
                if next.number > part.number + 1 {
                    output::tell("cleat: more was written than the log keeps: some of it is missing here\n");
                }
            }
            match next.open() {
                Ok(file) => self.current = Some((next, file)),
                // It has just been removed, as there are two newer ones.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Prints bytes; unless raw, as text without control characters.
struct Printer<W> {
    output: W,
    is_raw: bool,
    /// The beginning of a character whose end has not been read yet.
    rest: Vec<u8>,
}

impl<W: Write> Write for Printer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_raw {
            return self.output.write(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let text = std::mem::take(&mut self.rest);
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.output.write_all(printable(chunk.valid()).as_bytes())?;
            let invalid = chunk.invalid();
            // Without a length, the error is that the bytes end too early (`Utf8Error`).
            let is_cut = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && is_cut {
                self.rest = invalid.to_vec();
            } else {
                write!(self.output, "{}", invalid.escape_ascii())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<W: Write> Printer<W> {
    fn end(&mut self) -> io::Result<()> {
        write!(self.output, "{}", std::mem::take(&mut self.rest).escape_ascii())?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(parts: &[&[u8]], is_raw: bool) -> Vec<u8> {
        let mut printer = Printer { output: Vec::new(), is_raw, rest: Vec::new() };
        for part in parts {
            printer.write_all(part).unwrap();
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
