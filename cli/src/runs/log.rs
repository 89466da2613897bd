//! The log of a container in the background: the file that is being written and the one before it, each with a limit.
//!
//! ```text
//! /var/log/cleat/<container ID>/log.7      full
//!                               log.8      at most 10 MiB
//! ```
//!
//! Not in `/run`, which is memory. Where `/var/log` cannot be written, files of at most 1 MiB are in the container's folder
//! below `/run/cleat/runs`. There a link `log` leads to the file that is being written; the version before wrote all into a
//! file of this name, which is read as the first one. Numbers only grow, so that a reader who follows a log knows which file
//! comes next, and whether one is missing.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;

/// One folder a container, for root alone.
const LOGS: &str = "/var/log/cleat";
/// The most that one file has on disk, in bytes.
const LARGEST: u64 = 10 << 20;
/// The same in memory.
const LARGEST_IN_MEMORY: u64 = 1 << 20;
/// What the version before wrote.
const OLD: &str = "log";
/// The link before it gets its name.
const NEW: &str = ".log";
const PREFIX: &str = "log.";

/// Where a container's files are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// On disk, and in the container's own folder.
    folders: [PathBuf; 2],
}

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    /// Its place among the others.
    pub(crate) number: u64,
    path: PathBuf,
}

impl Log {
    pub(super) fn of(container_id: &str, run: &Path) -> Self {
        Self { folders: [Path::new(LOGS).join(container_id), run.to_owned()] }
    }

    /// Its files, the oldest first.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for folder in &self.folders {
            // A folder that does not exist, or is removed meanwhile, has none.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let number = match name.to_str() {
                    Some(OLD) => entry.file_type().is_ok_and(|kind| kind.is_file()).then_some(0),
                    Some(name) => name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()),
                    None => None,
                };
                parts.extend(number.map(|number| Part { number, path: entry.path() }));
            }
        }
        parts.sort();
        parts
    }

    /// Makes the link lead to the file that is being written. It is only for people, so that a failure is ignored.
    fn point_to(&self, path: &Path) {
        let (link, new) = (self.folders[1].join(OLD), self.folders[1].join(NEW));
        if link.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return;
        }
        let _ = fs::remove_file(&new);
        let _ = symlink(path, &new).and_then(|()| fs::rename(&new, &link));
    }

    /// Removes the files on disk, and the folder of all logs once it is empty.
    pub(super) fn remove(&self) -> io::Result<()> {
        let removed = match fs::remove_dir_all(&self.folders[0]) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let _ = fs::remove_dir(LOGS);
        removed
    }

    /// Writes at the end of the log.
    pub(crate) fn writer(self) -> Writer {
        let mut writer = Writer { log: self, ..Writer::default() };
        // After a failure it is tried again when there is something to write.
        let _ = writer.go_on();
        writer
    }
}

/// Removes the logs of containers that are not known any more, as after a boot, for their folders were in memory.
pub(super) fn sweep(runs: &Path) {
    for entry in fs::read_dir(LOGS).into_iter().flatten().flatten() {
        // A container's own folder is made before its log, and removed after it.
        if !runs.join(entry.file_name()).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Part {
    /// Opens it for reading.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options().read(true).custom_flags(O_NOFOLLOW).open(&self.path)
    }
}

/// Writes at the end of a log, and never fails: what cannot be written is lost, and the log says so.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    log: Log,
    file: Option<File>,
    last: Option<Part>,
    size: u64,
    largest: u64,
    /// Bytes that could not be written.
    lost: u64,
    is_line_begun: bool,
}

