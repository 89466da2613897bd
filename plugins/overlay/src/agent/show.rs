//! The status: what health, metrics and the log show.

use std::time::SystemTime;

use super::status::{PeerState, PeerStatus, State, Status};
use super::task::{Step, Task};

impl Task {
    /// Tells how the network is.
    pub(super) fn show(&mut self) {
        let (state, reason) = self.state();
        let peers = self.are_peers_changed.then(|| self.peer_statuses());
        self.are_peers_changed = false;
        self.status.send_modify(|status| self.update(status, state, reason));
        if let Some(peers) = peers {
            self.status.send_modify(|status| status.peers = peers);
        }
    }

    fn update(&self, status: &mut Status, state: State, reason: Option<String>) {
        if state != status.state || status.since.is_empty() {
            status.since = now();
        }
        // Of a cause that changes from try to try, the first is the one that is told.
        let is_same_wait = state == State::WaitingEngine && status.state == state && status.reason.is_some();
        status.state = state;
        if !is_same_wait {
            status.reason = reason;
        }
        let memory = self.memory.as_ref();
        status.id = memory.map(|memory| memory.network.id.clone()).or_else(|| self.conf.id.clone());
        let error = self.watch_error.clone().or_else(|| self.call_error.clone());
        status.engine.up = error.is_none() && self.watch.is_some();
        status.engine.stale_since = match (&error, status.engine.stale_since.take()) {
            (None, _) => None,
            (Some(_), since) => since.or_else(|| Some(now())),
        };
        status.engine.error = error;
        status.engine.revision = self.revision;
        status.device = memory.map(|memory| memory.device.clone());
        status.mtu = memory.map(|memory| memory.mtu).filter(|mtu| *mtu != 0);
        status.local = self.local_address();
        status.blocks = memory.map(|memory| memory.blocks.clone()).unwrap_or_default();
        status.held = self.guard.held().iter().cloned().collect();
        status.repairs = self.repairs;
        status.local_done = self.is_local_done;
        status.listed |= self.is_list_told && self.is_trusted && self.touched.is_empty();
        status.last_sync = self.last_sync;
        status.program_time = self.program_time;
        let is_conflict = |(fault, _): &&(PeerState, String)| *fault == PeerState::Conflict;
        let of_peers = self.faults.values().filter(is_conflict).count();
        status.conflicts = u64::try_from(of_peers).unwrap_or(0) + u64::from(state == State::Conflict);
        status.engine_errors = self.engine_errors;
    }

    fn state(&self) -> (State, Option<String>) {
        if let Some(blocked) = &self.blocked {
            return (blocked.state(), Some(blocked.to_string()));
        }
        if !self.is_local_done {
            return (State::Local, None);
        }
        if let Some(trouble) = &self.trouble {
            return (State::Refused, Some(trouble.clone()));
        }
        if let Some(error) = self.watch_error.as_ref().or(self.call_error.as_ref()) {
            return (State::WaitingEngine, Some(error.clone()));
        }
        let state = match self.step {
            Step::Network | Step::Create | Step::Claim => State::Claiming,
            Step::Publish => State::Publishing,
            Step::Done => State::Watching,
        };
        (state, self.hint())
    }

    /// What does not stop the task, and needs somebody.
    fn hint(&self) -> Option<String> {
        let errors = [&self.firewall_error, &self.obstacle, &self.file_error, &self.save_error];
        let mut hints: Vec<String> = errors.into_iter().flatten().cloned().collect();
        let held = self.guard.held();
        if !held.is_empty() {
            let names: Vec<&str> = held.iter().take(3).map(String::as_str).collect();
            let more = if held.len() > names.len() { ", ..." } else { "" };
            hints.push(format!(
                "{} of {} nodes are gone from the engine at once ({}{more}) and stay in the kernel; if that is right: \
                 cleat node sync --force {}",
                held.len(),
                self.peers.len(),
                names.join(", "),
                self.network
            ));
        }
        (!hints.is_empty()).then(|| hints.join("; "))
    }

    fn peer_statuses(&self) -> Vec<PeerStatus> {
        let with_fault_only = self.faults.keys().filter(|name| !self.peers.contains_key(*name));
        let mut names: Vec<&String> = self.peers.keys().chain(with_fault_only).collect();
        names.sort_unstable();
        names.into_iter().map(|name| self.peer_status(name)).collect()
    }

    fn peer_status(&self, name: &str) -> PeerStatus {
        let (peer, record) = (self.peers.get(name), self.records.get(name));
        let (state, reason) = match self.faults.get(name) {
            _ if self.guard.held().contains(name) => (PeerState::Held, None),
            Some((state, reason)) => (*state, Some(reason.clone())),
            None => (PeerState::Ok, None),
        };
        let blocks = peer.map(|peer| &peer.blocks).or(record.map(|record| &record.blocks));
        PeerStatus {
            name: name.to_owned(),
            address: peer.map(|peer| peer.address),
            blocks: blocks.cloned().unwrap_or_default(),
            mtu: record.map_or(0, |record| record.mtu),
            state,
            reason,
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
