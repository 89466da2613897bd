//! How long to wait before the next try: ever longer, and not at the same moment as everybody else.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

/// The waits between the tries of one thing.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(30);

    /// From half of the time to all of it: 0.1 s, 0.2 s, ... 30 s.
    pub fn pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(9)).min(Self::LONGEST);
        self.tries += 1;
        // The standard library's hash keys are random: enough to spread clients that lost the same server.
        let random = RandomState::new().hash_one(self.tries) % 512;
        whole / 2 + whole / 1024 * u32::try_from(random).unwrap_or(0)
    }

    /// It worked: the next wait is a short one.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again() {
        let mut backoff = Backoff::default();
        for whole in [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000] {
            let wait = backoff.pause();
            assert!(
                wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole),
                "{wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