impl Writer {
    /// Writes as much as the disk has room for. A line is not divided between files, unless it is longer than a file.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Ok(room) = self.room() else { return self.lose(bytes) };
            let part = bytes.get(..room).map_or(bytes, |fitting| self.whole_lines(fitting));
            if part.is_empty() {
                // The rest of this file stays empty.
                self.size = self.largest;
            } else if self.append(part).is_ok() {
                bytes = &bytes[part.len()..];
            } else {
                return self.lose(bytes);
            }
        }
    }

    /// The bytes up to the last end of a line. Without one: none, so that the line comes into a new file; but all of them where
    /// the file is new, or has the beginning of the line.
    fn whole_lines<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => &bytes[..=end],
            None if self.size > 0 && !self.is_line_begun => &[],
            None => bytes,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        if self.lost > 0 {
            let note = format!("\n[cleat: {} bytes could not be written]\n", self.lost);
            file.write_all(note.as_bytes())?;
            self.size += note.len() as u64;
            self.lost = 0;
        }
        file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        self.is_line_begun = bytes.last() != Some(&b'\n');
        Ok(())
    }

    fn lose(&mut self, bytes: &[u8]) {
        self.lost = self.lost.saturating_add(bytes.len() as u64);
        // A part may have been written.
        let written = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.size = written.map_or(self.size, |metadata| metadata.len());
    }

    /// How many bytes the file has room for, at least one. Where it is full there is a new one afterwards.
    fn room(&mut self) -> io::Result<usize> {
        if self.file.is_none() {
            self.go_on()?;
        } else if self.size >= self.largest {
            self.rotate()?;
        }
        Ok(usize::try_from(self.largest.saturating_sub(self.size)).unwrap_or(usize::MAX).max(1))
    }

    /// Opens the last file, or the first one.
    fn go_on(&mut self) -> io::Result<()> {
        self.last = self.log.parts().pop();
        if let Some(last) = &self.last
            && last.number > 0
        {
            let is_on_disk = last.path.starts_with(LOGS);
            let file = File::options().append(true).custom_flags(O_NOFOLLOW).open(&last.path)?;
            self.size = file.metadata()?.len();
            self.largest = if is_on_disk { LARGEST } else { LARGEST_IN_MEMORY };
            self.file = Some(file);
            if self.size < self.largest {
                return Ok(());
            }
        }
        self.rotate()
    }

    /// Makes the next file, and removes all but it and the one before.
    fn rotate(&mut self) -> io::Result<()> {
        let number = self.last.as_ref().map_or(0, |last| last.number) + 1;
        let [disk, memory] = &self.log.folders;
        let on_disk = trusted(disk).and_then(|()| create(disk, number));
        self.largest = if on_disk.is_ok() { LARGEST } else { LARGEST_IN_MEMORY };
        let (path, file) = on_disk.or_else(|_| create(memory, number))?;
        for old in self.log.parts().into_iter().filter(|part| part.number + 1 < number) {
            let _ = fs::remove_file(old.path);
        }
        self.log.point_to(&path);
        self.last = Some(Part { number, path });
        (self.file, self.size) = (Some(file), 0);
        Ok(())
    }
}

/// Makes a container's folder on disk, and refuses one that others can write to: on some hosts, a group can write to `/var/log`.
fn trusted(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for folder in [Path::new(LOGS), folder] {
        let found = fs::symlink_metadata(folder)?;
        if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(())
}

/// Makes a file. Only root may read it, as a program may write secrets.
fn create(folder: &Path, number: u64) -> io::Result<(PathBuf, File)> {
    let path = folder.join(format!("{PREFIX}{number}"));
    let mut options = File::options();
    options.append(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let file = options.open(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        // Below no folder of root's, so that all is in memory.
        let log = Log { folders: [folder.path().join("none\0"), folder.path().to_owned()] };
        (folder, log)
    }

    fn contents(log: &Log) -> Vec<(u64, String)> {
        let read = |part: Part| (part.number, fs::read_to_string(&part.path).unwrap());
        log.parts().into_iter().map(read).collect()
    }

    #[test]
    fn two_files_are_kept_and_lines_are_whole() {
        let (folder, log) = log();
        let mut writer = log.clone().writer();
        let line = format!("{}\n", "x".repeat(999));
        for number in 0..2500 {
            writer.write(format!("{number:04}{line}").as_bytes());
        }
        let all = contents(&log);
        let bound = usize::try_from(LARGEST_IN_MEMORY).unwrap();
        assert_eq!(all.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(fs::read_link(folder.path().join(OLD)).unwrap(), folder.path().join("log.3"));
        assert!(all.iter().all(|(_, text)| text.len() <= bound && text.ends_with('\n')));
        let joined: String = all.into_iter().map(|(_, text)| text).collect();
        let numbers: Vec<u32> = joined.lines().map(|line| line[..4].parse().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&2499));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }

    #[test]
    fn it_goes_on_behind_what_the_version_before_wrote_and_behind_itself() {
        let (folder, log) = log();
        fs::write(folder.path().join(OLD), "before\n").unwrap();
        log.clone().writer().write(b"one\n");
        log.clone().writer().write(b"two\n");
        assert_eq!(contents(&log), [(0, "before\n".into()), (1, "one\ntwo\n".into())]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_what_cannot_be_written_is_counted() {
        let (folder, log) = log();
        let mut writer = log.clone().writer();
        let bound = usize::try_from(LARGEST_IN_MEMORY).unwrap();
        writer.write(&vec![b'x'; bound + 10]);
        assert_eq!(contents(&log).iter().map(|(_, text)| text.len()).collect::<Vec<_>>(), [bound, 10]);
        fs::remove_dir_all(folder.path()).unwrap();
        writer.write(&vec![b'y'; 2 * bound]);
        fs::create_dir_all(folder.path()).unwrap();
        writer.write(b"later\n");
        let (_, text) = contents(&log).pop().unwrap();
        assert!(text.contains("bytes could not be written]\nlater\n"), "{text}");
    }
}
