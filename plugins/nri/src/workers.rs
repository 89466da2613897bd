//! Work that may hang: on threads, a few at most, that nobody waits for longer than a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Threads that hang, or work late. Each has its request, and files that it has open.
const MOST: usize = 4;

/// The threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers {
    busy: Arc<AtomicUsize>,
}

/// Why there is no outcome.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the registry did not answer within {0:?}")]
    Slow(Duration),
    #[error("{MOST} requests before still wait for the registry")]
    Busy,
    #[error("a defect: what decides ended without an outcome")]
    Panicked,
    #[error("start a thread: {0}")]
    Thread(String),
}

/// One of the threads there may be. It is free again when this is dropped, be it by a panic.
struct Seat(Arc<AtomicUsize>);

impl Workers {
    /// Does some work, and gives its outcome if there is one soon. Otherwise the work goes on.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.start(move || {
            // Who waited may have gone.
            let _ = sender.send(work());
        })?;
        receiver.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Trouble::Slow(limit),
            RecvTimeoutError::Disconnected => Trouble::Panicked,
        })
    }

    /// Begins some work that nobody waits for.
    pub(crate) fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Trouble> {
        let seat = self.seat().ok_or(Trouble::Busy)?;
        let thread = thread::Builder::new().spawn(move || {
            let _seat = seat;
            work();
        });
        thread.map(|_| ()).map_err(|error| Trouble::Thread(error.to_string()))
    }

    fn seat(&self) -> Option<Seat> {
        let next = |busy: usize| (busy < MOST).then_some(busy + 1);
        self.busy.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(Seat(Arc::clone(&self.busy)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn no_more_than_a_few_hang_at_once_and_panics_free_their_threads() {
        let workers = Workers::default();
        let soon = Duration::from_secs(10);
        for _ in 0..2 * MOST {
            assert_eq!(workers.run(soon, || panic!("on purpose")).map(|(): ()| ()), Err(Trouble::Panicked));
            // The seat is free a moment after the outcome is known.
            while workers.busy.load(Ordering::Acquire) > 0 {
                thread::yield_now();
            }
        }
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        let limit = Duration::from_millis(5);
        for _ in 0..MOST {
            let receiver = Arc::clone(&receiver);
            let hung = workers.run(limit, move || receiver.lock().unwrap().recv().is_ok());
            assert_eq!(hung, Err(Trouble::Slow(limit)));
        }
        for _ in 0..1000 {
            assert_eq!(workers.run(soon, || ()), Err(Trouble::Busy));
        }
        drop(sender);
        let began = Instant::now();
        while workers.run(soon, || ()) != Ok(()) {
            assert!(began.elapsed() < soon, "the threads are free again");
        }
    }
}
