//! Taking a lock: at once where it is free; otherwise it is asked for again every millisecond, as those who are at work give it
//! up soon; and then by a thread that waits in the kernel's own queue, where a hundred who wait cost nothing and come to
//! their turn in order. The thread alone would cost each of a crowd of ADDs 0.3 ms more than blocking in flock(2).
//!
//! There is no way to make flock(2) itself end without a signal handler, and those take `unsafe` code. A thread that waits for
//! too long is left to itself: it ends with the process, or gives the lock up as soon as it gets it. A process has one such
//! thread at most; while there is one, it asks again and again instead.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Busy, Error};
use crate::holder::holders;

/// How long a lock is waited for: less than any runtime waits for a plugin.
pub const LIMIT: Duration = Duration::from_secs(9);
/// What remains for each further lock where the limit is for all together: enough for those who are merely at work.
const REMAINDER: Duration = Duration::from_millis(200);
/// How long it is asked for again and again at first.
const BRISK: Duration = Duration::from_millis(200);
/// Between two attempts: the first two, while others are likely to be at work, and where no thread can wait.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(1)];
const LONG_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// A system call and a channel need no more.
const STACK: usize = 64 << 10;

/// What this process may still wait, in milliseconds; [`UNSHARED`] where each lock has the limit to itself.
static LEFT: AtomicU64 = AtomicU64::new(UNSHARED);
const UNSHARED: u64 = u64::MAX;
/// Threads that nobody waits for any more.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// Who may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Others who share it.
    Shared,
    /// Nobody else.
    Exclusive,
}

/// From here on this process waits no longer than [`LIMIT`] for all its locks together: a plugin has one call to answer.
pub fn share_limit() {
    LEFT.store(u64::try_from(LIMIT.as_millis()).unwrap_or(UNSHARED), Ordering::Relaxed);
}

/// Takes the lock of an open file or folder, and waits for it for as long as [`LIMIT`]. Closing the file gives it up; after a
/// failure the file must be closed. The path is for the message.
pub fn take(file: &File, path: &Path, mode: Mode) -> Result<(), Error> {
    take_within(file, path, mode, LIMIT)
}

/// As [`take`], with a limit of its own, where that is less.
pub fn take_within(file: &File, path: &Path, mode: Mode, limit: Duration) -> Result<(), Error> {
    let failed = |source| Error::io(path, source);
    if try_take(file, mode).map_err(failed)? {
        return Ok(());
    }
    let start = Instant::now();
    let taken = wait(file, mode, start + limit.min(left().max(REMAINDER))).map_err(failed)?;
    let waited = start.elapsed();
    spend(waited);
    if taken {
        return Ok(());
    }
    Err(Busy { path: path.to_owned(), waited, holders: holders(file) }.into())
}

/// Takes the lock where that is possible at once, and says whether it did.
pub fn try_take(file: &File, mode: Mode) -> io::Result<bool> {
    let taken = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// How long the next lock may be waited for.
#[must_use]
pub fn left() -> Duration {
    match LEFT.load(Ordering::Relaxed) {
        UNSHARED => LIMIT,
        left => Duration::from_millis(left),
    }
}

/// Notes that somebody has waited so long for a lock that this crate did not take.
pub fn spend(waited: Duration) {
    let waited = u64::try_from(waited.as_millis()).unwrap_or(UNSHARED);
    let _ = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        (left != UNSHARED).then(|| left.saturating_sub(waited))
    });
}

fn wait(file: &File, mode: Mode, deadline: Instant) -> io::Result<bool> {
    if ask_again(file, mode, deadline.min(Instant::now() + BRISK), PAUSES)? {
        return Ok(true);
    }
    if deadline <= Instant::now() {
        return Ok(false);
    }
    if ABANDONED.load(Ordering::Acquire) > 0 {
        return ask_again(file, mode, deadline, LONG_PAUSES);
    }
    // The lock is of the open file, which both descriptors share.
    let shared = file.try_clone()?;
    let (sender, receiver) = sync_channel(0);
    let wait = move || {
        let outcome = loop {
            let outcome = match mode {
                Mode::Shared => shared.lock_shared(),
                Mode::Exclusive => shared.lock(),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        // Nobody is left to use it.
        if sender.send(outcome).is_err() {
            let _ = shared.unlock();
            ABANDONED.fetch_sub(1, Ordering::Release);
        }
    };
    if thread::Builder::new().stack_size(STACK).spawn(wait).is_err() {
        return ask_again(file, mode, deadline, LONG_PAUSES);
    }
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(outcome) => outcome.map(|()| true),
        Err(RecvTimeoutError::Timeout) => {
            // Before the receiver goes, by which the thread knows that it is alone.
            ABANDONED.fetch_add(1, Ordering::Release);
            Ok(false)
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the waiting thread ended")),
    }
}

fn ask_again(
    file: &File,
    mode: Mode,
    deadline: Instant,
    [mut pause, longest]: [Duration; 2],
) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(pause.min(left));
        if try_take(file, mode)? {
            return Ok(true);
        }
        pause = (pause * 2).min(longest);
    }
}
