//! The plugin's configuration: from JSON to a type that cannot hold a contradiction.

mod keys;
mod lenient;
mod overlay_key;

use cni::{IfName, NetworkName, Request, Target};
use interface::{Ipam, asked_mac, word};
use ipnetwork::IpNetwork;
use netlink::Mac;

use crate::cidrs;
use crate::error::{Error, Result, config};
use crate::parts::vlan::Vlans;
use crate::parts::vlan_gateway::VlanGateway;

use keys::DEFAULT_BRIDGE;
pub(crate) use keys::Keys;
pub(crate) use lenient::Lenient;

/// A valid configuration.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub(crate) struct Conf {
    /// What needs no reading, by the names of the configuration.
    pub keys: Keys,
    /// The bridge's name.
    pub bridge: IfName,
    /// The bridge gets the gateway's addresses, and the host forwards.
    pub gateway: bool,
    /// What masquerades; the kernel's best otherwise.
    pub masquerade_backend: Option<MasqueradeBackend>,
    /// Where packets keep their source all the same.
    pub masquerade_except: Vec<IpNetwork>,
    /// In bytes; the kernel's default otherwise.
    pub mtu: Option<u32>,
    /// The VLANs of the port, where it is on any; the bridge then filters them.
    pub vlans: Option<Vlans>,
    /// The device that has the gateway's addresses, where that is not the bridge itself.
    pub vlan_gateway: Option<VlanGateway>,
    /// What may be forwarded to and from the bridge, where that is not everything.
    pub gate: Option<Gate>,
    /// What may come in through the gate besides published ports and answers.
    pub ingress_from: Vec<IpNetwork>,
    /// The overlay network that the bridge is one node's part of.
    pub overlay: Option<NetworkName>,
    /// What this node knows of it, once it has been read: see [`Conf::join`].
    pub node: Option<overlay::Node>,
    /// The host forwards what comes from the network, or goes there.
    pub routed: bool,
    /// What else filters on the host is made to let forwarded packets through.
    pub forward: bool,
    /// The container accepts router advertisements.
    pub accepts_ra: bool,
    /// The container interface's hardware address, where one was asked for.
    pub mac: Option<Mac>,
    /// Who gives the addresses.
    pub ipam: Ipam,
}

impl Conf {
    /// Whether the bridge's ports are kept apart.
    pub(crate) fn keeps_apart(&self) -> bool {
        self.gate.is_some_and(|gate| gate.apart)
    }

    /// Whether a port is held to addresses of its own.
    pub(crate) fn checks_spoofing(&self) -> bool {
        self.keys.macspoofchk || self.keys.ipspoofchk
    }

    /// The name of the host's own link on the network, which all that is routed passes.
    pub(crate) fn host_link(&self) -> &IfName {
        self.vlan_gateway.as_ref().map_or(&self.bridge, |gateway| &gateway.name)
    }

    /// Adds what this node knows of the overlay network. An MTU of the configuration's own counts where it is smaller.
    pub(crate) fn join(&mut self, node: overlay::Node) {
        self.mtu = Some(self.mtu.map_or(node.mtu, |mtu| mtu.min(node.mtu)));
        let more: Vec<IpNetwork> =
            node.prefixes.iter().filter(|prefix| !self.masquerade_except.contains(prefix)).copied().collect();
        self.masquerade_except.extend(more);
        self.node = Some(node);
    }

