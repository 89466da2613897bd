//! Looking whether a bridge is closed.

use std::net::IpAddr;

use cni::{Attachment, IfName, NetworkName};
use ipnetwork::IpNetwork;
use netlink::Link;
use nftables::{Data, Field, Socket, Verdict};

use super::chains::{self, Names};
use super::frames::{self, Holding};
use super::layout;
use super::table::{MEMBERS, TABLE, boot, chain_of, mark};
use super::tunnel::Tunnel;
use crate::conf::{Conf, Gate};
use crate::error::{Error, Result, differs};
use crate::filter::owner::{element, interface};
use crate::names;
use crate::parts::br_netfilter;

/// The gate of a bridge, as one attachment needs it.
#[derive(Debug)]
pub(crate) struct BridgeGate<'a> {
    pub gate: Gate,
    pub bridge: &'a IfName,
    /// What may come in besides published ports and answers.
    pub from: &'a [IpNetwork],
    /// The way to members on other nodes, where this is an overlay network's bridge and its file says it. What is there of
    /// another network's, or from before, stays where there is none.
    pub tunnel: Option<Tunnel<'a>>,
}

/// What a gate is about: an attachment, with the name by which the kernel knows its port, and its addresses. Members are
/// counted by the derived name, which DEL and GC know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub attachment: &'a Attachment,
    pub port: &'a str,
    pub addresses: &'a [IpAddr],
}

/// What a comparison found, as text.
pub(super) fn fault(outcome: Result<()>) -> Result<Option<String>> {
    match outcome {
        Err(Error::Differs(fault)) => Ok(Some(fault)),
        outcome => outcome.map(|()| None),
    }
}

impl<'a> BridgeGate<'a> {
    /// The gate that a configuration asks for.
    pub(crate) fn of(conf: &'a Conf) -> Option<Self> {
        let (bridge, from) = (conf.host_link(), &*conf.ingress_from);
        conf.gate.map(|gate| Self { gate, bridge, from, tunnel: Tunnel::of(conf.node.as_ref()) })
    }

    pub(super) fn names(&self) -> Names {
        Names::new(self.gate, self.bridge.as_str())
    }

    pub(super) fn holding<'h>(&'h self, held: Held<'h>, derived: &'h str) -> Holding<'h> {
        Holding { bridge: self.bridge.as_str(), derived, held: held.port, addresses: held.addresses }
    }

    /// Names the first thing by which the gate is not as it should be.
    pub(super) fn expect(&self, socket: &mut Socket) -> Result<()> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        layout::expect(
            socket,
            &TABLE,
            &names.chains(self.gate, bridge, Some(&boot()), (self.from, self.tunnel)),
        )?;
        self.expect_maps(socket, bridge)?;
        if let Some(tunnel) = &self.tunnel {
            tunnel.expect(socket, &names.guard)?;
        }
        if element(socket, &MEMBERS, &[bridge])?.is_none() {
            return differs(format!("map {} of table {TABLE} has been flushed", MEMBERS.name));
        }
        if self.gate.apart { frames::expect(socket, bridge) } else { Ok(()) }
    }

    /// Names the map that does not lead to the gate.
    fn expect_maps(&self, socket: &mut Socket, bridge: Field) -> Result<()> {
        let chain = self.names().gate;
        for map in chains::maps(self.gate) {
            let found = element(socket, map, &[bridge])?.and_then(|found| found.data);
            if found != Some(Data::Verdict(Verdict::jump(&*chain))) {
                let map = map.name;
                return differs(format!(
                    "map {map} of table {TABLE} does not lead {bridge} to chain {chain}"
                ));
            }
        }
        Ok(())
    }

    /// Whether the gate is whole as an older version made it: it stays so until the next ADD or repair.
    fn is_of_an_older_version(&self, socket: &mut Socket) -> Result<bool> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        if mark(socket, &names.chain())?.is_some() {
            return Ok(false);
        }
        let outcome = layout::expect(socket, &TABLE, &names.chains(self.gate, bridge, None, (&[], None)))
            .and_then(|()| self.expect_maps(socket, bridge))
            .and_then(|()| if self.gate.apart { frames::expect_older(socket) } else { Ok(()) });
        Ok(fault(outcome)?.is_none())
    }

    /// Says what is open of a network that has members. What else it lets in is not read, nor the device of an overlay
    /// network, which may have changed: the next ADD puts both right, and CHECK names them.
    pub(crate) fn status(
        &self,
        links: &mut netlink::Socket,
        bridge: &Link,
        network: &NetworkName,
    ) -> Result<()> {
        let is_member = |port: &Link| port.carrier && names::is_of_network(network, port);
        if !links.has_port_that(bridge.index, is_member)? {
            return Ok(());
        }
        if self.gate.apart
            && let Err(error) = br_netfilter::expect_on(bridge)
        {
            return Err(self.open(error.to_string()));
        }
        let mut socket = Socket::open()?;
        match fault(BridgeGate { from: &[], tunnel: None, ..*self }.expect(&mut socket))? {
            Some(fault) if !self.is_of_an_older_version(&mut socket)? => Err(self.open(fault)),
            _ => Ok(()),
        }
    }

    pub(super) fn open(&self, why: String) -> Error {
        Error::NotClosed { bridge: self.bridge.to_string(), why }
    }

    /// Names what differs from what [`Put`] set up.
    pub(crate) fn check(&self, socket: &mut Socket, held: Held) -> Result<()> {
        match fault(self.expect_member(socket, held))? {
            Some(fault) if fault.starts_with(layout::LETS_NOT) => {
                differs(format!("bridge {} {fault}", self.bridge))
            }
            Some(fault) => differs(format!("bridge {} is not closed: {fault}", self.bridge)),
            None => Ok(()),
        }
    }

    fn expect_member(&self, socket: &mut Socket, held: Held) -> Result<()> {
        let derived = held.attachment.host_interface();
        self.expect(socket)?;
        if self.gate.apart {
            self.holding(held, &derived).expect(socket)?;
        }
        let member = interface(&derived)?;
        let found = element(socket, &MEMBERS, &[member])?;
        if found.and_then(|found| chain_of(&found)) != Some(self.names().gate) {
            return differs(format!("map {} of table {TABLE} does not have {member}", MEMBERS.name));
        }
        Ok(())
    }
}
