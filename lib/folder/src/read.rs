//! Reading a file whole, which somebody else may have made of any kind and length.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::OFlag;

use crate::error::Error;
use crate::folder::Folder;

/// The longest file that [`Folder::read`] reads, in bytes.
pub const LONGEST: u64 = 16 << 20;

impl Folder {
    /// The whole content of a regular file; `None` where there is none.
    ///
    /// # Errors
    /// A file that is not a regular one or longer than [`LONGEST`], and what the system calls say.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read_up_to(name, LONGEST)
    }

    /// As [`Folder::read`], for a file that has no reason to be longer than that many bytes.
    ///
    /// # Errors
    /// As [`Folder::read`], and a longer file.
    pub fn read_up_to(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let opened = self.open_file(name, OFlag::O_RDONLY).map_err(|error| Error { verb: "read", ..error });
        let Some(file) = opened? else {
            return Ok(None);
        };
        let read = || -> io::Result<Vec<u8>> {
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            read_sized(&file, metadata.size(), most)
        };
        read().map(Some).map_err(|source| self.failed("read", name, source))
    }
}

/// Reads a file of about the given size, by one read(2) where it has that size: less than was asked for is the end. One
/// that has more than `most` is refused before it is read: a sparse file may claim any length.
pub fn read_sized(file: &File, size: u64, most: u64) -> io::Result<Vec<u8>> {
    if size > most {
        return Err(too_long(most));
    }
    let mut content = vec![0; usize::try_from(size).unwrap_or_default().saturating_add(1)];
    let length = match (&mut &*file).read(&mut content) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        outcome => outcome?,
    };
    let is_end = length > 0 && length < content.len();
    content.truncate(length);
    if !is_end {
        // Somebody is writing to it, or it is one of those that the kernel makes up.
        file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    }
    if content.len() as u64 > most { Err(too_long(most)) } else { Ok(content) }
}

fn too_long(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes"))
}
