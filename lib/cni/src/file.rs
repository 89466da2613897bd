//! Reading files that another program may have replaced: nothing here waits, or reads without end.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// More than any file that the suite writes for itself, in bytes.
pub const LONGEST: usize = 16 << 20;

/// The content of a regular file of at most `limit` bytes; symbolic links are followed.
///
/// # Errors
/// A file that is longer, a FIFO, a device, a directory; and what the system calls say.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // Without O_NONBLOCK, opening a FIFO would wait for its other end.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // A sparse file may claim any length.
    if usize::try_from(metadata.len()).map_or(true, |length| length > limit) {
        return Err(too_long(limit));
    }
    read_at_most(file, limit)
}

/// Everything that a reader gives, if that is no more than `limit` bytes.
///
/// # Errors
/// More than that, and what the reader says.
pub fn read_at_most(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096.min(limit));
    // One byte over the limit shows that there was too much.
    reader.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(too_long(limit)) } else { Ok(bytes) }
}

fn too_long(limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_is_no_file_or_too_long_neither_hangs_nor_is_read() {
        let folder = std::env::temp_dir().join(format!("cni-file-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (fifo, sparse) = (folder.join("fifo"), folder.join("sparse"));
        mkfifo(&fifo, Mode::S_IRUSR).unwrap();
        fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
        let refusal = |path: &Path| read(path, 10).unwrap_err().to_string();
        for path in [&fifo, &folder, Path::new("/dev/zero")] {
            assert_eq!(refusal(path), "it is not a regular file", "{}", path.display());
        }
        assert_eq!(refusal(&sparse), "it is longer than 10 bytes");
        // The kernel gives no length for the files of /proc.
        assert_eq!(refusal(Path::new("/proc/self/status")), "it is longer than 10 bytes");
        fs::write(folder.join("ten"), "0123456789").unwrap();
        assert_eq!(read(&folder.join("ten"), 10).unwrap(), b"0123456789");
        fs::remove_dir_all(&folder).unwrap();
    }
}
