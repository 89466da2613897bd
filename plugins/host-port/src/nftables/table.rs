//! The table: what it consists of, and the names of its parts.
//!
//! ```text
//! table inet cleat_host_port {
//!     map port4 { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 8080 : 10.1.0.11 . 80 } }
//!     map host4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
//!     map port6, host6: the same for IPv6
//!     map hair4 { type ipv4_addr : verdict; elements = { 10.1.0.11 : goto hair_net } }
//!     map hair6: the same for IPv6
//!     set local4 { type inet_proto . inet_service; elements = { tcp . 8080 } }
//!     set at4 { type ipv4_addr . inet_proto . inet_service; elements = { 127.0.0.1 . tcp . 8081 } }
//!     set local6 { type inet_proto . inet_service; elements = { tcp . 8080 } }
//!     map chosen { type inet_proto : inet_service; elements = { tcp : 32769 } }
//!     map spare4 { type ifname . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
//!     map spare6: the same for IPv6
//!     map owners { type ifname : verdict; elements = { "p0123…" comment "127.0.0.1/lo 10.1.0.11 tcp/8080" : goto hair_net } }
//!     chain networks { }
//!     chain local_127.0.0.1 { jump networks }
//!     chain local_lo { jump networks }
//!     chain hair_net { jump local_127.0.0.1; jump local_lo; ip saddr 127.0.0.0/8 masquerade; … }
//!     chain publish { ip6 daddr ::1 return; dnat by host4, port4, host6, port6; ct label set 94 }
//!     chain pre { type nat hook prerouting priority dstnat; fib daddr type local ct label set 93 jump publish }
//!     chain locally { type nat hook output priority dstnat; fib daddr type local ct label set 93 jump publish }
//!     chain post { type nat hook postrouting priority srcnat - 1; the stand-in: masquerade; ct label 94 return;
//!                  ct status dnat ct label 93; ip daddr vmap @hair4; … @hair6 }
//!     chain guard { type filter hook prerouting priority raw; from another interface than lo: drop 127.0.0.0/8, the stand-ins }
//!     chain away { type route hook output priority raw; … @local4, … @at4, … @local6: the stand-ins for 127.0.0.1 and ::1 }
//!     chain back { type filter hook input priority srcnat + 10; 127.0.0.1 and ::1 for the stand-ins }
//! }
//! ```
//!
//! A flow that this table has translated has the label 93 and not 94. One that others have (kube-proxy) came for no address
//! of this host, or for no port of ours, and keeps its source.
//!
//! Versions before this one made no `local4`, and the first no `spare4` and no labels. The first ADD that needs another chain
//! renews such a table; chains of networks stay as they were for the containers that they were made for.
//!
//! The kernel counts references, and refuses to delete a chain that anything leads to. An element of `owners`, a map
//! that no rule looks into, keeps its network's chain; that keeps the chain that stands for what localhost needs; and each of
//! these keeps the empty chain `networks`, and by it the table with its guard.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni::host_ports;
use nftables::{Chain, Family, HookPoint, Kind, Set, Table, Type, priority};

pub(crate) const TABLE: Table = Table::new(Family::Inet, host_ports::TABLE);

const PORT: &[Type] = &[Type::InetProto, Type::InetService];
const TO4: &[Type] = &[Type::Ipv4Addr, Type::InetService];
const TO6: &[Type] = &[Type::Ipv6Addr, Type::InetService];

/// Ports on every IPv4 address of the host.
pub(crate) const PORT4: Set = Set::map(TABLE, "port4", PORT, TO4);
/// Ports on one IPv4 address. They are looked up first.
pub(crate) const HOST4: Set =
    Set::map(TABLE, "host4", &[Type::Ipv4Addr, Type::InetProto, Type::InetService], TO4);
/// Ports on every IPv6 address of the host.
pub(crate) const PORT6: Set = Set::map(TABLE, "port6", PORT, TO6);
/// Ports on one IPv6 address.
pub(crate) const HOST6: Set =
    Set::map(TABLE, "host6", &[Type::Ipv6Addr, Type::InetProto, Type::InetService], TO6);
