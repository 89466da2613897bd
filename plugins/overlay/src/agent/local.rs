//! This node's part: its files, its device, and the interface to the others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use std::time::Duration;
use tokio::time::Instant;

use super::memory::{self, Memory};
use super::status::PeerState;
use super::task::{Step, Task};
use super::{device_name, identity, run_file, secret};
use crate::engine::Engine;
use crate::firewall;
use crate::kernel::{Applied, Kernel};
use crate::record::{Backend, Record};
use crate::wanted::{Device, Wanted};

/// The time between two writes to the disk, while nodes come and go.
const SAVE: Duration = Duration::from_millis(100);
/// After a failed write.
const SAVE_AGAIN: Duration = Duration::from_mins(1);

impl Task {
    /// LOCAL: what is known from before.
    pub(super) async fn local(&mut self) {
        self.open_kernel();
        if let Some((mut memory, peers)) = Memory::read(&self.network) {
            if self.conf.id.as_ref().is_some_and(|id| *id != memory.network.id) {
                self.forget(&memory).await;
            } else {
                let name = device_name(&self.conf, &memory.network.id);
                if memory.device != name {
                    let removed = self.kernel_remove(&memory.device, &memory.network.prefixes).await;
                    self.note(removed);
                    memory.device = name;
                }
                (self.memory, self.peers) = (Some(memory), peers);
                // Containers can start at once, and with what the interface has by now in a moment.
                self.write_run_file();
                self.repair().await;
                self.repairs = 0;
            }
        }
        self.open_engine();
        self.is_local_done = true;
    }

    fn open_kernel(&mut self) {
        match Kernel::open() {
            Ok(kernel) => self.kernel = Some(kernel),
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    pub(super) fn open_engine(&mut self) {
        match Engine::new(&self.conf.engine, &self.network) {
            Ok(engine) => {
                self.engine = Some(engine);
                self.call_error = None;
            }
            Err(error) => self.call_error = Some(error.to_string()),
        }
    }

    /// The address to send from.
    pub(super) fn local_address(&self) -> Option<IpAddr> {
        self.memory.as_ref()?.local
    }

    /// The device as it is to be; none before the network and a way to the others are known.
    pub(super) fn device(&self) -> Option<Device> {
        let (memory, underlay, local) =
            (self.memory.as_ref()?, self.underlay.as_ref()?, self.local_address()?);
        Some(Device {
            name: memory.device.clone(),
            backend: memory.network.backend,
            vni: memory.network.vni,
            port: memory.network.port,
            local,
            underlay: underlay.index,
            mac: identity::mac(&memory.network.id, &self.machine),
            key: self.key.clone(),
            mtu: memory.mtu,
            blocks: memory.blocks.clone(),
        })
    }

    /// The node's record. Its incarnation is the one of the last record, if nothing else differs, or the next.
    pub(super) fn record(&self) -> Option<Record> {
        let device = self.device()?;
        let is_common = |address: &IpAddr| address.is_ipv4() == device.local.is_ipv4();
        let before = self.memory.as_ref()?.record.as_ref();
        let (mac, key) = match device.backend {
            Backend::Vxlan => (Some(device.mac), None),
            // Without it there is nothing to publish yet.
            Backend::Wireguard => (None, Some(self.public_key?.to_string())),
        };
        let mut record = Record {
            machine: self.machine.clone(),
            addresses: vec![self.conf.public.filter(is_common).unwrap_or(device.local)],
            mac,
            key,
            blocks: device.blocks,
            mtu: device.mtu,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: before.map_or(1, |before| before.incarnation),
        };
        if before.is_some_and(|before| *before != record) {
            record.incarnation += 1;
        }
        Some(record)
    }

    /// Looks at the interface to the others. Says whether the device or the record follows a change.
    async fn look_at_underlay(&mut self) -> Result<bool, String> {
        if self.kernel.is_none() {
            self.open_kernel();
        }
        let (Some(kernel), Some(memory)) = (&self.kernel, &mut self.memory) else { return Ok(false) };
        let underlay = kernel.underlay(self.conf.interface.as_deref(), self.conf.address).await;
        let underlay = underlay.map_err(|error| error.to_string())?;
        self.watched = underlay.index;
        // The others send to addresses of one family: it does not change while the node's own one is renewed.
        let is_as_before =
            |address: &&IpAddr| memory.local.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
        let first = underlay.addresses.iter().find(is_as_before).copied();
        let Some(local) = self.conf.address.or(first) else {
            let family = if memory.local.is_some_and(|local| local.is_ipv4()) { "IPv4" } else { "IPv6" };
            return Err(format!(
                "interface {} has no {family} address any more, to which the other nodes send; give it one, or set \
                 \"address\" of the network",
                underlay.name
            ));
        };
        let mtu = identity::mtu(underlay.mtu, local, &memory.network, self.conf.mtu)?;
        if let Some(engine) =
            self.engine.as_ref().filter(|_| memory.local.is_some_and(|before| before != local))
        {
            engine.reconnect();
            self.retry_at = Instant::now();
        }
        let is_changed =
            (memory.mtu, memory.local) != (mtu, Some(local)) || self.underlay.as_ref() != Some(&underlay);
        (memory.mtu, memory.local) = (mtu, Some(local));
        self.underlay = Some(underlay);
        Ok(is_changed)
    }

    /// Before the first claim: whether the network can be on this node. It makes the device, without addresses.
    pub(super) async fn prepare(&mut self) -> Result<(), String> {
        let is_changed = self.look_at_underlay().await?;
        let Some(memory) = &self.memory else { return Ok(()) };
        if !memory.blocks.is_empty() {
            if is_changed {
                self.program().await?;
                self.write_run_file();
            }
            return Ok(());
        }
        // Where state.json was lost, the bridge and the other nodes' entries are there all the same.
        let before = overlay::read(&self.network).ok().flatten().filter(|node| node.id == memory.network.id);
        if let Some(kernel) = &self.kernel {
            let me = self.me();
            let claimed = self.claims.iter().filter(|(_, claim)| **claim == me).map(|(block, _)| *block);
            let blocks = before.iter().flat_map(|node| &node.blocks).map(|block| block.subnet);
            let own: Vec<IpNetwork> = claimed.chain(blocks).collect();
            let met = kernel.conflicts(&memory.network.prefixes, &own, &memory.device).await;
            let met = met.map_err(|error| error.to_string())?;
            if !met.is_empty() {
                let prefixes: Vec<_> = memory.network.prefixes.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "the network's prefixes ({}) meet what this node has already: {}; remove that here, or create the \
                     network with another --subnet",
                    prefixes.join(", "),
                    met.join(", ")
                ));
            }
        }
        if before.is_some() { Ok(()) } else { self.program().await }
    }

