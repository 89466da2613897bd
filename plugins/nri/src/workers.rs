//! Work that may hang, on at most a few threads, with a limit on how long anybody waits for it.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How many threads may hang at a time. Each keeps its request, and its open files.
const MOST: usize = 4;

/// Each thread at work has a clone of this, which it drops at its end, also by a panic. One thread alone starts work.
#[derive(Debug, Default)]
pub(crate) struct Workers(Arc<()>);

/// Why work has no outcome.
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

impl Workers {
    /// Does some work, and waits for its outcome up to `limit`. The work goes on after that.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.start(move || {
            // The caller may no longer wait.
            let _ = sender.send(work());
        })?;
        receiver.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Trouble::Slow(limit),
            RecvTimeoutError::Disconnected => Trouble::Panicked,
        })
    }

    /// Starts some work without waiting for it.
    pub(crate) fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Trouble> {
        if self.busy() >= MOST {
            return Err(Trouble::Busy);
        }
        let at_work = Arc::clone(&self.0);
        let thread = thread::Builder::new().spawn(move || {
            work();
            drop(at_work);
        });
        thread.map(drop).map_err(|error| Trouble::Thread(error.to_string()))
    }

    /// The number of threads at work.
    fn busy(&self) -> usize {
        Arc::strong_count(&self.0) - 1
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
            // The thread ends a moment after the outcome is known.
            while workers.busy() > 0 {
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
