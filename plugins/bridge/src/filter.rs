//! The packet filter: what an attachment has in tables that it shares with others, and in those of other programs.
//!
//! Each concern is data and an [`Entry`]: [`gate`], [`spoof`], [`forward`] and [`masquerade`]. A verb puts, or takes, the
//! entries of all concerns in one transaction by one socket ([`ledger`]). What iptables' legacy variant has is changed by its
//! program, after that transaction.

pub(crate) mod forward;
pub(crate) mod gate;
pub(crate) mod masquerade;
mod owner;
mod spoof;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName, trace};
use netlink::{BridgeNetfilter, Mac};
use nftables::ledger::{self, Entry};
use nftables::{Set, Socket};

use crate::conf::{Conf, MasqueradeBackend};
use crate::error::{Error, Result};
use crate::names;
use crate::parts::veth::Port;
use crate::plan::Plan;

use gate::{BridgeGate, Held};
use masquerade::Masquerade;
use spoof::Given;

/// The maps that have an element for each port that they are about.
const BY_PORT: [Set; 5] = [masquerade::OWNERS, spoof::GUARDED, spoof::BOUND, forward::MEMBERS, gate::MEMBERS];

/// What an attachment is to have in the packet filter.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    conf: &'a Conf,
    attachment: &'a Attachment,
    /// The name by which the kernel knows the attachment's port.
    port: &'a str,
    /// The hardware address of the container's interface, where it is known.
    mac: Option<Mac>,
    addresses: Vec<IpAddr>,
    masquerade: Option<Masquerade<'a>>,
}

/// Which entries are put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage<'a> {
    /// All of them: of an ADD, before the port comes up.
    Whole,
    /// Those that need the addresses, which an IPAM program has given late.
    Late,
    /// Those of this port that CHECK misses, and what else the host's firewall drops. Masquerading is not among them: see
    /// [`Filter::restore_masquerade`].
    Repair(&'a Port),
}

impl<'a> Filter<'a> {
    /// Without a plan the addresses are not known yet.
    pub(crate) fn new(
        conf: &'a Conf,
        attachment: &'a Attachment,
        (port, mac): (&'a str, Option<Mac>),
        plan: Option<&Plan>,
    ) -> Self {
        let addresses = plan.iter().flat_map(|plan| plan.addresses()).collect();
        let masquerade = plan.and_then(|plan| Masquerade::new(attachment, conf, plan));
        Self { conf, attachment, port, mac, addresses, masquerade }
    }

    fn held(&self) -> Held<'_> {
        Held { attachment: self.attachment, port: self.port, addresses: &self.addresses }
    }

    /// What `ipspoofchk` holds the port to.
    fn given(&self) -> Option<Given> {
        let mac = self.mac.filter(|_| self.conf.keys.ipspoofchk)?;
        Some(Given::new(mac, self.addresses.iter().copied(), &self.conf.ipam))
    }

    /// What `macspoofchk` holds the port to.
    fn guarded(&self) -> Option<Mac> {
        self.mac.filter(|_| self.conf.keys.macspoofchk)
    }

    /// Whether anything but masquerading is asked for, which iptables could do.
    fn needs_nftables(&self) -> bool {
        let conf = self.conf;
        let by_choice =
            self.masquerade.is_some() && conf.masquerade_backend == Some(MasqueradeBackend::Nftables);
        conf.gate.is_some() || conf.checks_spoofing() || conf.forward || by_choice
    }

    /// The socket for all entries, where there are any.
    fn socket(&self) -> Result<Option<Socket>> {
        if self.needs_nftables() {
            return Ok(Some(Socket::open()?));
        }
        match self.conf.masquerade_backend {
            None if self.masquerade.is_some() => Ok(Socket::open_if_supported()?),
            _ => Ok(None),
        }
    }