    /// Has all of the network in the kernel and in the firewall.
    pub(super) async fn program(&mut self) -> Result<(), String> {
        self.apply().await.map(drop)
    }

    async fn apply(&mut self) -> Result<Applied, String> {
        self.have_key()?;
        let (Some(device), Some(memory)) = (self.device(), &self.memory) else {
            return Ok(Applied::default());
        };
        let Some(kernel) = &self.kernel else { return Ok(Applied::default()) };
        let start = Instant::now();
        let wanted = Wanted {
            device,
            peers: std::mem::take(&mut self.peers),
            prefixes: memory.network.prefixes.clone(),
        };
        let outcome =
            if self.do_strays_go() { kernel.apply(&wanted).await } else { kernel.complete(&wanted).await };
        self.peers = wanted.peers;
        self.are_peers_changed = true;
        self.put_firewall();
        let applied = outcome.map_err(|error| error.to_string())?;
        self.public_key = applied.key;
        self.trouble = None;
        self.faults.retain(|_, (state, _)| *state != PeerState::Refused);
        for (name, error) in &applied.refused {
            if self.peers.contains_key(name) {
                self.faults.insert(name.clone(), (PeerState::Refused, error.to_string()));
            } else {
                self.trouble = Some(format!("{name}: {error}"));
            }
        }
        self.program_time = start.elapsed();
        Ok(applied)
    }

    /// Whether it is known by now whose all entries in the kernel are.
    fn do_strays_go(&self) -> bool {
        let now = Instant::now();
        self.strays_go_at.is_some_and(|at| now >= at) && !self.guard.is_quiet(now)
    }

