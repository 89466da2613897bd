//! The plugin's configuration: from JSON to a type that cannot hold a contradiction.

use cni::{Dns, IfName, Request, Target};
use ipnetwork::IpNetwork;
use netlink::Mac;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cidrs;
use crate::error::Error;
use crate::parts::lease::Ipam;
use crate::parts::vlan::{TrunkKeys, Vlans};
use crate::parts::vlan_gateway::VlanGateway;

/// The keys as they are written; the meaning and default of each is the reference plugin's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration by its own name")]
pub(crate) struct Keys {
    /// Name of the bridge, made where it is not there; cni0 unless set.
    bridge: String,
    /// The bridge gets the gateway's addresses, and the host forwards.
    is_gateway: bool,
    /// As isGateway, and the container's default route leads there.
    is_default_gateway: bool,
    /// Addresses of the bridge that conflict with the gateway's are replaced.
    force_address: bool,
    /// What leaves the network takes the host's address.
    ip_masq: bool,
    /// What masquerades: nftables or iptables.
    ip_masq_backend: String,
    /// Networks to which packets keep their source all the same, as pods of other nodes; of either family.
    ip_masq_except: Vec<String>,
    /// MTU of the bridge and of both ends of the veth, in bytes; 0 is the kernel's default.
    mtu: u32,
    /// Frames may go back through the port they came by: a container reaches itself by a port that it publishes.
    hairpin_mode: bool,
    /// The bridge takes in frames of every address.
    promisc_mode: bool,
    /// VLAN of the port, untagged inside the container; 0 for none.
    vlan: u32,
    /// VLANs that the container sends and receives with tags.
    vlan_trunk: Vec<TrunkKeys>,
    /// The port stays on the bridge's own VLAN as well, which it does unless this is false.
    preserve_default_vlan: Option<bool>,
    /// The container may send from its own hardware address only.
    macspoofchk: bool,
    /// The container may use only the addresses that it was given, in IP, ARP and neighbour discovery, and from its own
    /// hardware address only; it is no router.
    ipspoofchk: bool,
    /// The port exchanges no frames with other isolated ports.
    port_isolation: bool,
    /// The container takes addresses and routes from router advertisements, as the kernel does by default. Unless this is
    /// true it takes none where an IPAM plugin other than dhcp gives its addresses.
    #[serde(rename = "acceptRA")]
    accept_ra: bool,
    /// ADD waits until the kernel has seen that nobody else has the IPv6 addresses.
    enabledad: bool,
    /// The interface in the container stays down, without addresses.
    disable_container_interface: bool,
    /// What comes in from outside the bridge: "any", which is the default, or "published" ports and answers alone.
    #[schemars(extend("enum" = ["any", "published"]))]
    ingress: String,
    /// Networks of either family that may come in besides published ports and answers, where ingress is "published".
    ingress_from: Vec<String>,
    /// Members of the network may talk to each other.
    icc: Option<bool>,
    /// Nothing goes in or out of the network; the host and the members reach each other.
    internal: bool,
    /// Other packet filters of the host: "host" leaves them as they are, "accept" has them let the network's packets through.
    #[schemars(extend("enum" = ["host", "accept"]))]
    forward: String,
    /// Name servers of the container; any one key set replaces all that IPAM gave.
    dns: Dns,
    /// Who gives the addresses; without it there are none.
    ipam: IpamKeys,
    args: Args,
    runtime_config: MacKey,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct IpamKeys {
    /// File name of the IPAM plugin; host-local runs within the bridge plugin itself.
    r#type: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Args {
    cni: MacKey,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct MacKey {
    /// Hardware address that the container's interface is to have.
    mac: String,
}

/// A valid configuration.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration by its own name")]
pub(crate) struct Conf {
    /// The bridge's name.
    pub bridge: IfName,
    /// The bridge gets the gateway's addresses, and the host forwards.
    pub gateway: bool,
    /// The container's default route leads to the gateway.
    pub default_gateway: bool,
    /// Addresses of the bridge that conflict with the gateway's are replaced.
    pub force_address: bool,
    /// What leaves the network takes the host's address.
    pub masquerade: bool,
    /// Who makes it so; the kernel's best otherwise.
    pub masquerade_backend: Option<MasqueradeBackend>,
    /// Where packets keep their source all the same.
    pub masquerade_except: Vec<IpNetwork>,
    /// In bytes; the kernel's default otherwise.
    pub mtu: Option<u32>,
    /// Frames may go back through the port they came by.
    pub hairpin: bool,
    /// The bridge takes in frames of every address.
    pub promiscuous: bool,
    /// The port exchanges no frames with other isolated ports.
    pub isolated: bool,
    /// The VLANs of the port, where it is on any; the bridge then filters them.
    pub vlans: Option<Vlans>,
    /// The device that has the gateway's addresses, where that is not the bridge itself.
    pub vlan_gateway: Option<VlanGateway>,
    /// The container may send from its own hardware address only.
    pub spoof_check: bool,
    /// The container may use the addresses only that it was given.
    pub address_check: bool,
    /// What may be forwarded to and from the bridge, where that is not everything.
    pub gate: Option<Gate>,
    /// What may come in through the gate besides published ports and answers.
    pub ingress_from: Vec<IpNetwork>,
    /// The host forwards what comes from the network, or goes there.
    pub routed: bool,
    /// What else filters on the host is made to let forwarded packets through.
    pub forward: bool,
    /// The container may heed router advertisements.
    pub heeds: bool,
    /// Duplicate address detection is waited for.
    pub dad: bool,
    /// The container's interface stays down.
    pub keep_down: bool,
    /// Name servers; any one set replaces all that IPAM gave.
    pub dns: Dns,
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

    /// The name of the host's own link on the network, which all that is routed passes.
    pub(crate) fn host_link(&self) -> &IfName {
        self.vlan_gateway.as_ref().map_or(&self.bridge, |gateway| &gateway.name)
    }

    /// Reads the configuration; `target` is there for the verbs that have one.
    pub(crate) fn new(request: &Request, target: Option<&Target>) -> Result<Self, Error> {
        // A pair that is none may have been meant to ask for the hardware address.
        target.map_or(Ok(()), |target| target.args.expect_pairs())?;
        let keys: Keys = request.conf.parse()?;
        if keys.hairpin_mode && keys.promisc_mode {
            return Err(config(
                "hairpinMode and promiscMode exclude each other",
                "set one of them; hairpinMode is enough for a container to reach itself by a published port",
            ));
        }
        let ipam = Ipam::new(keys.ipam.r#type.clone());
        refuse_addresses(&keys, &ipam)?;
        if keys.mtu != 0 && !(68..=65_535).contains(&keys.mtu) {
            return Err(config(
                &format!("mtu {} is out of range", keys.mtu),
                "use 68 to 65535, or 0 for the default",
            ));
        }
        let forward = match keys.forward.as_str() {
            "" | "host" => false,
            "accept" => true,
            other => {
                return Err(config(&format!("forward {other:?} is unknown"), "use \"host\" or \"accept\""));
            }
        };
        // To open the firewall for a network is to mean what the network publishes, unless the configuration says otherwise.
        let ingress = if forward && keys.ingress.is_empty() { "published" } else { &keys.ingress };
        let edge = match (keys.internal, ingress) {
            (true, _) => Edge::Internal,
            (false, "published") => Edge::Published,
            (false, "" | "any") => Edge::Open,
            (false, other) => {
                return Err(config(&format!("ingress {other:?} is unknown"), "use \"any\" or \"published\""));
            }
        };
        let masquerade_backend = match keys.ip_masq_backend.as_str() {
            "" => None,
            "nftables" => Some(MasqueradeBackend::Nftables),
            "iptables" => Some(MasqueradeBackend::Iptables),
            other => {
                return Err(config(
                    &format!("ipMasqBackend {other:?} is unknown"),
                    "use \"nftables\" or \"iptables\", or leave it out",
                ));
            }
        };
        let ingress_from = cidrs::parse("ingressFrom", &keys.ingress_from)?;
        if !ingress_from.is_empty() && edge != Edge::Published {
            return Err(config(
                "ingressFrom says who may come in besides published ports, and this network is closed to all or to none",
                "set \"ingress\": \"published\" and leave \"internal\" out, or leave \"ingressFrom\" out",
            ));
        }
        let gate = Gate { edge, apart: keys.icc == Some(false) };
        let bridge = bridge_name(keys.bridge)?;
        let gateway = keys.is_gateway || keys.is_default_gateway;
        let vlans = Vlans::new(keys.vlan, &keys.vlan_trunk, keys.preserve_default_vlan.unwrap_or(true))?;
        if gate.apart && vlans.is_some() {
            return Err(Error::ApartOnVlans(bridge.to_string()));
        }
        let vlan_gateway = match vlans.as_ref().and_then(|vlans| vlans.native) {
            Some(vlan) if gateway => VlanGateway::new(&bridge, vlan)?,
            _ => None,
        };
        // The strongest first: the runtime's, the configuration's arguments, the environment's.
        let asked = [keys.runtime_config.mac.as_str(), keys.args.cni.mac.as_str()];
        let asked =
            asked.into_iter().find(|mac| !mac.is_empty()).or_else(|| target.and_then(|t| t.args.get("MAC")));
        Ok(Self {
            bridge,
            gateway,
            default_gateway: keys.is_default_gateway,
            force_address: keys.force_address,
            masquerade: keys.ip_masq,
            masquerade_backend,
            masquerade_except: cidrs::parse("ipMasqExcept", &keys.ip_masq_except)?,
            mtu: (keys.mtu != 0).then_some(keys.mtu),
            hairpin: keys.hairpin_mode,
            promiscuous: keys.promisc_mode,
            isolated: keys.port_isolation,
            vlans,
            vlan_gateway,
            spoof_check: keys.macspoofchk,
            address_check: keys.ipspoofchk,
            gate: (gate != Gate::OPEN).then_some(gate),
            ingress_from,
            routed: !keys.internal && (keys.is_gateway || keys.is_default_gateway || keys.ip_masq),
            forward,
            heeds: keys.accept_ra || !ipam.gives_all(),
            dad: keys.enabledad,
            keep_down: keys.disable_container_interface,
            dns: keys.dns,
            mac: asked.map(parse_mac).transpose()?,
            ipam,
        })
    }
}

/// Who masquerades.
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

impl Gate {
    const OPEN: Self = Self { edge: Edge::Open, apart: false };
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

/// What DEL and GC need of the configuration. Whatever else is wrong with it cannot keep them from removing, and what is
/// wrong with these no more than it must.
#[derive(Debug)]
pub(crate) struct Removal {
    /// The bridge's name, or why there is none.
    pub bridge: Result<IfName, Error>,
    /// The gateway's device on the bridge, if the network has one.
    pub vlan_gateway: Option<VlanGateway>,
    /// Whether the network closes its bridge in any way.
    pub has_gate: bool,
    /// Who takes the addresses back.
    pub ipam: Ipam,
}

impl Removal {
    pub(crate) fn new(request: &Request) -> Self {
        let conf = &request.conf;
        let bridge = match conf.value(&["bridge"]) {
            None => bridge_name(String::new()),
            Some(serde_json::Value::String(name)) => bridge_name(name.clone()),
            Some(other) => Err(config(&format!("bridge is {other}"), "give the bridge's name as text")),
        };
        let vlan = conf.value(&["vlan"]).and_then(serde_json::Value::as_u64);
        let vlan = vlan.and_then(|vlan| u16::try_from(vlan).ok()).zip(bridge.as_ref().ok());
        let vlan_gateway = vlan.and_then(|(vlan, bridge)| VlanGateway::new(bridge, vlan).ok().flatten());
        let ipam = match (conf.value(&["ipam"]), conf.value(&["ipam", "type"])) {
            (None | Some(serde_json::Value::Object(_)), None) => Ipam::None,
            (_, Some(serde_json::Value::String(plugin))) => Ipam::new(plugin.clone()),
            // No ADD of this plugin can have succeeded with it. Most addresses are leased by host-local.
            _ => Ipam::HostLocal,
        };
        let says = |key: &str, word: serde_json::Value| conf.value(&[key]) == Some(&word);
        let has_gate =
            says("icc", false.into()) || says("internal", true.into()) || says("ingress", "published".into());
        Self { bridge, vlan_gateway, has_gate, ipam }
    }

    /// The link that has a gate, where the network closes its bridge and its name is known.
    pub(crate) fn gated(&self) -> Option<&str> {
        let bridge = self.bridge.as_ref().ok().filter(|_| self.has_gate)?;
        Some(self.vlan_gateway.as_ref().map_or(bridge, |device| &device.name).as_str())
    }
}

/// Refuses what needs addresses without any, and what cannot have them with some.
fn refuse_addresses(keys: &Keys, ipam: &Ipam) -> Result<(), Error> {
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
    Ok(())
}

fn bridge_name(name: String) -> Result<IfName, Error> {
    let name = if name.is_empty() { "cni0".to_owned() } else { name };
    IfName::new(name).map_err(|error| Error::Config {
        problem: format!("bridge: {error}"),
        cure: "give the bridge a name of at most 15 bytes",
    })
}

pub(crate) fn config(problem: &str, cure: &'static str) -> Error {
    Error::Config { problem: problem.to_owned(), cure }
}

fn parse_mac(text: &str) -> Result<Mac, Error> {
    let mac: Mac = text.parse().map_err(|_| {
        config(&format!("{text:?} is no MAC address"), "write six bytes as 02:00:00:00:00:01")
    })?;
    // IEEE 802: the lowest bit of the first byte marks groups, which no interface may have.
    if mac.octets()[0] & 1 == 1 {
        return Err(config(
            &format!("MAC address {text} is a multicast address"),
            "choose one whose first byte is even",
        ));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests;
