//! The host's own link on a network with a VLAN: a VLAN device on the bridge, which has the gateway's addresses.
//!
//! The reference makes a veth pair of the same name, `<bridge>.<vlan>`, which takes up a port of the bridge and stays for
//! ever; one that is there is used. On VLAN 1, which a bridge is on itself without a tag, the host's link is the bridge.

use cni::IfName;
use netlink::{BridgeVlan, Link, Socket, VlanDevice, VlanMember};

use super::{expect_link, expect_up};
use crate::error::{Error, Result, config, differs};
use crate::names::GATEWAY_ALIAS;

/// The VLAN that the kernel puts a new bridge and its ports on (`IFLA_BR_VLAN_DEFAULT_PVID`).
const BRIDGES_OWN: u16 = 1;

/// The name and VLAN of the device that a network's gateway needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VlanGateway {
    /// `<bridge>.<vlan>`.
    pub name: IfName,
    vlan: u16,
}

impl VlanGateway {
    /// The device for a VLAN of a bridge; `None` where that is the bridge itself.
    pub(crate) fn new(bridge: &IfName, vlan: u16) -> Result<Option<Self>> {
        if vlan == BRIDGES_OWN {
            return Ok(None);
        }
        let name = IfName::new(format!("{bridge}.{vlan}")).map_err(|error| {
            config(
                format!("the gateway's interface on VLAN {vlan}: {error}"),
                "give the bridge a shorter name",
            )
        })?;
        Ok(Some(Self { name, vlan }))
    }

    /// Finds the device or makes it.
    pub(crate) fn ensure(&self, socket: &mut Socket, bridge: &Link) -> Result<Link> {
        let name = self.name.as_str();
        if let Some(link) = socket.get_link(name)? {
            self.expect(socket, &link, bridge)?;
            if !link.up {
                socket.set_up(link.index)?;
            }
            return Ok(link);
        }
        if socket.bridge_vlans(bridge.index)?.iter().any(|own| own.untagged && own.first == self.vlan) {
            return Err(config(
                format!("bridge {} is on VLAN {} itself, without a tag", bridge.name, self.vlan),
                "leave \"vlan\" out, or choose another one",
            ));
        }
        socket.add_bridge_vlan(VlanMember::Bridge(bridge.index), &self.tagged())?;
        let device = VlanDevice { name, link: bridge.index, id: self.vlan, alias: Some(GATEWAY_ALIAS) };
        match socket.add_vlan_device(&device) {
            Ok(_) => {}
            // Another ADD was faster, or the VLAN has a device of another name.
            Err(error) if error.is_exists() => {}
            Err(error) => {
                // Of two failures the first is the one to report.
                let _ = socket.del_bridge_vlan(VlanMember::Bridge(bridge.index), &self.tagged());
                return Err(error.into());
            }
        }
        let link = socket.get_link(name)?.ok_or_else(|| {
            config(
                format!("VLAN {} of bridge {} has another device already", self.vlan, bridge.name),
                "remove that device, or name it as <bridge>.<vlan>",
            )
        })?;
        self.expect(socket, &link, bridge)?;
        Ok(link)
    }

    /// Refuses a link that does not lead to this VLAN of this bridge.
    fn expect(&self, socket: &mut Socket, link: &Link, bridge: &Link) -> Result<()> {
        let leads_there = match (link.kind.as_deref(), link.peer_index) {
            (Some("vlan"), on) => on == Some(bridge.index) && link.vlan_id == Some(self.vlan),
            (Some("veth"), Some(peer)) => {
                socket.get_link_by_index(peer)?.is_some_and(|peer| peer.master == Some(bridge.index))
            }
            _ => false,
        };
        if leads_there {
            return Ok(());
        }
        Err(config(
            format!("link {} exists and is not on VLAN {} of bridge {}", link.name, self.vlan, bridge.name),
            "remove that link, or give the network another bridge or VLAN",
        ))
    }

    /// Names what differs from what [`VlanGateway::ensure`] set up, and returns the link.
    pub(crate) fn check(&self, socket: &mut Socket, bridge: &Link) -> Result<Link> {
        let link = expect_link(socket, self.name.as_str())?;
        self.expect(socket, &link, bridge).map_err(|error| Error::Differs(error.to_string()))?;
        expect_up(&link)?;
        if link.vlan_id.is_some() && !socket.bridge_vlans(bridge.index)?.iter().any(|own| self.is_on(*own)) {
            return differs(format!("bridge {} is not on VLAN {} itself", bridge.name, self.vlan));
        }
        Ok(link)
    }

    /// Whether a device that an ADD made is unused. The bridge's ports are looked through until one is found
    /// that is on the VLAN.
    pub(crate) fn is_unused(&self, socket: &mut Socket, bridge: &Link) -> Result<bool> {
        let is_ours = |link: &Link| link.alias.as_deref() == Some(GATEWAY_ALIAS) && link.vlan_id.is_some();
        if !socket.get_link(self.name.as_str())?.as_ref().is_some_and(is_ours) {
            return Ok(false);
        }
        Ok(!socket.has_vlan(bridge.index, self.vlan)?)
    }

    /// Removes the device, and takes the bridge itself off the VLAN.
    pub(crate) fn remove(&self, socket: &mut Socket, bridge: &Link) -> Result<()> {
        socket.del_link_by_name(self.name.as_str())?;
        Ok(socket.del_bridge_vlan(VlanMember::Bridge(bridge.index), &self.tagged())?)
    }

    fn tagged(&self) -> BridgeVlan {
        BridgeVlan { first: self.vlan, last: self.vlan, pvid: false, untagged: false }
    }

    fn is_on(&self, own: BridgeVlan) -> bool {
        (own.first..=own.last).contains(&self.vlan) && !own.untagged
    }
}
