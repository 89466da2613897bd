//! The content of an open regular file: reading all of it, and replacing all of it in place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Gives an open file of that size new content in place, unless it has it already.
pub(crate) fn overwrite(file: &File, size: u64, content: &[u8]) -> io::Result<()> {
    let length = content.len() as u64;
    if size == length && read_sized(file, size)? == content {
        return Ok(());
    }
    if length > size {
        // The room is claimed first, so that a full disk cannot leave half a text behind.
        let bytes = i64::try_from(length).map_err(io::Error::other)?;
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    file.write_all_at(content, 0)?;
    if length < size {
        file.set_len(length)?;
    }
    Ok(())
}

/// Reads a file of about the given size: one read, and one more that finds the end.
pub(crate) fn read_sized(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1));
    file.take(u64::MAX).read_to_end(&mut content)?;
    Ok(content)
}
