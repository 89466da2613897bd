//! Changes to a file whose lines do not move, by which no reader ever meets half a line (see `lines`).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use folder::{FILE, Folder};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::content::{self, MIXED};
use crate::error::Error;
use crate::lines;
use crate::member::Slot;

/// Changes to a part of a file, which ends with the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// The part's length before.
    pub before: usize,
    /// The part's length afterwards.
    pub after: usize,
    /// Where lines start that end.
    pub ending: Vec<usize>,
    /// Places where there are no lines any more.
    pub empty: Vec<Slot>,
    /// New lines with their places. Where there is something before, it is a comment or ends by this patch.
    pub lines: Vec<(usize, String)>,
}

/// What stands where there is no line: a comment of that length.
#[must_use]
pub fn filler(length: usize) -> String {
    let mut text = "#".repeat(length.saturating_sub(1));
    if length > 0 {
        text.push('\n');
    }
    text
}

impl Patch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ending.is_empty() && self.empty.is_empty() && self.lines.is_empty() && self.before == self.after
    }

    /// Changes the part of a file that starts there.
    fn apply(&self, file: &File, start: usize) -> io::Result<()> {
        let write = |at: usize, bytes: &[u8]| file.write_all_at(bytes, (start + at) as u64);
        lines::end(file, self.ending.iter().map(|line| start + line))?;
        for slot in &self.empty {
            write(slot.start, filler(slot.length).as_bytes())?;
        }
        if self.after < self.before {
            file.set_len((start + self.after) as u64)?;
        }
        for (at, text) in &self.lines {
            let write = if *at == self.before { lines::append } else { lines::put };
            write(file, start + at, text.as_bytes())?;
        }
        Ok(())
    }

    /// Changes the end of a file in a folder in that one, which starts after `start` bytes, and says whether it did: it does
    /// not where the file is not as long as it should be, was written to after `since`, or has lines of others.
    pub(crate) fn apply_in_child(
        &self,
        parent: &Folder,
        child: &str,
        name: &str,
        start: usize,
        since: SystemTime,
    ) -> Result<bool, Error> {
        let path = parent.path_of(child)?.join(name);
        let how = OpenHow::new()
            .flags(FILE | OFlag::O_WRONLY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        // A kernel before 5.6 has no openat2(2): there each file is written whole.
        let Ok(fd) = openat2(parent.file(), &Path::new(child).join(name), how) else {
            return Ok(false);
        };
        let file = File::from(fd);
        let write = || -> io::Result<bool> {
            let metadata = file.metadata()?;
            let untouched = metadata.is_file()
                && metadata.nlink() == 1
                && metadata.mode() & MIXED == 0
                && metadata.size() == (start + self.before) as u64
                && content::time(metadata.mtime(), metadata.mtime_nsec()) <= since;
            if untouched {
                self.apply(&file, start)?;
            }
            Ok(untouched)
        };
        write().map_err(|source| Error::io("write", path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(text: &str, patch: &Patch) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        patch.apply(&File::options().write(true).open(file.path()).unwrap(), 2).unwrap();
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn lines_come_and_go_in_their_places() {
        let slot = |start, length| Slot { start, length };
        let gone =
            Patch { before: 9, after: 9, ending: vec![3], empty: vec![slot(3, 3)], ..Patch::default() };
        assert_eq!(patched("0\naa\nbb\ncc\n", &gone), "0\naa\n##\ncc\n");
        let come = Patch {
            before: 9,
            after: 9,
            lines: vec![(3, "b\n".into()), (5, "\n".into())],
            ..Patch::default()
        };
        assert_eq!(patched("0\naa\n##\ncc\n", &come), "0\naa\nb\n\ncc\n");
        let last = Patch { before: 9, after: 6, ending: vec![6], ..Patch::default() };
        assert_eq!(patched("0\naa\nbb\ncc\n", &last), "0\naa\nbb\n");
        let next = Patch { before: 9, after: 15, lines: vec![(9, "dd\nee\n".into())], ..Patch::default() };
        assert_eq!(patched("0\naa\nbb\ncc\n", &next), "0\naa\nbb\ncc\ndd\nee\n");
    }

    #[test]
    fn fillers_are_comments_of_every_length() {
        assert_eq!([0, 1, 2, 5].map(filler), ["", "\n", "#\n", "####\n"]);
    }
}