    /// An encrypted network needs a key.
    fn have_key(&mut self) -> Result<(), String> {
        let backend = self.memory.as_ref().map(|memory| memory.network.backend);
        if backend == Some(Backend::Wireguard) && self.key.is_none() {
            self.key = Some(secret::have(&self.network)?);
        }
        Ok(())
    }

    /// Compares everything with the kernel, and puts back what is missing.
    pub(super) async fn repair(&mut self) {
        if self.memory.as_ref().is_none_or(|memory| memory.blocks.is_empty()) {
            return;
        }
        match self.look_at_underlay().await {
            // Without a way out for now: what is in the kernel stays.
            Err(why) => self.trouble = Some(why),
            Ok(is_changed) => {
                if is_changed {
                    self.replan_all();
                    self.save_soon();
                    self.go_back_to(Step::Publish);
                }
                match self.apply().await {
                    Ok(applied) if !is_changed => {
                        self.repairs += u64::try_from(applied.made + applied.removed).unwrap_or(0);
                    }
                    Ok(_) => {}
                    Err(why) => self.trouble = Some(why),
                }
                self.write_run_file();
            }
        }
    }

    /// Looks for a firewall that keeps the other nodes' packets out.
    pub(super) fn look_for_obstacle(&mut self) {
        let (Some(memory), Some(underlay), Some(local)) =
            (&self.memory, &self.underlay, self.local_address())
        else {
            return;
        };
        let found = firewall::obstacle::find(memory.network.port, &underlay.name, local.is_ipv6());
        self.obstacle = found.unwrap_or_else(|error| Some(error.to_string()));
    }

    /// Without a block, nothing of the network is needed.
    pub(super) async fn withdraw(&mut self) {
        let Some(memory) = self.memory.as_ref().filter(|memory| memory.blocks.is_empty()) else { return };
        let (device, prefixes) = (memory.device.clone(), memory.network.prefixes.clone());
        let removed = self.kernel_remove(&device, &prefixes).await;
        self.note(removed);
        let firewall = firewall::remove(&self.network).map_err(|error| error.to_string());
        self.note(firewall);
    }

    pub(super) async fn kernel_remove(&self, device: &str, prefixes: &[IpNetwork]) -> Result<(), String> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let key = secret::read(&self.network)?;
        kernel.remove(device, prefixes, key.as_ref()).await.map_err(|error| error.to_string())
    }

    /// Lets packets in from the nodes that are in the kernel.
    pub(super) fn put_firewall(&mut self) {
        let Some(memory) = &self.memory else { return };
        let vni = (memory.network.backend == Backend::Vxlan).then_some(memory.network.vni);
        let addresses: BTreeSet<IpAddr> = self.peers.values().map(|peer| peer.address).collect();
        let port = memory.network.port;
        let outcome = if self.do_strays_go() {
            firewall::put(&self.network, port, vni, &addresses)
        } else {
            let gone = &self.let_in - &addresses;
            firewall::add(&self.network, port, vni, &addresses, &gone)
        };
        self.let_in = addresses;
        self.firewall_error = outcome.err().map(|error| error.to_string());
    }

    /// New containers get addresses of the node's blocks, unless one of them is another node's, or there is no device.
    pub(super) fn write_run_file(&mut self) {
        let Some(memory) = &self.memory else { return };
        if !memory.blocks.is_empty() && memory.mtu != 0 && !memory.is_conflict {
            self.file_error = run_file::write(&self.network, memory).err();
        }
    }

    pub(super) fn note(&mut self, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            self.file_error = Some(why);
        }
    }

    pub(super) fn save_soon(&mut self) {
        self.save_at.get_or_insert_with(|| self.saved_at + SAVE);
    }

    /// Writes state.json. On a full disk the task goes on, and tries it again.
    pub(super) async fn save(&mut self) {
        self.save_at = None;
        self.saved_at = Instant::now();
        let Some(memory) = &self.memory else { return };
        let network = self.network.clone();
        let written = match memory.to_vec(&self.peers) {
            Ok(content) => {
                let write = move || memory::write(&network, &content);
                let done = tokio::task::spawn_blocking(write).await;
                done.unwrap_or_else(|error| Err(error.to_string()))
            }
            Err(error) => Err(error.to_string()),
        };
        self.save_error = written.err();
        if self.save_error.is_some() {
            self.save_at = Some(Instant::now() + SAVE_AGAIN);
        }
    }
}
