//! The other nodes' entries: from their records to the kernel.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::time::Instant;

use super::plan::plan;
use super::status::PeerState;
use super::task::Task;
use crate::wanted::Peer;

/// So many changes are cheaper as one comparison with all that there is.
const MANY: usize = 16;

impl Task {
    /// Looks at all records again.
    pub(super) fn replan_all(&mut self) {
        self.touched.extend(self.records.keys().cloned());
    }

    /// Brings what was touched into the kernel.
    pub(super) async fn flush(&mut self) {
        let has_block = self.memory.as_ref().is_some_and(|memory| !memory.blocks.is_empty());
        if !self.is_trusted || !has_block || self.underlay.is_none() {
            return;
        }
        if self.is_program_due && !self.is_list_told {
            return;
        }
        let changed = self.plan_touched();
        if !changed.is_empty() || self.is_program_due {
            let start = Instant::now();
            if changed.len() > MANY || self.is_program_due {
                self.is_program_due = false;
                if let Err(why) = self.program().await {
                    self.trouble = Some(why);
                }
            } else {
                self.put_firewall();
                for (name, before) in changed {
                    self.put(&name, before.as_ref()).await;
                }
            }
            self.program_time = start.elapsed();
            self.save_soon();
        }
        if self.is_list_told && self.watch_error.is_none() {
            self.last_sync = Some(SystemTime::now());
        }
    }

    /// Plans what was touched, and what that may have cured. Returns the names of those that changed, with what they were.
    fn plan_touched(&mut self) -> Vec<(String, Option<Peer>)> {
        let Some(device) = self.device().filter(|_| !self.touched.is_empty()) else { return Vec::new() };
        let mut changed: Vec<(String, Option<Peer>)> = Vec::new();
        let mut done = BTreeSet::new();
        let in_conflict = self.faults.iter().filter(|(_, (state, _))| *state == PeerState::Conflict);
        let retried: Vec<String> = in_conflict.map(|(name, _)| name.clone()).collect();
        self.touched.extend(retried);
        self.are_peers_changed = true;
        while let Some(name) = self.touched.pop_first() {
            let Some(record) = self.records.get(&name) else { continue };
            let planned = plan(&name, record, &device, &self.claims, &self.peers);
            done.insert(name.clone());
            // Each once: two that claim the same must not take turns.
            self.touched.extend(planned.losers.into_iter().filter(|loser| !done.contains(loser)));
            match planned.fault {
                Some(fault) => drop(self.faults.insert(name.clone(), fault)),
                None => drop(self.faults.remove(&name)),
            }
            // What is there stays if there can be nothing better.
            let Some(peer) = planned.peer else { continue };
            let before = self.peers.insert(name.clone(), peer);
            if before.as_ref() != self.peers.get(&name) {
                changed.push((name, before));
            }
        }
        changed
    }

    async fn put(&mut self, name: &str, before: Option<&Peer>) {
        let (Some(kernel), Some(device)) = (&self.kernel, self.device()) else { return };
        let Some(peer) = self.peers.get(name) else { return };
        if let Err(error) = kernel.put_peer(&device, peer, before).await {
            self.faults.insert(name.to_owned(), (PeerState::Refused, error.to_string()));
        }
    }

    /// Takes peers out of the kernel.
    pub(super) async fn remove_peers(&mut self, names: Vec<String>) {
        let Some(device) = self.device() else { return };
        if names.is_empty() {
            return;
        }
        for name in names {
            self.faults.remove(&name);
            let Some(peer) = self.peers.remove(&name) else { continue };
            if let Some(kernel) = &self.kernel
                && let Err(error) = kernel.remove_peer(&device, &peer).await
            {
                self.trouble = Some(format!("remove {name}: {error}"));
            }
            // Another may have waited for what it had.
            self.touched.insert(name);
        }
        self.are_peers_changed = true;
        self.put_firewall();
        self.save_soon();
    }
}
