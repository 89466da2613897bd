//! The keys of the configuration, from which the schema is made too.

use cni::Dns;
use interface::{Args, IpamKeys, MacKey};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::parts::vlan::TrunkKeys;

/// Name of the bridge unless `bridge` is set; the reference's.
pub(super) const DEFAULT_BRIDGE: &str = "cni0";

/// The keys as they are written; the meaning and default of each is the reference plugin's. Those that need no reading are
/// used as they are, the others by what [`super::Conf`] makes of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration by its own name")]
pub(crate) struct Keys {
    /// Name of the bridge, at most 15 bytes. ADD makes it where it is not there, and it then goes with its last port.
    #[schemars(extend("default" = DEFAULT_BRIDGE))]
    pub(super) bridge: String,
    /// The bridge gets the gateway's address of each subnet, and the host forwards.
    pub(super) is_gateway: bool,
    /// As isGateway, and the container gets a default route to the gateway of each family, where `routes` has none.
    pub is_default_gateway: bool,
    /// An address of the bridge that conflicts with the gateway's is replaced. Otherwise ADD fails.
    pub force_address: bool,
    /// What leaves the network takes the host's address (masquerading).
    pub ip_masq: bool,
    /// What masquerades: a table of cleat's own in nftables, or the reference's chains (`CNI-…`) of iptables.
    #[schemars(extend(
        "enum" = ["nftables", "iptables"],
        "x-default" = "nftables where the kernel has it, else iptables",
    ))]
    pub(super) ip_masq_backend: String,
    /// Networks of either family, such as `10.244.0.0/16`, to which packets keep the container's address in spite of ipMasq,
    /// as pods of other nodes. The network's own subnets need no entry.
    #[schemars(extend("x-reference" = false))]
    pub(super) ip_masq_except: Vec<String>,
    /// MTU of the bridge and of both ends of the veth pair, in bytes: 68 to 65535. A changed one is for new containers.
    #[schemars(extend("x-default" = "the kernel's, 1500"))]
    pub(super) mtu: u32,
    /// Frames may go back through the port they came by: a container reaches itself by a port that it publishes. Not
    /// together with promiscMode.
    pub hairpin_mode: bool,
    /// The bridge takes in frames of every address.
    pub promisc_mode: bool,
    /// VLAN of the port, 1 to 4094, without tags inside the container. The bridge filters VLANs from then on.
    pub(super) vlan: u32,
    /// VLANs that the container sends and receives with tags. Each entry is a single one, a run, or both.
    pub(super) vlan_trunk: Vec<TrunkKeys>,
    /// The port stays on the bridge's own VLAN, 1, as well: set it to false to keep VLANs apart.
    #[schemars(extend("default" = true))]
    pub(super) preserve_default_vlan: Option<bool>,
    /// The container may send from its own hardware address only.
    pub macspoofchk: bool,
    /// The container may use only the addresses that it was given, in IP, ARP and neighbour discovery, and from its own
    /// hardware address only; it is no router. It needs an `ipam`.
    #[schemars(extend("x-reference" = false))]
    pub ipspoofchk: bool,
    /// The port exchanges no frames with other isolated ports of the bridge.
    pub port_isolation: bool,
    /// The container takes addresses and routes from router advertisements, as the kernel does by default. Unless this is
    /// true it takes none where an IPAM plugin other than dhcp gives its addresses.
    #[serde(rename = "acceptRA")]
    #[schemars(extend("x-reference" = false))]
    pub(super) accept_ra: bool,
    /// ADD waits until the kernel has seen that nobody else has the IPv6 addresses, which takes a second or two.
    pub enabledad: bool,
    /// The interface in the container stays down, without addresses: not together with `ipam`.
    pub disable_container_interface: bool,
    /// What comes in from outside the bridge: `any`, or `published` ports and answers alone.
    #[schemars(extend(
        "enum" = ["any", "published"],
        "x-reference" = false,
        "x-default" = "`any`; `published` where forward is `accept`",
    ))]
    pub(super) ingress: String,
    /// Networks of either family, such as `10.244.0.0/16`, that come in besides published ports and answers, where ingress is
    /// `published`.
    #[schemars(extend("x-reference" = false))]
    pub(super) ingress_from: Vec<String>,
    /// Members of the network may talk to each other. If false, only by links and published ports: it holds for the whole
    /// bridge, and takes `br_netfilter`.
    #[schemars(extend("default" = true, "x-reference" = false))]
    pub(super) icc: Option<bool>,
    /// Nothing goes in or out of the network, published or not. The host and the members reach each other.
    #[schemars(extend("x-reference" = false))]
    pub(super) internal: bool,
    /// Other packet filters of the host that drop what is forwarded, as Docker's and ufw's: `host` leaves them as they are,
    /// `accept` has them let the network's packets through.
    #[schemars(extend("enum" = ["host", "accept"], "default" = "host", "x-reference" = false))]
    pub(super) forward: String,
    /// Name of an overlay network of several nodes, which gives ranges and MTU: for the agent of overlay networks, which is
    /// not there yet.
    #[schemars(extend("x-reference" = false, "x-since" = "0.3.0"))]
    pub(super) overlay: String,
    /// DEL returns when the kernel has freed the links, some 15 ms later, with a bridge 40: no process outlives it.
    #[schemars(extend("x-reference" = false))]
    pub synchronous_del: bool,
    /// Name servers in the result, for the runtime to write into the container's resolv.conf. Any one key set replaces all
    /// that IPAM gave.
    pub dns: Dns,
    /// Who gives the addresses, with its own keys: `host-local` runs within the bridge plugin, any other type is executed.
    #[schemars(extend("x-default" = "none: a port without addresses"))]
    pub(super) ipam: IpamKeys,
    pub(super) args: Args,
    pub(super) runtime_config: MacKey,
}
