//! When a peer that is gone from the engine may go from the kernel.
//!
//! An engine can lose its data, be restored from an old backup, or be another one. So a peer goes only if a watch without a
//! gap said that it was deleted, or if two lists 30 s apart lack it; never more than half of the peers at once, unless
//! somebody agrees; and none for a while after the engine's data were found to be others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// How long deletions are gathered, so that many at once are seen as such.
const GATHER: Duration = Duration::from_secs(1);
/// The time between two lists that have to agree.
pub(super) const BETWEEN_LISTS: Duration = Duration::from_secs(30);
/// How long nothing is removed after the engine's data were found to be others: the nodes put theirs back in that time.
const QUIET: Duration = Duration::from_mins(10);

/// What is known of peers that are gone.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Not in a list: when, and the list's revision.
    missing: BTreeMap<String, (Instant, i64)>,
    /// To be removed, and since when that is known.
    gone: BTreeMap<String, Instant>,
    /// Too many at once.
    held: BTreeSet<String>,
    quiet_until: Option<Instant>,
}

impl Guard {
    /// A watch without a gap told that the peer was deleted.
    pub(super) fn deleted(&mut self, name: &str, now: Instant, revision: i64) {
        if self.is_quiet(now) {
            return self.missing(name, now, revision);
        }
        self.missing.remove(name);
        if !self.held.contains(name) {
            self.gone.entry(name.to_owned()).or_insert(now);
        }
    }

    /// A list lacks the peer.
    pub(super) fn missing(&mut self, name: &str, now: Instant, revision: i64) {
        if !self.held.contains(name) && !self.gone.contains_key(name) {
            self.missing.entry(name.to_owned()).or_insert((now, revision));
        }
    }

    /// The peer is there; tells whether it was held.
    pub(super) fn present(&mut self, name: &str) -> bool {
        self.missing.remove(name);
        self.gone.remove(name);
        self.held.remove(name)
    }

    /// The engine's data are others than before.
    pub(super) fn reset(&mut self, now: Instant) {
        self.quiet_until = Some(now + QUIET);
        for (name, _) in std::mem::take(&mut self.gone) {
            self.missing.insert(name, (now, 0));
        }
        for (since, revision) in self.missing.values_mut() {
            (*since, *revision) = (now, 0);
        }
    }

    /// Another list of the same network: what it still lacks goes, if it is not an older state.
    pub(super) fn listed(&mut self, now: Instant, revision: i64, is_there: impl Fn(&str) -> bool) {
        let is_quiet = self.is_quiet(now);
        self.missing.retain(|name, (since, first)| {
            if is_there(name) {
                return false;
            }
            if revision < *first {
                (*since, *first) = (now, revision);
            }
            let is_sure = !is_quiet && now >= *since + BETWEEN_LISTS;
            if is_sure {
                self.gone.insert(name.clone(), now);
            }
            !is_sure
        });
    }

    /// The peers that go now, of so many.
    pub(super) fn due_removals(&mut self, now: Instant, peers: usize) -> Vec<String> {
        let is_due = self.gone.values().any(|since| now >= *since + GATHER);
        if !is_due || self.is_quiet(now) {
            return Vec::new();
        }
        let gone = std::mem::take(&mut self.gone);
        let count = gone.len() + self.held.len();
        if count > 1 && count * 2 > peers {
            self.held.extend(gone.into_keys());
            return Vec::new();
        }
        gone.into_keys().collect()
    }

    /// Somebody agreed to the removal of all that this list lacks.
    pub(super) fn release(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let missing = std::mem::take(&mut self.missing).into_keys();
        let gone = std::mem::take(&mut self.gone).into_keys();
        let held = std::mem::take(&mut self.held);
        missing.chain(gone).chain(held).filter(|name| !is_there(name)).collect()
    }

    /// Those that somebody has to agree to.
    pub(super) fn held(&self) -> &BTreeSet<String> {
        &self.held
    }

    /// Whether another list is to be asked for.
    pub(super) fn is_list_due(&self, now: Instant) -> bool {
        self.list_due().is_some_and(|due| due <= now)
    }

    /// When that is.
    pub(super) fn list_due(&self) -> Option<Instant> {
        let first = self.missing.values().map(|(since, _)| *since + BETWEEN_LISTS).min();
        first.map(|due| self.quiet_until.map_or(due, |quiet| due.max(quiet)))
    }

    /// When peers are to be removed, or held.
    pub(super) fn removals_due(&self) -> Option<Instant> {
        self.gone.values().min().map(|since| *since + GATHER)
    }

    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
