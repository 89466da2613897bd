//! The table: what it consists of, and how its fixed parts and a network's chain are made and removed.
//!
//! ```text
//! table inet cleat_host_port {
//!     map port4 { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { tcp . 8080 : 10.1.0.11 . 80 } }
//!     map host4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
//!     map port6, host6: the same for IPv6
//!     map hair4 { type ipv4_addr : verdict; elements = { 10.1.0.11 : goto hair_net } }
//!     map hair6: the same for IPv6
//!     map owners { type ifname : verdict; elements = { "p0123…" comment "cni0 10.1.0.11 tcp/8080" : goto hair_net } }
//!     chain networks { }
//!     chain local_cni0 { jump networks }
//!     chain hair_net { jump local_cni0; fib saddr type local masquerade; ip saddr 10.1.0.0/24 masquerade }
//!     chain publish { ip6 daddr ::1 return; dnat by host4, port4, host6, port6 }
//!     chain pre { type nat hook prerouting priority dstnat; fib daddr type local jump publish }
//!     chain locally { type nat hook output priority dstnat; fib daddr type local jump publish }
//!     chain post { type nat hook postrouting priority srcnat - 1; ct status dnat; ip daddr vmap @hair4; … @hair6 }
//!     chain guard { type filter hook prerouting priority raw; iifname != "lo" ip daddr 127.0.0.0/8 drop }
//! }
//! ```
//!
//! The kernel counts references, and refuses to delete a chain that anything leads to. An element of `owners`, a map
//! that no rule looks into, keeps its network's chain; that keeps the chain of the interface whose `route_localnet` is
//! on; and each of these keeps the empty chain `networks`, and by it the table with its guard.

use std::net::Ipv6Addr;

use ipnetwork::IpNetwork;
use nftables::{
    Batch, Chain, Expr, Family, Field, HookPoint, Ifname, Kind, Selector, Set, Socket, Table, Type, priority,
    status,
};

use crate::error::Error;
use crate::{localhost, names};

pub(crate) const TABLE: Table = Table::new(Family::Inet, "cleat_host_port");

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
pub(crate) const PORTS: [&Set<'static>; 4] = [&PORT4, &HOST4, &PORT6, &HOST6];
/// From a container's IPv4 address to its network's chain.
pub(crate) const HAIR4: Set = Set::vmap(TABLE, "hair4", &[Type::Ipv4Addr]);
/// From a container's IPv6 address to its network's chain.
pub(crate) const HAIR6: Set = Set::vmap(TABLE, "hair6", &[Type::Ipv6Addr]);
/// What each attachment has, for DEL.
pub(crate) const OWNERS: Set = Set::vmap(TABLE, "owners", &[Type::Ifname]);

/// Empty: what every network's and interface's chain jumps to.
pub(crate) const NETWORKS: Chain = Chain::new(TABLE, "networks");
const PUBLISH: Chain = Chain::new(TABLE, "publish");
const PRE: Chain = Chain::base(TABLE, "pre", Kind::Nat, HookPoint::Prerouting, priority::DSTNAT);
const LOCALLY: Chain = Chain::base(TABLE, "locally", Kind::Nat, HookPoint::Output, priority::DSTNAT);
/// Before all others of that hook: the first chain that chooses a flow's source decides (`nf_nat_inet_fn`), and the
/// choice of a general rule of the host need not be one that the container answers by way of this host.
const POST: Chain = Chain::base(TABLE, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT - 1);
const GUARD: Chain = Chain::base(TABLE, "guard", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// Adds everything that does not depend on a network. Fails where the table exists.
pub(crate) fn create_table(batch: &mut Batch) -> Result<(), Error> {
    batch.create_table(&TABLE);
    for set in PORTS.into_iter().chain([&HAIR4, &HAIR6, &OWNERS]) {
        batch.add_set(set);
    }
    for chain in [&NETWORKS, &PUBLISH, &PRE, &LOCALLY, &POST, &GUARD] {
        batch.add_chain(chain);
    }
    publish(batch);
    // Packets that are only forwarded are none of this plugin's business.
    for chain in [&PRE, &LOCALLY] {
        batch.add_rule(chain, &[Expr::to_local(), Expr::jump(PUBLISH.name)], None);
    }
    let translated = || Expr::any_bit(Selector::CtStatus, status::DNAT);
    for (selector, map) in [(Selector::IpDaddr, HAIR4), (Selector::Ip6Daddr, HAIR6)] {
        batch.add_rule(&POST, &[translated(), Expr::vmap(&[selector], map)], None);
    }
    // What route_localnet would let in: neighbours could reach whatever listens on, or is published on, 127.0.0.1.
    let outside = Expr::ne(Selector::Iifname, Field::Ifname(Ifname::new("lo")?));
    let loopback = Expr::within(Selector::IpDaddr, localhost::LOOPBACK);
    batch.add_rule(&GUARD, &[outside, loopback, Expr::drop()], None);
    Ok(())
}

fn publish(batch: &mut Batch) {
    // The kernel lets nothing from ::1 leave the host (ipv6_rcv, addrconf): whoever tries "localhost" by IPv6 first is
    // better refused at once by the host's own stack, and goes on to 127.0.0.1.
    let from_localhost = Expr::eq(Selector::Ip6Daddr, Field::Ipv6(Ipv6Addr::LOCALHOST));
    batch.add_rule(&PUBLISH, &[from_localhost, Expr::to_caller()], None);
    let by_port = [Selector::L4Proto, Selector::ThDport];
    for (daddr, host, port) in [(Selector::IpDaddr, HOST4, PORT4), (Selector::Ip6Daddr, HOST6, PORT6)] {
        let by_host = [daddr, Selector::L4Proto, Selector::ThDport];
        batch.add_rule(&PUBLISH, &[Expr::dnat_map(&by_host, host)], None);
        batch.add_rule(&PUBLISH, &[Expr::dnat_map(&by_port, port)], None);
    }
}

/// The chain of a network, for containers of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkChain {
    pub name: String,
    /// The container's subnets: from there, ports are reached by way of the host's address.
    pub subnets: Vec<IpNetwork>,
    /// Everybody is masqueraded.
    pub masq_all: bool,
    /// The interface whose `route_localnet` this plugin has in hand.
    pub local: Option<String>,
}

impl NetworkChain {
    /// Adds the chain, and that of its interface where there is none. Fails where either exists.
    pub(crate) fn create(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        let chain = Chain::new(TABLE, &self.name);
        batch.create_chain(&chain);
        if let Some(interface) = &self.local {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            if !socket.has_chain(&local)? {
                batch.create_chain(&local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
            batch.add_rule(&chain, &[Expr::jump(name)], None);
        } else {
            batch.add_rule(&chain, &[Expr::jump(NETWORKS.name)], None);
        }
        if self.masq_all {
            batch.add_rule(&chain, &[Expr::Masquerade], None);
            return Ok(());
        }
        batch.add_rule(&chain, &[Expr::from_local(), Expr::Masquerade], None);
        for &subnet in &self.subnets {
            let saddr = if subnet.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
            batch.add_rule(&chain, &[Expr::within(saddr, subnet), Expr::Masquerade], None);
        }
        Ok(())
    }
}

/// Removes a network's chain, its interface's, and the table, as far as no owner needs them any more.
pub(crate) fn release(socket: &mut Socket, chain: &str, local: Option<&str>) -> Result<(), Error> {
    if socket.del_unused_chain(&Chain::new(TABLE, chain))? {
        if let Some(interface) = local {
            localhost::release(socket, interface)?;
        }
        socket.del_unused_table(&NETWORKS)?;
    }
    Ok(())
}
