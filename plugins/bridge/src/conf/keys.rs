//! The keys of the configuration, from which the schema is made too.

use cni::Dns;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::parts::vlan::TrunkKeys;

/// The keys as they are written; the meaning and default of each is the reference plugin's. Those that need no reading are
/// used as they are, the others by what [`super::Conf`] makes of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration by its own name")]
pub(crate) struct Keys {
    /// Name of the bridge, made where it is not there; cni0 unless set.
    pub(super) bridge: String,
    /// The bridge gets the gateway's addresses, and the host forwards.
    pub(super) is_gateway: bool,
    /// As isGateway, and the container's default route leads there.
    pub is_default_gateway: bool,
    /// Addresses of the bridge that conflict with the gateway's are replaced.
    pub force_address: bool,
    /// What leaves the network takes the host's address.
    pub ip_masq: bool,
    /// What masquerades: nftables or iptables.
    pub(super) ip_masq_backend: String,
    /// Networks to which packets keep their source all the same, as pods of other nodes; of either family.
    pub(super) ip_masq_except: Vec<String>,
    /// MTU of the bridge and of both ends of the veth, in bytes; 0 is the kernel's default.
    pub(super) mtu: u32,
    /// Frames may go back through the port they came by: a container reaches itself by a port that it publishes.
    pub hairpin_mode: bool,
    /// The bridge takes in frames of every address.
    pub promisc_mode: bool,
    /// VLAN of the port, untagged inside the container; 0 for none.
    pub(super) vlan: u32,
    /// VLANs that the container sends and receives with tags.
    pub(super) vlan_trunk: Vec<TrunkKeys>,
    /// The port stays on the bridge's own VLAN as well, which it does unless this is false.
    pub(super) preserve_default_vlan: Option<bool>,
    /// The container may send from its own hardware address only.
    pub macspoofchk: bool,
    /// The container may use only the addresses that it was given, in IP, ARP and neighbour discovery, and from its own
    /// hardware address only; it is no router.
    pub ipspoofchk: bool,
    /// The port exchanges no frames with other isolated ports.
    pub port_isolation: bool,
    /// The container takes addresses and routes from router advertisements, as the kernel does by default. Unless this is
    /// true it takes none where an IPAM plugin other than dhcp gives its addresses.
    #[serde(rename = "acceptRA")]
    pub(super) accept_ra: bool,
    /// ADD waits until the kernel has seen that nobody else has the IPv6 addresses.
    pub enabledad: bool,
    /// The interface in the container stays down, without addresses.
    pub disable_container_interface: bool,
    /// What comes in from outside the bridge: "any", which is the default, or "published" ports and answers alone.
    #[schemars(extend("enum" = ["any", "published"]))]
    pub(super) ingress: String,
    /// Networks of either family that may come in besides published ports and answers, where ingress is "published".
    pub(super) ingress_from: Vec<String>,
    /// Members of the network may talk to each other.
    pub(super) icc: Option<bool>,
    /// Nothing goes in or out of the network; the host and the members reach each other.
    pub(super) internal: bool,
    /// Other packet filters of the host: "host" leaves them as they are, "accept" has them let the network's packets through.
    #[schemars(extend("enum" = ["host", "accept"]))]
    pub(super) forward: String,
    /// Name of an overlay network of several nodes, which gives ranges and MTU: for the agent of overlay networks, which is
    /// not there yet.
    pub(super) overlay: String,
    /// DEL returns when the kernel has freed the links, some 15 ms later, with a bridge 40: no process outlives it.
    pub synchronous_del: bool,
    /// Name servers of the container; any one key set replaces all that IPAM gave.
    pub dns: Dns,
    /// Who gives the addresses; without it there are none.
    pub(super) ipam: IpamKeys,
    pub(super) args: Args,
    pub(super) runtime_config: MacKey,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct IpamKeys {
    /// File name of the IPAM plugin; host-local runs within the bridge plugin itself.
    pub(super) r#type: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Args {
    pub(super) cni: MacKey,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct MacKey {
    /// Hardware address that the container's interface is to have.
    pub(super) mac: String,
}
