//! What is due when.

use std::time::Duration;

use tokio::time::Instant;

use super::blocked::Blocked;
use super::task::{TICK, Task};
use crate::kernel::Event;

/// How often a firewall is looked for that keeps the others' packets out.
const BETWEEN_OBSTACLES: Duration = Duration::from_mins(10);
/// The longest time between two repairs that events ask for, if another program takes away what is put back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Task {
    /// When something is due, whatever happens.
    pub(super) fn due(&self) -> Instant {
        // Nothing of it while a call is under way: the next one begins when that is done.
        let is_idle = self.call.is_none();
        let retry = Some(self.retry_at).filter(|at| *at > Instant::now());
        let list = self.guard.list_due().filter(|_| self.is_trusted).map(|due| due.max(self.retry_at));
        let times = [
            retry.filter(|_| is_idle),
            list.filter(|_| is_idle),
            self.guard.removals_due().filter(|_| self.can_remove()),
            self.save_at,
            self.repair_at,
        ];
        times.into_iter().flatten().fold(self.tick_at, Instant::min)
    }

    /// Whether the engine's word counts, and there is a device to remove from.
    fn can_remove(&self) -> bool {
        self.is_trusted && self.underlay.is_some()
    }

    pub(super) fn kernel_event(&mut self, event: Event) {
        if event == Event::Underlay && matches!(self.blocked, Some(Blocked::Node(_))) {
            self.is_retrying = true;
        }
        let now = Instant::now();
        if self.repair_at.is_none() {
            let is_again = now.duration_since(self.last_repair) < LONGEST_PAUSE * 2;
            let pause = if is_again { self.pause * 2 + Duration::from_millis(10) } else { Duration::ZERO };
            self.pause = pause.min(LONGEST_PAUSE);
            self.repair_at = Some(now + self.pause);
        }
    }

    /// Does what is due.
    pub(super) async fn on_time(&mut self) {
        let now = Instant::now();
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.is_alive_due = true;
            self.repair_at = Some(now);
            if matches!(self.blocked, Some(Blocked::NoNetwork(_) | Blocked::Block { .. })) {
                self.is_retrying = true;
            }
            if self.engine.is_none() {
                self.open_engine();
            }
        }
        if matches!(self.blocked, Some(Blocked::Node(_))) && now >= self.retry_at {
            self.is_retrying = true;
        }
        if self.repair_at.is_some_and(|due| due <= now) {
            self.repair_at = None;
            self.last_repair = now;
            self.repair().await;
        }
        // All rules are read for it, so that it is seldom.
        if now >= self.obstacle_at && self.underlay.is_some() {
            self.obstacle_at = now + BETWEEN_OBSTACLES;
            self.look_for_obstacle();
        }
        if self.can_remove() {
            let names = self.guard.due_removals(now, self.peers.len());
            if self.guard.held().len() != self.held {
                self.held = self.guard.held().len();
                self.are_peers_changed = true;
            }
            self.remove_peers(names).await;
        }
        if self.save_at.is_some_and(|due| due <= now) {
            self.save().await;
        }
    }
}
