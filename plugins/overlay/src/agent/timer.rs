//! Waiting for a time, by a timer of the kernel.
//!
//! tokio hands a timer of its own that ends in a minute from wheel to wheel, and the program is woken up for each of them. This
//! one wakes it up once.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

/// A timer; it is made when it is first waited for.
#[derive(Default)]
pub(super) struct Timer {
    armed: Option<Armed>,
}

struct Armed {
    timer: TimerFd,
    /// The same timer: like a pipe's read end it can be polled and read, and nothing else.
    ready: pipe::Receiver,
    due: Option<Instant>,
}

impl Timer {
    /// Waits for a time. If the future is dropped, nothing is lost.
    pub(super) async fn until(&mut self, due: Instant) {
        if self.wait(due).await.is_err() {
            // Without descriptors there is still tokio's.
            sleep_until(due).await;
        }
    }

    async fn wait(&mut self, due: Instant) -> io::Result<()> {
        let armed = match &mut self.armed {
            Some(armed) => armed,
            none => none.insert(Armed::open()?),
        };
        while Instant::now() < due {
            armed.set(due)?;
            armed.ready.readable().await?;
            // How often it has ended: reading that is what makes it wait again. There is nothing to read if it was set anew.
            let _ = armed.ready.try_read(&mut [0; size_of::<u64>()]);
            armed.due = None;
        }
        Ok(())
    }
}

impl Armed {
    fn open() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = timer.as_fd().try_clone_to_owned()?;
        let ready = pipe::Receiver::from_owned_fd_unchecked(descriptor)?;
        Ok(Self { timer, ready, due: None })
    }

    fn set(&mut self, due: Instant) -> io::Result<()> {
        if self.due == Some(due) {
            return Ok(());
        }
        // Zero would be never.
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let left = TimeSpec::from_duration(left);
        self.timer.set(Expiration::OneShot(left), TimerSetTimeFlags::empty())?;
        self.due = Some(due);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::{Duration, Instant, Timer};

    #[test]
    fn it_waits_as_long_as_it_is_told_also_when_it_was_told_otherwise_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut timer = Timer::default();
            let start = Instant::now();
            timer.until(start).await;
            let late = start + Duration::from_mins(1);
            assert!(timeout(Duration::from_millis(20), timer.until(late)).await.is_err());
            for milliseconds in [50, 70, 120] {
                let due = start + Duration::from_millis(milliseconds);
                timer.until(due).await;
                assert!(Instant::now() >= due);
            }
            assert!(start.elapsed() < Duration::from_secs(30));
        });
    }
}
