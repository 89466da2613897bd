//! The device that leads to an overlay network's other nodes: a part of the network, and guarded.
//!
//! Both maps lead it to a chain of its bridge's own, whatever the network lets in otherwise. What goes into the tunnel comes
//! from the bridge and from one of the network's addresses, and what comes out of it from one of them: a node forwards no
//! outsider's packets to others, and takes none that another node should not have forwarded.

use cni::IfName;
use ipnetwork::IpNetwork;
use nftables::{Batch, Data, Element, Expr, Field, Selector, Set, Socket, Verdict};

use super::table::{FROM, INTO, TABLE, chain_of};
use crate::error::{Result, config, differs};
use crate::filter::owner::{element, interface, key_of};

/// The maps that lead a device to its guard.
const MAPS: [&Set<'static>; 2] = [&INTO, &FROM];

/// A device that leads to other nodes, and the addresses of those behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel<'a> {
    pub device: &'a str,
    pub prefixes: &'a [IpNetwork],
}

impl<'a> Tunnel<'a> {
    /// That of an overlay network, where this is known.
    pub(super) fn of(node: Option<&'a overlay::Node>) -> Option<Self> {
        node.map(|node| Self { device: &node.device, prefixes: &node.prefixes })
    }

    /// The rules of the chain that guards the device.
    pub(super) fn guard(&self, bridge: Field) -> Vec<Vec<Expr<'static>>> {
        let mut rules = Vec::new();
        // A name that no link can have is refused before.
        for link in [Some(bridge), interface(self.device).ok()].into_iter().flatten() {
            for prefix in self.prefixes {
                let source = if prefix.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
                let by_link = Expr::eq(Selector::Iifname, link);
                rules.push(vec![by_link, Expr::within(source, *prefix), Expr::to_caller()]);
            }
        }
        rules.push(vec![Expr::drop()]);
        rules
    }

    /// Names the map that does not lead the device to its guard.
    pub(super) fn expect(&self, socket: &mut Socket, guard: &str) -> Result<()> {
        let device = interface(self.device)?;
        for map in MAPS {
            let found = element(socket, map, &[device])?.and_then(|found| found.data);
            if found != Some(Data::Verdict(Verdict::jump(guard))) {
                let map = map.name;
                return differs(format!(
                    "map {map} of table {TABLE} does not lead overlay device {} to chain {guard}",
                    self.device
                ));
            }
        }
        Ok(())
    }

    /// Adds to a transaction what is missing of that, and removes what leads another device there. The element says whose the
    /// device is: it belongs to one bridge.
    pub(super) fn mend(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        guard: &str,
        bridge: &IfName,
    ) -> Result<()> {
        let device = interface(self.device)?;
        forget(socket, batch, guard, Some(self.device))?;
        for map in MAPS {
            let found = element(socket, map, &[device])?;
            if let Some(found) = &found {
                if chain_of(found).as_deref() == Some(guard) {
                    continue;
                }
                self.expect_free(found, bridge)?;
                batch.del_element(map, &[device]);
            }
            let leading = Element::new(&[device]).verdict(Verdict::jump(guard));
            batch.add_element(map, &leading.comment(bridge.as_str()));
        }
        Ok(())
    }

    /// Refuses a device that another bridge has, unless that one is gone.
    fn expect_free(&self, found: &Element, bridge: &IfName) -> Result<()> {
        let Some(other) = found.comment.as_deref().filter(|other| *other != bridge.as_str()) else {
            return Ok(());
        };
        if netlink::Socket::open()?.get_link(other)?.is_none() {
            return Ok(());
        }
        Err(config(
            format!("device {} leads the members of bridge {other} to other nodes", self.device),
            "give each overlay network one bridge on a node",
        ))
    }
}

/// Adds to a transaction that no device leads to the guard of a bridge, but for one to keep.
pub(super) fn forget(socket: &mut Socket, batch: &mut Batch, guard: &str, keep: Option<&str>) -> Result<()> {
    for map in MAPS {
        if socket.is_as_set(map)? != Some(true) {
            continue;
        }
        for found in socket.elements(map)? {
            let device = key_of(&found).filter(|device| Some(device.as_str()) != keep);
            if let Some(device) = device.filter(|_| chain_of(&found).as_deref() == Some(guard)) {
                batch.del_element(map, &[interface(&device)?]);
            }
        }
    }
    Ok(())
}
