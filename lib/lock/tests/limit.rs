//! How long a process waits for all its locks together, and that an attempt which gave up never gets its lock later. These
//! tests are a process of their own, because all locks of a process share one limit.

use std::fs::File;
use std::time::{Duration, Instant};

use lock::{Error, LIMIT, LockFile, Mode, share_limit, take, take_within, try_take};

#[test]
fn all_locks_together_are_waited_for_no_longer_than_the_limit_and_a_late_thread_keeps_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let open = || File::open(path).unwrap();
    let holder = open();
    take(&holder, path, Mode::Exclusive).unwrap();

    // A limit of this call alone.
    let waiting = open();
    let Err(Error::Busy(busy)) = take_within(&waiting, path, Mode::Shared, Duration::from_millis(50)) else {
        panic!("the lock is held");
    };
    drop(waiting);
    let own = std::process::id();
    assert!(busy.holders.iter().any(|holder| holder.pid == own && holder.is_of_own_user()), "{busy:?}");
    assert!(busy.to_string().contains(&format!("process {own} (")), "{busy}");
    assert!(busy.waited < Duration::from_secs(1), "{busy}");

    share_limit();
    let start = Instant::now();
    for _ in 0..4 {
        let waiting = open();
        assert!(matches!(take(&waiting, path, Mode::Exclusive), Err(Error::Busy(_))));
    }
    let waited = start.elapsed();
    assert!(waited >= LIMIT && waited < Duration::from_secs(10), "{waited:?}");

    // The threads of the attempts that gave up end soon, and none of them keeps the lock.
    drop(holder);
    let last = open();
    take(&last, path, Mode::Exclusive).unwrap();
    drop(last);
    let deadline = Instant::now() + Duration::from_secs(5);
    while threads() > threads_of_a_test() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(threads() <= threads_of_a_test());
    assert!(try_take(&open(), Mode::Exclusive).unwrap());
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count)
}

/// At most the thread of the test harness and that of the test.
fn threads_of_a_test() -> usize {
    2
}

#[test]
fn a_lock_file_goes_with_the_last_who_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    assert!(LockFile::try_take(&path, Mode::Shared, false).unwrap().is_none());
    let first = LockFile::take(&path, Mode::Shared).unwrap();
    let second = LockFile::try_take(&path, Mode::Shared, false).unwrap().unwrap();
    assert!(LockFile::try_take(&path, Mode::Exclusive, true).unwrap().is_none());
    first.remove().unwrap();
    assert!(path.exists(), "the second holder still needs it");
    second.remove().unwrap();
    assert!(!path.exists());
    // A holder whose lock file was removed and made anew by others does not remove the new file.
    let lost = LockFile::take(&path, Mode::Exclusive).unwrap();
    std::fs::remove_file(&path).unwrap();
    let anew = LockFile::take(&path, Mode::Exclusive).unwrap();
    lost.remove().unwrap();
    assert!(path.exists());
    anew.remove().unwrap();
}