    /// Reads the configuration; `target` is there for the verbs that have one.
    pub(crate) fn new(request: &Request, target: Option<&Target>) -> Result<Self> {
        // A pair that is none may have been meant to ask for the hardware address.
        target.map_or(Ok(()), |target| target.args.expect_pairs())?;
        let keys: Keys = request.conf.parse()?;
        let ipam = Ipam::new(keys.ipam.r#type.clone());
        expect_consistent(&keys, &ipam)?;
        let overlay = overlay_key::name(&request.conf, &keys.overlay, &ipam)?;
        let forwards = [("", false), ("host", false), ("accept", true)];
        let forward = word("forward", &keys.forward, &forwards, "use \"host\" or \"accept\"")?;
        // To open the firewall for a network is to mean what the network publishes, unless the configuration says otherwise.
        let ingress = if forward && keys.ingress.is_empty() { "published" } else { &keys.ingress };
        let edges = [("", Edge::Open), ("any", Edge::Open), ("published", Edge::Published)];
        let edge = if keys.internal {
            Edge::Internal
        } else {
            word("ingress", ingress, &edges, "use \"any\" or \"published\"")?
        };
        let backends = [
            ("", None),
            ("nftables", Some(MasqueradeBackend::Nftables)),
            ("iptables", Some(MasqueradeBackend::Iptables)),
        ];
        let cure = "use \"nftables\" or \"iptables\", or leave it out";
        let masquerade_backend = word("ipMasqBackend", &keys.ip_masq_backend, &backends, cure)?;
        let ingress_from = cidrs::parse("ingressFrom", &keys.ingress_from)?;
        if !ingress_from.is_empty() && edge != Edge::Published {
            return Err(config(
                "ingressFrom says who may come in besides published ports, and this network is closed to all or to none",
                "set \"ingress\": \"published\" and leave \"internal\" out, or leave \"ingressFrom\" out",
            ));
        }
        let gate = Gate { edge, apart: keys.icc == Some(false) };
        let bridge = bridge_name(&keys.bridge)?;
        let gateway = keys.is_gateway || keys.is_default_gateway;
        if overlay.is_some() && !gateway {
            return Err(config(
                "\"overlay\" needs a bridge that is the containers' gateway: other nodes are behind it",
                "set \"isGateway\": true or \"isDefaultGateway\": true",
            ));
        }
        let vlans = Vlans::new(keys.vlan, &keys.vlan_trunk, keys.preserve_default_vlan.unwrap_or(true))?;
        if gate.apart && vlans.is_some() {
            return Err(Error::ApartOnVlans(bridge.to_string()));
        }
        let vlan_gateway = match vlans.as_ref().and_then(|vlans| vlans.native) {
            Some(vlan) if gateway => VlanGateway::new(&bridge, vlan)?,
            _ => None,
        };
        Ok(Self {
            bridge,
            gateway,
            masquerade_backend,
            masquerade_except: cidrs::parse("ipMasqExcept", &keys.ip_masq_except)?,
            mtu: (keys.mtu != 0).then_some(keys.mtu),
            vlans,
            vlan_gateway,
            // An overlay network always has one: for what may go into the tunnel, and come out of it.
            gate: (gate.apart || edge != Edge::Open || overlay.is_some()).then_some(gate),
            ingress_from,
            routed: (!keys.internal || overlay.is_some()) && (gateway || keys.ip_masq),
            overlay,
            node: None,
            forward,
            accepts_ra: keys.accept_ra || !ipam.gives_all(),
            mac: asked_mac(&keys.runtime_config, &keys.args, target, "")?,
            ipam,
            keys,
        })
    }
}

/// What masquerades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MasqueradeBackend {
    /// A table of the suite's own.
    Nftables,
    /// The chains that the reference makes with iptables.
    Iptables,
}

/// How a network's bridge is closed to what the host and the bridge forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    /// What passes between the bridge and others.
    pub edge: Edge,
    /// What passes between its ports is links only.
    pub apart: bool,
}

/// What passes between a network's bridge and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Everything.
    Open,
    /// From outside the bridge only published ports, and answers, come in.
    Published,
    /// Nothing comes in or goes out.
    Internal,
}

/// Refuses keys that exclude each other, what needs addresses without any, and what cannot have them with some.
fn expect_consistent(keys: &Keys, ipam: &Ipam) -> Result<()> {
    if keys.hairpin_mode && keys.promisc_mode {
        return Err(config(
            "hairpinMode and promiscMode exclude each other",
            "set one of them; hairpinMode is enough for a container to reach itself by a published port",
        ));
    }
    if keys.disable_container_interface && !ipam.is_none() {
        return Err(config(
            "disableContainerInterface leaves the interface down, so it cannot have addresses",
            "leave \"ipam\" out",
        ));
    }
    if keys.ipspoofchk && ipam.is_none() {
        return Err(config(
            "ipspoofchk holds the container to its addresses, and without ipam it has none",
            "add \"ipam\", or use macspoofchk alone",
        ));
    }
    if keys.mtu != 0 && !(68..=65_535).contains(&keys.mtu) {
        return Err(config(
            format!("mtu {} is out of range", keys.mtu),
            "use 68 to 65535, or 0 for the default",
        ));
    }
    Ok(())
}

fn bridge_name(name: &str) -> Result<IfName> {
    let name = if name.is_empty() { DEFAULT_BRIDGE } else { name };
    IfName::new(name)
        .map_err(|error| config(format!("bridge: {error}"), "give the bridge a name of at most 15 bytes"))
}

#[cfg(test)]
mod tests;