    /// Puts the entries of a stage in one transaction. `switches` are what the bridge had of `br_netfilter` before. Returns
    /// what is left for the programs of iptables.
    pub(crate) fn put(&self, stage: Stage, switches: Option<BridgeNetfilter>) -> Result<Programs<'_>> {
        let Self { conf, attachment, .. } = *self;
        let (is_late, is_repair) = (matches!(stage, Stage::Late), matches!(stage, Stage::Repair(_)));
        let masquerade = self.masquerade.as_ref().filter(|_| !is_repair);
        let by_iptables = conf.masquerade_backend == Some(MasqueradeBackend::Iptables);
        let socket = self.socket()?;
        if masquerade.is_some() {
            let backend = if by_iptables || socket.is_none() { "iptables" } else { "nftables" };
            trace::decided("masquerade", &[("backend", &backend)]);
        }
        let Some(mut socket) = socket else {
            return Ok(Programs { forward: None, masquerade });
        };
        let mut spoof = match stage {
            Stage::Whole => spoof::Put::new(attachment, self.guarded(), self.given()),
            Stage::Late => spoof::Put::new(attachment, None, self.given()),
            Stage::Repair(port) => {
                spoof::restore(&mut socket, attachment, port, (self.guarded(), self.given()))?
            }
        };
        let mut gate = BridgeGate::of(conf)
            .filter(|gate| !is_repair || gate.check(&mut socket, self.held()).is_err())
            .map(|gate| gate::Put::new(gate, self.held(), switches));
        let mut forward =
            (conf.forward && !is_late).then(|| forward::Put::new(conf.host_link(), attachment, is_repair));
        let mut table = masquerade.filter(|_| !by_iptables).map(masquerade::Put::new);
        let entries = [entry(&mut gate), entry(&mut spoof), entry(&mut forward), entry(&mut table)];
        let mut entries: Vec<_> = entries.into_iter().flatten().collect();
        ledger::put(&mut socket, &mut entries)?;
        let tables = fmt::from_fn(|f| {
            let mut comma = "";
            entries.iter().try_for_each(|entry| {
                write!(f, "{comma}{}", entry.table())?;
                comma = ",";
                Ok(())
            })
        });
        trace::decided("filter", &[("tables", &tables), ("late", &is_late), ("repair", &is_repair)]);
        Ok(Programs { forward, masquerade: masquerade.filter(|_| by_iptables) })
    }

    /// Names what differs from what [`Filter::put`] set up.
    pub(crate) fn check(&self, port: &Port) -> Result<()> {
        if self.needs_nftables() {
            let mut socket = Socket::open()?;
            if let Some(gate) = BridgeGate::of(self.conf) {
                gate.check(&mut socket, self.held())?;
            }
            if self.conf.forward {
                forward::check(&mut socket, self.conf.host_link(), self.attachment)?;
            }
            spoof::check(&mut socket, self.attachment, port, (self.guarded(), self.given().as_ref()))?;
        }
        self.masquerade.as_ref().map_or(Ok(()), |it| it.check(self.conf.masquerade_backend))
    }

    /// Puts back what masquerades the attachment.
    pub(crate) fn restore_masquerade(&self) -> Result<()> {
        self.masquerade.as_ref().map_or(Ok(()), |it| it.restore(self.conf.masquerade_backend))
    }
}

/// What the programs of iptables have to do after the transaction.
#[derive(Debug)]
#[must_use = "without it the legacy variant of iptables goes on dropping packets"]
pub(crate) struct Programs<'a> {
    forward: Option<forward::Put<'a>>,
    masquerade: Option<&'a Masquerade<'a>>,
}

impl Programs<'_> {
    /// Starts them where there is anything to do.
    pub(crate) fn run(self) -> Result<()> {
        self.forward.map_or(Ok(()), |forward| forward.open_legacy())?;
        self.masquerade.map_or(Ok(()), masquerade::add_chains)
    }
}

/// What is to be removed of an attachment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leftover<'a> {
    pub attachment: &'a Attachment,
    /// The addresses that are not to be masqueraded any more: all of the container's where the list is empty; `None` where
    /// nothing has been masqueraded.
    pub masqueraded: Option<&'a [IpAddr]>,
    /// The pair was made by another program, or has gone: its port may be guarded by the reference's chains.
    pub is_foreign: bool,
    /// The link that has a gate by the configuration.
    pub gated: Option<&'a str>,
}

