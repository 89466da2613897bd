//! What follows from the engine's answers.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::blocked::Blocked;

use super::memory::{self, Memory};
use super::task::{Answer, Step, Task};
use super::{device_name, leases, run_file};
use crate::engine::{Claimed, Listing, Published, Taken, full};
use crate::record::Network;

/// When to look again whether this node's obstacle is gone.
const AGAIN: Duration = Duration::from_secs(5);

impl Task {
    pub(super) async fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Network(Ok(network)) => {
                self.succeeded();
                if self.watch.is_none() {
                    self.watch = self.engine.as_ref().map(crate::engine::Engine::watch);
                }
                match network {
                    Some(network) => self.meet(network).await,
                    None => self.nowhere(),
                }
            }
            // Whether this node made it or another: what is there now is what counts.
            Answer::Created(Ok(_)) => {
                self.succeeded();
                self.step = Step::Network;
            }
            Answer::Claimed(Ok(claimed)) => {
                self.succeeded();
                self.claimed(claimed).await;
            }
            Answer::Published(record, Ok(published)) => {
                self.succeeded();
                match published {
                    Published::Same | Published::Put => {
                        if let Some(memory) =
                            self.memory.as_mut().filter(|memory| memory.record.as_ref() != Some(&record))
                        {
                            memory.record = Some(record);
                            self.save_soon();
                        }
                        // It may have changed meanwhile.
                        let is_current =
                            self.record() == self.memory.as_ref().and_then(|memory| memory.record.clone());
                        self.step = if is_current { Step::Done } else { Step::Publish };
                    }
                    Published::Refused { reason } => self.blocked = Some(Blocked::Taken(reason)),
                }
            }
            Answer::Listed(Ok(listing)) => {
                self.succeeded();
                self.listed(&listing).await;
            }
            Answer::Alive(lease, outcome) => {
                self.lease = lease;
                match outcome {
                    Ok(()) => self.succeeded(),
                    Err(error) => {
                        self.is_alive_due = true;
                        self.failed(&error);
                    }
                }
            }
            Answer::Network(Err(error))
            | Answer::Created(Err(error))
            | Answer::Claimed(Err(error))
            | Answer::Published(_, Err(error))
            | Answer::Listed(Err(error)) => self.failed(&error),
        }
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        self.call_error = None;
    }

    fn failed(&mut self, error: &impl fmt::Display) {
        self.retry_at = Instant::now() + self.backoff.pause();
        self.call_error = Some(error.to_string());
        self.engine_errors += 1;
    }

    /// Takes up the engine's network, if it is the one that this node belongs to.
    pub(super) async fn meet(&mut self, network: Network) {
        let own = self.conf.id.as_ref().or(self.memory.as_ref().map(|memory| &memory.network.id));
        if let Some(own) = own.filter(|own| **own != network.id) {
            self.is_trusted = false;
            self.blocked = Some(Blocked::OtherId {
                network: self.network.to_string(),
                found: network.id,
                own: own.clone(),
            });
            return;
        }
        let name = device_name(&self.conf, &network.id);
        let memory = self.memory.get_or_insert_with(|| Memory::new(network.clone(), name));
        if memory.network != network || memory.is_deleted {
            memory.network = network;
            memory.is_deleted = false;
            self.save_soon();
        }
        if let Err(why) = self.prepare().await {
            self.blocked = Some(Blocked::Node(why));
            self.step = Step::Network;
            self.retry_at = Instant::now() + AGAIN;
            return;
        }
        self.blocked = None;
        if !self.is_trusted {
            self.is_trusted = true;
            self.replan_all();
        }
        self.go_to(Step::Claim);
    }

    /// The engine has no network of this name.
    fn nowhere(&mut self) {
        self.is_trusted = false;
        match &self.memory {
            Some(memory) if memory.is_deleted => {
                self.blocked = Some(Blocked::Deleted(self.network.to_string()));
            }
            // It lost its data.
            Some(_) => {
                self.blocked = None;
                self.step = Step::Create;
            }
            None => self.blocked = Some(Blocked::NoNetwork(self.network.to_string())),
        }
    }

    /// Before the first claim: whether another node has this one's name, address or MAC address. Nothing is claimed then.
    pub(super) async fn look_for_twin(&mut self) {
        let is_first = self.memory.as_ref().is_some_and(|memory| memory.blocks.is_empty());
        if self.step != Step::Claim || self.blocked.is_some() || !is_first || !self.is_list_told {
            return;
        }
        if let Some(taken) = self.twin() {
            self.blocked = Some(Blocked::Taken(taken));
            self.withdraw().await;
        }
    }

    fn twin(&self) -> Option<Taken> {
        match &self.own_machine {
            Some(machine) if *machine == self.machine => return None,
            Some(machine) => return Some(Taken::Name { machine: cni::printable_line(machine).to_string() }),
            None => {}
        }
        let own = self.record()?;
        self.records.iter().find_map(|(node, other)| {
            let address = own.addresses.iter().find(|address| other.addresses.contains(address)).copied();
            // A node of an encrypted network has no MAC address, and one of another has no key.
            let is_mac = own.mac.is_some() && other.mac == own.mac;
            let is_key = own.key.is_some() && other.key == own.key;
            let mac = || is_mac.then(|| Taken::Mac { node: node.clone() });
            let key = || is_key.then(|| Taken::Key { node: node.clone() });
            address.map(|address| Taken::Address { node: node.clone(), address }).or_else(mac).or_else(key)
        })
    }

    async fn claimed(&mut self, claimed: Claimed) {
        let Some(memory) = &mut self.memory else { return };
        match claimed {
            Claimed::Own(blocks) => {
                self.blocked = None;
                let is_new = memory.blocks != blocks || memory.is_conflict;
                memory.is_conflict = false;
                memory.blocks = blocks;
                self.step = Step::Publish;
                if is_new {
                    // Before anybody sends to it.
                    self.save().await;
                    self.is_program_due = true;
                }
                // Together with the other nodes, if the list of them is there.
                self.flush().await;
                self.write_run_file();
            }
            Claimed::Conflict { block, holder } => {
                memory.is_conflict = true;
                self.save_soon();
                self.note(run_file::remove(&self.network));
                if leases::has_any(block) {
                    self.blocked = Some(Blocked::Block { block, holder });
                    return;
                }
                // No container needs it: another one is claimed.
                self.blocked = None;
                if let Some(memory) = &mut self.memory {
                    memory.blocks.retain(|own| *own != block);
                }
                self.replan_all();
            }
            Claimed::Full { prefix } => {
                self.blocked = Some(Blocked::Full(full(&memory.network, prefix)));
                self.withdraw().await;
            }
        }
    }

    /// A list that was asked for: to be sure of what is missing, or because somebody wants it.
    async fn listed(&mut self, listing: &Listing) {
        let force = self.list_for.take();
        let is_same =
            self.memory.as_ref().is_some_and(|memory| listing.id.as_ref() == Some(&memory.network.id));
        if !is_same {
            return;
        }
        // A record that cannot be read is there all the same.
        let is_there = |name: &str| {
            let is_key = |key: &str| key.rsplit('/').next() == Some(name);
            listing.nodes.contains_key(name) || listing.unreadable.iter().any(|(key, _)| is_key(key))
        };
        let now = Instant::now();
        for name in self.peers.keys().filter(|name| !is_there(name)) {
            self.guard.missing(name, now, listing.revision);
        }
        self.guard.listed(now, listing.revision, is_there);
        if force == Some(true) {
            let names = self.guard.release(is_there);
            self.remove_peers(names).await;
        }
    }

    /// Forgets a network of another ID, which the configuration no longer names.
    pub(super) async fn forget(&mut self, memory: &Memory) {
        let outcome = self.kernel_remove(&memory.device, &memory.network.prefixes).await;
        self.note(outcome);
        let firewall = crate::firewall::remove(&self.network).map_err(|error| error.to_string());
        self.note(firewall);
        self.note(run_file::remove(&self.network));
        self.note(memory::remove(&self.network));
    }
}
