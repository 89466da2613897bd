//! The content of an open regular file: reading all of it, and replacing all of it in place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use folder::{LONGEST, read_sized};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::lines;

/// The bit of its mode by which a file is known to have lines of others. The kernel gives it no meaning for files (`S_ISVTX`).
pub(crate) const MIXED: u32 = 0o1000;

/// Of an old file that is longer than the new content, so many bytes count as lines that somebody may be reading.
pub(crate) const TAIL: usize = 64 << 10;

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Other content.
    Whole {
        /// All of it.
        bytes: Vec<u8>,
        /// It has lines of others.
        is_mixed: bool,
    },
    /// The same lines of others, and other lines among them: nothing moves.
    Lines {
        /// Where lines start that end.
        ending: Vec<usize>,
        /// New lines, for the end of the file.
        more: Vec<u8>,
    },
}

impl Change {
    /// Whether the file has lines of others.
    pub(crate) fn is_mixed(&self) -> bool {
        !matches!(self, Self::Whole { is_mixed: false, .. })
    }
}

/// Reads an open file of that size, `most` bytes of it.
pub(crate) fn read_start(file: &File, size: u64, most: usize) -> io::Result<Vec<u8>> {
    if size <= most as u64 {
        return read_sized(file, size, LONGEST);
    }
    let mut start = Vec::new();
    file.take(most as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Changes an open file of that size, which starts with `old`, in place.
pub(crate) fn change(file: &File, size: u64, old: &[u8], change: &Change) -> io::Result<()> {
    match change {
        Change::Whole { bytes, .. } => overwrite(file, size, old, bytes),
        Change::Lines { ending, more } => {
            make_room(file, size, size + more.len() as u64)?;
            lines::append(file, usize::try_from(size).map_err(io::Error::other)?, more)?;
            lines::end(file, ending.iter().copied())
        }
    }
}

/// Gives a file new content. The lines that both have at the start are not written again. Shorter content is written with
/// empty lines up to the old end, so that nobody meets the rest of an old line before the file is cut.
fn overwrite(file: &File, size: u64, old: &[u8], content: &[u8]) -> io::Result<()> {
    let length = content.len() as u64;
    if old == content && size <= length {
        return Ok(());
    }
    make_room(file, size, length)?;
    let equal = old.iter().zip(content).take_while(|(old, new)| old == new).count();
    let start = content[..equal].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut rest = content[start..].to_vec();
    rest.resize(rest.len().max(old.len() - start), b'\n');
    file.write_all_at(&rest, start as u64)?;
    if length < size.max(old.len() as u64) {
        file.set_len(length)?;
    }
    Ok(())
}

/// Claims the room for a longer file first, so that a full disk cannot leave half a text behind.
fn make_room(file: &File, size: u64, length: u64) -> io::Result<()> {
    if length <= size {
        return Ok(());
    }
    let bytes = i64::try_from(length).map_err(io::Error::other)?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The time of a stat(2).
pub(crate) fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let duration = |number: i64, of: fn(u64) -> Duration| of(u64::try_from(number).unwrap_or_default());
    SystemTime::UNIX_EPOCH
        + duration(seconds, Duration::from_secs)
        + duration(nanoseconds, Duration::from_nanos)
}
