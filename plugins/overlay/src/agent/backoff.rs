//! How long to wait before a call is tried again: ever longer, and not at the same moment as everybody else.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// From half of 0.1 s, 0.2 s, ... 30 s to all of it.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(9)).min(LONGEST);
        self.tries += 1;
        let random = RandomState::new().hash_one(self.tries) % 512;
        whole / 2 + whole / 1024 * u32::try_from(random).unwrap_or(0)
    }

    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}
