//! One operation at a time on a container, as the specification demands of runtimes (section 2). An ADD and a DEL of one
//! container at the same time would each undo half of the other.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;

use lock::{LockFile, Mode};

use crate::runtime::cache::Cache;
use crate::spec::attachment::{ContainerId, token};
use crate::spec::error::{Code, Error};

/// The lock of a container: until it is dropped, no other process of this program works on the container.
#[derive(Debug)]
pub struct ContainerLock(Option<LockFile>);

impl Cache {
    /// Waits until nobody else holds the container, as long as [`lock::LIMIT`] says: by flock(2) on a file that is there for as
    /// long as somebody does.
    ///
    /// On a full or read-only disk, where no file can be made, there is no lock: a DEL is to remove what it can, and an ADD
    /// fails when it writes its result.
    ///
    /// # Errors
    /// Code 11 where another process keeps the lock, code 5 where the file cannot be made or locked for another reason.
    pub fn hold(&self, container_id: &ContainerId) -> Result<ContainerLock, Error> {
        // Beside the results, which other programs count.
        let path = self.folder().with_file_name(format!(".{}", token(&[container_id.as_str()])));
        let failed = |error: &io::Error| Error::new(Code::Io, format!("lock {}: {error}", path.display()));
        loop {
            match LockFile::take(&path, Mode::Exclusive) {
                Ok(file) => return Ok(ContainerLock(Some(file))),
                Err(lock::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder());
                    match made {
                        Err(error) if is_unwritable(error.kind()) => return Ok(ContainerLock(None)),
                        made => made.map_err(|error| failed(&error))?,
                    }
                }
                Err(lock::Error::Io { source, .. }) if is_unwritable(source.kind()) => {
                    return Ok(ContainerLock(None));
                }
                Err(lock::Error::Busy(busy)) => {
                    return Err(Error::new(Code::TryAgain, busy.to_string()).details(busy.cure()));
                }
                Err(error) => return Err(Error::new(Code::Io, error.to_string())),
            }
        }
    }
}

impl Drop for ContainerLock {
    fn drop(&mut self) {
        // A file that stays does no harm, and goes with GC.
        let _ = self.0.take().map(LockFile::remove);
    }
}

fn is_unwritable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn one_at_a_time_holds_a_container_and_no_file_stays() {
        const HOLDERS: usize = 16;
        let folder = std::env::temp_dir().join(format!("cni-hold-{}", std::process::id()));
        let cache = Cache::new(&folder);
        let id = |text: &str| ContainerId::new(text).unwrap();
        // Another container is another matter.
        let other = cache.hold(&id("other")).unwrap();
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..HOLDERS {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _hold = cache.hold(&id("one")).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        turns.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        drop(other);
        assert_eq!(turns.into_inner(), HOLDERS * 20);
        // That of a process which was killed goes with the others' unfinished files.
        std::mem::forget(cache.hold(&id("one")).unwrap());
        cache.remove_unfinished().unwrap();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["results"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
