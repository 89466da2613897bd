//! Lines of a file that others read: no reader ever meets half a line.
//!
//! The kernel copies a write(2) on tmpfs into a page while others read it, so a reader can meet the start of an old
//! line with the end of a new one. What cannot be halved is a byte. So a line ends by its first byte, which becomes
//! `#`, and what is to become a line is written behind a `#`, which its first byte replaces at the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The places where lines of a text start.
pub fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    starts(text.as_bytes())
}

pub(crate) fn starts(text: &[u8]) -> impl Iterator<Item = usize> {
    let after_ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_ends).filter(|start| *start < text.len())
}

/// The unit in which the kernel makes bytes beyond the old end of a file visible is at least this: a page.
const PAGE: usize = 4096;

/// Ends lines that start there. The rest of them stays, behind a `#`.
pub(crate) fn end(file: &File, starts: impl IntoIterator<Item = usize>) -> io::Result<()> {
    starts.into_iter().try_for_each(|start| file.write_all_at(b"#", start as u64))
}

/// Adds lines to a file of that size.
pub(crate) fn append(file: &File, size: usize, text: &[u8]) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    // Bytes beyond the end of the file are there when they are all there.
    if size / PAGE == (size + text.len() - 1) / PAGE {
        return file.write_all_at(text, size as u64);
    }
    put(file, size, text)
}

/// Writes lines where there is something, which is a comment or ends by this: first as comments, which become lines by
/// their first byte.
pub(crate) fn put(file: &File, at: usize, text: &[u8]) -> io::Result<()> {
    let mut covered = text.to_vec();
    for line in starts(text) {
        covered[line] = b'#';
    }
    file.write_all_at(&covered, at as u64)?;
    for line in starts(text) {
        file.write_all_at(&text[line..=line], (at + line) as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_the_end_and_go_where_they_are() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0\n1\n2").unwrap();
        let open = File::options().write(true).open(file.path()).unwrap();
        let long = "x".repeat(PAGE);
        append(&open, 5, format!("\n3\n{long}\n").as_bytes()).unwrap();
        end(&open, [2]).unwrap();
        append(&open, 9 + PAGE, b"4\n").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), format!("0\n#\n2\n3\n{long}\n4\n"));
    }
}