/// Removes what an attachment has in the packet filter, in one transaction; where the kernel refuses that, each concern by
/// itself. Also what the configuration does not ask for any more: it may have when the container was added. Returns the
/// socket as well: when it is closed matters to others.
pub(crate) fn take(leftover: Leftover) -> (Result<()>, Option<Socket>) {
    match Socket::open_if_supported() {
        Ok(mut socket) => (take_with(socket.as_mut(), leftover), socket),
        Err(error) => (Err(error.into()), None),
    }
}

fn take_with(socket: Option<&mut Socket>, leftover: Leftover) -> Result<()> {
    let Leftover { attachment, masqueraded, is_foreign, gated } = leftover;
    let chain = masquerade::chain_of(attachment);
    let del_legacy = || masqueraded.map_or(Ok(()), |addresses| masquerade::del_legacy(&chain, addresses));
    let Some(socket) = socket else { return del_legacy() };
    let port = attachment.host_interface();
    let mut table = masqueraded.map(|addresses| masquerade::Take::new(&port, addresses));
    let mut chains = masqueraded.map(|addresses| masquerade::take_chains(&chain, addresses));
    let mut reference = masqueraded.map(|_| masquerade::take_reference(attachment));
    let mut spoof = spoof::Take::new(&port);
    let mut foreign = is_foreign.then(|| spoof::reference::take(attachment));
    let mut forward = forward::Take::new(&port);
    let mut gate = gate::Take::new(Some(&port), gated);
    // Should they go one by one, the gate is last: nothing is to come in that it kept out.
    let mut entries: Vec<&mut dyn Entry<Error>> = Vec::new();
    entries.extend([entry(&mut table), entry(&mut chains), entry(&mut reference)].into_iter().flatten());
    entries.extend(entry(&mut foreign));
    entries.extend([&mut spoof as &mut dyn Entry<Error>, &mut forward, &mut gate]);
    let taken = ledger::take(socket, &mut entries);
    let closed = forward.close_legacy();
    // What the table has masqueraded, legacy chains have not: only here a program would be started.
    let is_known = taken.is_ok() && table.is_some_and(|table| table.was_there());
    taken.and(closed).and(if is_known { Ok(()) } else { del_legacy() })
}

/// Removes what an ADD of another attachment has put back for this one since [`take`], as its link was still there.
pub(crate) fn take_again(socket: &mut Socket, leftover: Leftover) -> Result<()> {
    let Some(_) = leftover.gated else { return Ok(()) };
    gate::forget(socket, &leftover.attachment.host_interface())
}

/// Removes what a network's attachments have that are not `valid` any more, each in one transaction. `gated` is the link that
/// has a gate by the configuration.
pub(crate) fn gc(network: &NetworkName, valid: &[(ContainerId, IfName)], gated: Option<&str>) -> Result<()> {
    let mut socket = Socket::open_if_supported()?;
    if let Some(socket) = &mut socket {
        let mut ports = BTreeSet::new();
        for map in &BY_PORT {
            ports.extend(owner::ports_of(socket, map, network)?);
        }
        for port in names::host_interfaces(network, valid) {
            ports.remove(&port);
        }
        for port in &ports {
            let mut forward = forward::Take::new(port);
            ledger::take(
                socket,
                &mut [
                    &mut masquerade::Take::new(port, &[]),
                    &mut spoof::Take::new(port),
                    &mut forward,
                    &mut gate::Take::new(Some(port), None),
                ],
            )?;
            forward.close_legacy()?;
        }
        spoof::reference::gc(socket, &mut netlink::Socket::open()?, valid)?;
        ledger::put(socket, &mut [&mut gate::Take::new(None, gated)])?;
    }
    masquerade::gc(socket.as_mut(), network, valid)
}

fn entry<T: Entry<Error>>(entry: &mut Option<T>) -> Option<&mut dyn Entry<Error>> {
    entry.as_mut().map(|entry| entry as &mut dyn Entry<Error>)
}
