//! Taking a lock. Where it is not free, it is tried again every millisecond, as most holders release it soon. After that a
//! thread waits in the kernel's own queue, where a hundred waiters cost nothing and get the lock in order. A thread from the
//! start would make each of many simultaneous ADDs 0.3 ms slower than blocking in flock(2).
//!
//! Only a signal handler could interrupt flock(2), and that takes `unsafe` code. So a thread that has waited for too long is
//! abandoned: it ends with the process, or releases the lock as soon as it gets it. A process has at most one abandoned thread;
//! while it has one, it polls instead.

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
/// What each further lock may still be waited for where all together have used up the limit: enough for a holder that is only
/// busy.
const REMAINDER: Duration = Duration::from_millis(200);
/// How long a lock is polled before a thread waits for it.
const POLLING: Duration = Duration::from_millis(200);
/// The first pause between two attempts and the longest one: before a thread waits, and where none can.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(1)];
const LONG_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// A system call and a channel need no more.
const STACK: usize = 64 << 10;

/// How long this process may still wait, in milliseconds; [`UNSHARED`] where each lock has a limit of its own.
static LEFT: AtomicU64 = AtomicU64::new(UNSHARED);
const UNSHARED: u64 = u64::MAX;
/// Threads whose lock is no longer waited for.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// Which other processes may hold the lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those that share it.
    Shared,
    /// None.
    Exclusive,
}

/// From now on this process waits no longer than [`LIMIT`] for all its locks together, as a plugin's call has one timeout.
pub fn share_limit() {
    LEFT.store(u64::try_from(LIMIT.as_millis()).unwrap_or(UNSHARED), Ordering::Relaxed);
}

/// Takes the lock of an open file or folder, and waits for it for at most [`LIMIT`]. Closing the file releases it; after a
/// failure the file must be closed. The path is for the message.
pub fn take(file: &File, path: &Path, mode: Mode) -> Result<(), Error> {
    take_within(file, path, mode, LIMIT)
}

/// As [`take`], with a shorter limit.
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

/// Takes the lock without waiting, and says whether it did.
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

/// Counts time that was waited for a lock of another kind.
pub fn spend(waited: Duration) {
    let waited = u64::try_from(waited.as_millis()).unwrap_or(UNSHARED);
    let _ = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        (left != UNSHARED).then(|| left.saturating_sub(waited))
    });
}

fn wait(file: &File, mode: Mode, deadline: Instant) -> io::Result<bool> {
    if poll(file, mode, deadline.min(Instant::now() + POLLING), PAUSES)? {
        return Ok(true);
    }
    if deadline <= Instant::now() {
        return Ok(false);
    }
    if ABANDONED.load(Ordering::Acquire) > 0 {
        return poll(file, mode, deadline, LONG_PAUSES);
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
        // The lock came too late.
        if sender.send(outcome).is_err() {
            let _ = shared.unlock();
            ABANDONED.fetch_sub(1, Ordering::Release);
        }
    };
    if thread::Builder::new().stack_size(STACK).spawn(wait).is_err() {
        return poll(file, mode, deadline, LONG_PAUSES);
    }
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(outcome) => outcome.map(|()| true),
        Err(RecvTimeoutError::Timeout) => {
            // Before the receiver is dropped, by which the thread learns that it is abandoned.
            ABANDONED.fetch_add(1, Ordering::Release);
            Ok(false)
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the waiting thread ended")),
    }
}

fn poll(file: &File, mode: Mode, deadline: Instant, [mut pause, longest]: [Duration; 2]) -> io::Result<bool> {
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
