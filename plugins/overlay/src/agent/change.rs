//! What follows from the changes that the watch tells.

use tokio::time::Instant;

use super::blocked::Blocked;
use super::guard::BETWEEN_LISTS;
use super::plan::meets;
use super::status::PeerState;
use super::task::{Step, Task};
use crate::engine::Change;
use crate::record::{Network, Record};

impl Task {
    pub(super) async fn changed(&mut self, change: Change) {
        let now = Instant::now();
        match change {
            Change::Config(network) => self.config_changed(network).await,
            Change::Node { name, record } if name == self.node => self.own_record(record.as_ref().ok()),
            Change::Node { name, record } => {
                self.guard.present(&name);
                self.unblock(|blocked, own| blocked.is_of_node(&name, own));
                match record {
                    Ok(record) => {
                        self.records.insert(name.clone(), record);
                    }
                    // The entries stay as they were.
                    Err(why) => {
                        self.records.remove(&name);
                        let why = format!("its record cannot be used: {why}");
                        self.faults.insert(name.clone(), (PeerState::Refused, why));
                    }
                }
                self.touched.insert(name);
            }
            Change::NodeDeleted(name) | Change::NodeMissing(name) if name == self.node => {
                self.own_record(None);
            }
            Change::NodeDeleted(name) => {
                self.node_gone(&name);
                if self.peers.contains_key(&name) {
                    self.guard.deleted(&name, now, self.revision);
                }
            }
            Change::NodeMissing(name) => {
                self.node_gone(&name);
                if self.peers.contains_key(&name) {
                    self.guard.missing(&name, now, self.revision);
                }
            }
            Change::Claim { block, claim } => {
                let is_mine = claim.as_ref() == Some(&self.me());
                if claim.is_none() || is_mine {
                    self.unblock(|blocked, _| blocked.is_of_claims());
                }
                let own = self.memory.iter().flat_map(|memory| &memory.blocks);
                let is_own = own.clone().any(|own| meets(*own, block));
                let is_known = own.copied().any(|own| own == block);
                match claim {
                    Some(claim) => {
                        self.touched.insert(claim.node.clone());
                        self.claims.insert(block, claim);
                    }
                    None => drop(self.claims.remove(&block)),
                }
                // Another's, or nobody's, and not an echo of the own one.
                if is_own && !(is_mine && is_known) {
                    self.go_back_to(Step::Claim);
                }
            }
            Change::Unreadable { .. } => {}
            Change::Listed { revision } => {
                self.revision = revision;
                self.is_after_reset = false;
                self.is_list_told = true;
                self.strays_go_at.get_or_insert(now + BETWEEN_LISTS);
                for name in self
                    .peers
                    .keys()
                    .filter(|name| !self.records.contains_key(*name) && !self.faults.contains_key(*name))
                {
                    self.guard.missing(name, now, revision);
                }
            }
            Change::Resumed => self.watch_error = None,
            Change::Lost(error) => {
                self.watch_error = Some(error.to_string());
                self.engine_errors += 1;
            }
            Change::Reset => {
                self.is_after_reset = true;
                self.guard.reset(now);
                self.lease = None;
                self.is_alive_due = true;
                self.ask_anew();
            }
        }
    }

    /// Begins with the engine's configuration again.
    pub(super) fn ask_anew(&mut self) {
        self.is_trusted = false;
        self.blocked = None;
        self.go_to(Step::Network);
    }

    async fn config_changed(&mut self, network: Option<Network>) {
        let is_network_blocked = self.blocked.as_ref().is_some_and(Blocked::is_of_the_network);
        match network {
            // The engine lost it: the call that is to come puts it back.
            None if self.is_after_reset || !self.is_trusted => {}
            None => {
                self.is_trusted = false;
                self.blocked = Some(Blocked::Deleted(self.network.to_string()));
                if let Some(memory) = &mut self.memory {
                    memory.is_deleted = true;
                }
                self.save_soon();
            }
            Some(_) if is_network_blocked => self.ask_anew(),
            Some(network) => {
                let is_known = self.memory.as_ref().is_some_and(|memory| memory.network == network);
                if self.is_trusted && !is_known {
                    self.meet(network).await;
                    if self.is_trusted {
                        self.replan_all();
                    }
                }
            }
        }
    }

    /// The node's own record was changed or deleted, by itself or by others.
    fn own_record(&mut self, record: Option<&Record>) {
        let own = self.node.clone();
        self.unblock(|blocked, _| blocked.is_of_node(&own, &own));
        self.own_machine = record.map(|record| record.machine.clone());
        let is_as_published = record.is_some() && record == self.record().as_ref();
        if !is_as_published {
            self.go_back_to(Step::Publish);
        }
    }

    fn node_gone(&mut self, name: &str) {
        self.records.remove(name);
        self.unblock(|blocked, own| blocked.is_of_node(name, own));
        if !self.peers.contains_key(name) {
            self.faults.remove(name);
            self.touched.insert(name.to_owned());
        }
    }

    /// Takes a step again that was done, or that is under way with what was known before.
    pub(super) fn go_back_to(&mut self, step: Step) {
        let is_reached = match self.step {
            Step::Network | Step::Create => false,
            Step::Claim => step == Step::Claim,
            Step::Publish | Step::Done => true,
        };
        if self.is_trusted && is_reached {
            self.go_to(step);
        }
    }

    /// Goes on with a step. What is under way is asked again: its answer may be older than what led here.
    pub(super) fn go_to(&mut self, step: Step) {
        self.step = step;
        if self.call.take().is_some() {
            // It may have been this.
            self.is_alive_due = true;
        }
    }

    /// Tries again what a change may have cured.
    fn unblock(&mut self, is_cured: impl Fn(&Blocked, &str) -> bool) {
        if self.blocked.as_ref().is_some_and(|blocked| is_cured(blocked, &self.node)) {
            self.blocked = None;
        }
    }
}