/// The maps that ports are in.
pub(crate) const PORTS: [&Set; 4] = [&PORT4, &HOST4, &PORT6, &HOST6];
/// From a container's IPv4 address to its network's chain.
pub(crate) const HAIR4: Set = Set::vmap(TABLE, "hair4", &[Type::Ipv4Addr]);
/// From a container's IPv6 address to its network's chain.
pub(crate) const HAIR6: Set = Set::vmap(TABLE, "hair6", &[Type::Ipv6Addr]);
/// Ports on standby, by owner: another of the container's networks publishes them, and this one does when that one is left.
pub(crate) const SPARE4: Set =
    Set::map(TABLE, "spare4", &[Type::Ifname, Type::Ipv4Addr, Type::InetProto, Type::InetService], TO4);
/// The same for IPv6.
pub(crate) const SPARE6: Set =
    Set::map(TABLE, "spare6", &[Type::Ifname, Type::Ipv6Addr, Type::InetProto, Type::InetService], TO6);
/// The maps of ports on standby.
pub(crate) const SPARE: [&Set; 2] = [&SPARE4, &SPARE6];
/// Ports that every address of 127.0.0.0/8 leads to.
pub(crate) const LOCAL4: Set = Set::new(TABLE, "local4", PORT);
/// Ports that one address of it leads to.
pub(crate) const AT4: Set = Set::new(TABLE, "at4", &[Type::Ipv4Addr, Type::InetProto, Type::InetService]);
/// Ports that `[::1]` leads to.
pub(crate) const LOCAL6: Set = Set::new(TABLE, "local6", PORT);
/// The sets of ports that localhost leads to.
pub(crate) const LOCALHOST: [&Set; 3] = [&LOCAL4, &AT4, &LOCAL6];
/// The last free port that was chosen, by protocol.
pub(crate) const CHOSEN: Set = Set::map(TABLE, "chosen", &[Type::InetProto], &[Type::InetService]);
/// What each attachment has, for DEL.
pub(crate) const OWNERS: Set = Set::vmap(TABLE, host_ports::OWNERS, &[Type::Ifname]);

/// Empty: what every network's and interface's chain jumps to.
pub(crate) const NETWORKS: Chain = Chain::new(TABLE, "networks");
pub(super) const PUBLISH: Chain = Chain::new(TABLE, "publish");
pub(super) const PRE: Chain = Chain::base(TABLE, "pre", Kind::Nat, HookPoint::Prerouting, priority::DSTNAT);
pub(super) const LOCALLY: Chain =
    Chain::base(TABLE, "locally", Kind::Nat, HookPoint::Output, priority::DSTNAT);
/// Before all others of that hook: the first chain that chooses a flow's source decides (`nf_nat_inet_fn`), and the
/// choice of a general rule of the host need not be one that the container answers by way of this host.
pub(super) const POST: Chain =
    Chain::base(TABLE, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT - 1);
pub(super) const GUARD: Chain =
    Chain::base(TABLE, "guard", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// For packets of localhost, before connection tracking sees them; a chain of this kind routes them anew.
pub(super) const AWAY: Chain = Chain::base(TABLE, "away", Kind::Route, HookPoint::Output, priority::RAW);
/// For answers to them, after connection tracking, which gives them their source back at the priority of srcnat.
pub(super) const BACK: Chain =
    Chain::base(TABLE, "back", Kind::Filter, HookPoint::Input, priority::SRCNAT + 10);

/// The sets and maps that have elements for each attachment, `owners` excepted.
pub(super) const OF_ATTACHMENTS: [&Set; 11] =
    [&PORT4, &HOST4, &PORT6, &HOST6, &HAIR4, &HAIR6, &SPARE4, &SPARE6, &LOCAL4, &AT4, &LOCAL6];

/// What stands in for `::1`: an address of the range for private use (RFC 4193). Its 16-bit words have the sum of those
/// of `::1`, so no checksum of a packet changes with it (as RFC 6296 does it); kernels get checksums of reassembled
/// packets wrong when an address is rewritten to another sum (`nft_payload_l4csum_update`, seen on 6.18).
pub(crate) const STAND_IN: Ipv6Addr = Ipv6Addr::new(0xfd63, 0x6c65, 0x6174, 0, 0, 0, 0, 0x34c3);
/// The same for `127.0.0.1`, of the range that never leaves a link (RFC 3927).
pub(crate) const STAND_IN4: Ipv4Addr = Ipv4Addr::new(169, 254, 213, 2);
/// What `[::1]` needs.
pub(crate) const LO: &str = "lo";
/// What `127.0.0.1` needs.
pub(crate) const LO4: &str = "127.0.0.1";

/// What a set of ports of localhost needs.
pub(crate) fn localhost_of_set(set: &Set<'_>) -> &'static str {
    if *set == LOCAL6 { LO } else { LO4 }
}
