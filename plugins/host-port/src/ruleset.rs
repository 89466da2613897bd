//! The table: what it consists of, and how its fixed parts and a network's chain are made and removed.
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
//! that no rule looks into, keeps its network's chain; that keeps the chain that stands for what localhost needs; and each of these keeps the empty chain `networks`, and by it the table with its guard.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nftables::{
    Batch, Chain, Expr, Family, Field, HookPoint, Ifname, Kind, Selector, Set, Socket, Table, Type, priority,
    status,
};

use crate::error::Error;
use crate::localhost::{self, STAND_IN};
use crate::names;

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
/// Ports that a container has by another of its networks, by owner: it has them by this one when that one is left.
pub(crate) const SPARE4: Set =
    Set::map(TABLE, "spare4", &[Type::Ifname, Type::Ipv4Addr, Type::InetProto, Type::InetService], TO4);
/// The same for IPv6.
pub(crate) const SPARE6: Set =
    Set::map(TABLE, "spare6", &[Type::Ifname, Type::Ipv6Addr, Type::InetProto, Type::InetService], TO6);
/// Ports that every address of 127.0.0.0/8 leads to.
pub(crate) const LOCAL4: Set = Set::new(TABLE, "local4", PORT);
/// Ports that one address of it leads to.
pub(crate) const AT4: Set = Set::new(TABLE, "at4", &[Type::Ipv4Addr, Type::InetProto, Type::InetService]);
/// Ports that `[::1]` leads to.
pub(crate) const LOCAL6: Set = Set::new(TABLE, "local6", PORT);
/// The sets of ports that localhost leads to.
pub(crate) const LOCALHOST: [&Set<'static>; 3] = [&LOCAL4, &AT4, &LOCAL6];
/// The last free port that was chosen, by protocol.
pub(crate) const CHOSEN: Set = Set::map(TABLE, "chosen", &[Type::InetProto], &[Type::InetService]);
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

/// For packets of localhost, before connection tracking sees them; a chain of this kind routes them anew.
const AWAY: Chain = Chain::base(TABLE, "away", Kind::Route, HookPoint::Output, priority::RAW);
/// For answers to them, behind connection tracking, which gives them their source back at the priority of srcnat.
const BACK: Chain = Chain::base(TABLE, "back", Kind::Filter, HookPoint::Input, priority::SRCNAT + 10);

/// The sets and maps.
const SETS: [&Set<'static>; 13] = [
    &PORT4, &HOST4, &PORT6, &HOST6, &HAIR4, &HAIR6, &SPARE4, &SPARE6, &LOCAL4, &AT4, &LOCAL6, &CHOSEN,
    &OWNERS,
];
/// The chains that do not depend on a network.
const CHAINS: [&Chain<'static>; 8] = [&NETWORKS, &PUBLISH, &PRE, &LOCALLY, &POST, &GUARD, &AWAY, &BACK];

/// Adds everything that does not depend on a network. Fails where the table exists.
pub(crate) fn create_table(batch: &mut Batch) -> Result<(), Error> {
    batch.create_table(&TABLE);
    fill_table(batch)
}

/// Puts back what of it is missing, in a table that is there.
pub(crate) fn restore_table(batch: &mut Batch) -> Result<(), Error> {
    for chain in CHAINS {
        // Adding leaves a chain that is there as it is; flushing fails where it is not.
        batch.add_chain(chain).flush_chain(chain);
    }
    fill_table(batch)
}

/// Says what the kernel lacks for the table, where it is not there to show for itself: by a transaction that must fail
/// at its end, and only there.
pub(crate) fn try_out(socket: &mut Socket) -> Result<(), Error> {
    let mut batch = Batch::new();
    create_table(&mut batch)?;
    let network = Chain::new(TABLE, "try_out");
    batch.add_chain(&network).add_rule(&network, &[Expr::from_local(), Expr::Masquerade], None);
    match batch.create_table(&TABLE).commit(socket) {
        // Of that name there is one by then, and nothing is left of either.
        Err(error) if error.is_exists() => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn fill_table(batch: &mut Batch) -> Result<(), Error> {
    for set in SETS {
        batch.add_set(set);
    }
    for chain in CHAINS {
        batch.add_chain(chain);
    }
    for (chain, exprs) in rules()? {
        batch.add_rule(&chain, &exprs, None);
    }
    Ok(())
}

/// Says which chain that does not depend on a network lacks rules, if any does.
pub(crate) fn incomplete_chain(socket: &mut Socket) -> Result<Option<&'static str>, Error> {
    let rules = rules()?;
    let mut of_before = None;
    for chain in CHAINS {
        let expected = rules.iter().filter(|(of, _)| of == chain).count();
        let found = socket.rules(chain)?.len();
        if found == expected {
            continue;
        }
        // Versions before this one had fewer: the first in these two, all in the others.
        let fewer: &[usize] = match chain {
            chain if *chain == PUBLISH => &[1],
            chain if *chain == POST => &[1, 2],
            chain if *chain == AWAY => &[2],
            chain if *chain == BACK => &[1],
            chain if *chain == GUARD => &[2],
            _ => &[],
        };
        if fewer.iter().any(|fewer| found + fewer == expected) {
            of_before = Some(chain.name);
        } else {
            return Ok(Some(chain.name));
        }
    }
    match of_before {
        Some(chain) if is_of_this_version(socket)? => Ok(Some(chain)),
        _ => Ok(None),
    }
}

/// Whether a table that is there was made, or renewed, by this version.
pub(crate) fn is_of_this_version(socket: &mut Socket) -> Result<bool, Error> {
    Ok(socket.has_set(&LOCAL4)?)
}

/// The rules that do not depend on a network.
fn rules() -> Result<Vec<(Chain<'static>, Vec<Expr<'static>>)>, Error> {
    let stand_in4 = |selector| Expr::eq(selector, Field::Ipv4(localhost::STAND_IN4));
    let by_stand_in4 = |to: &'static [Selector], set| {
        let [from, loopback] = [
            Expr::eq(Selector::IpSaddr, Field::Ipv4(Ipv4Addr::LOCALHOST)),
            Expr::within(Selector::IpDaddr, localhost::LOOPBACK),
        ];
        let away = Expr::SetIp4 { selector: Selector::IpSaddr, address: localhost::STAND_IN4 };
        vec![from, loopback, Expr::in_set(to, set), away]
    };
    let localhost6 = |selector| Expr::eq(selector, Field::Ipv6(Ipv6Addr::LOCALHOST));
    let stand_in = |selector| Expr::eq(selector, Field::Ipv6(STAND_IN));
    let set_both =
        |address| [Selector::Ip6Saddr, Selector::Ip6Daddr].map(|selector| Expr::SetIp6 { selector, address });
    let outside = || Ifname::new("lo").map(|lo| Expr::ne(Selector::Iifname, Field::Ifname(lo)));
    let outwards = || Ifname::new("lo").map(|lo| Expr::ne(Selector::Oifname, Field::Ifname(lo)));
    let translated = || [Expr::any_bit(Selector::CtStatus, status::DNAT), Expr::label(FOR_HOST)];
    let by_address = |selector: &'static [Selector], map| {
        translated().into_iter().chain([Expr::vmap(selector, map)]).collect::<Vec<_>>()
    };
    let [away_from, away_to] = set_both(STAND_IN);
    let [back_from, back_to] = set_both(Ipv6Addr::LOCALHOST);
    Ok(vec![
        // What of [::1] no port is published for is the host's own.
        (PUBLISH, vec![localhost6(Selector::Ip6Daddr), Expr::to_caller()]),
        (PUBLISH, vec![Expr::dnat_map(&[Selector::IpDaddr, Selector::L4Proto, Selector::ThDport], HOST4)]),
        (PUBLISH, vec![Expr::dnat_map(BY_PORT, PORT4)]),
        (PUBLISH, vec![Expr::dnat_map(&[Selector::Ip6Daddr, Selector::L4Proto, Selector::ThDport], HOST6)]),
        (PUBLISH, vec![Expr::dnat_map(BY_PORT, PORT6)]),
        (PUBLISH, vec![Expr::SetLabel(NO_PORT)]),
        // Packets that are only forwarded are none of this plugin's business.
        (PRE, vec![Expr::to_local(), Expr::SetLabel(FOR_HOST), Expr::jump(PUBLISH.name)]),
        (LOCALLY, vec![Expr::to_local(), Expr::SetLabel(FOR_HOST), Expr::jump(PUBLISH.name)]),
        // What stands in for localhost leaves no host.
        (POST, vec![outwards()?, stand_in4(Selector::IpSaddr), Expr::Masquerade]),
        // What others have translated is theirs to masquerade.
        (POST, vec![Expr::label(NO_PORT), Expr::to_caller()]),
        (POST, by_address(&[Selector::IpDaddr], HAIR4)),
        (POST, by_address(&[Selector::Ip6Daddr], HAIR6)),
        // Neighbours must not reach what listens on, or is published on, the host's own addresses.
        (GUARD, vec![outside()?, Expr::within(Selector::IpDaddr, localhost::LOOPBACK), Expr::drop()]),
        (GUARD, vec![outside()?, Expr::within(Selector::IpSaddr, localhost::LOOPBACK), Expr::drop()]),
        (GUARD, vec![outside()?, stand_in4(Selector::IpDaddr), Expr::drop()]),
        (GUARD, vec![outside()?, stand_in(Selector::Ip6Daddr), Expr::drop()]),
        (AWAY, by_stand_in4(BY_PORT, LOCAL4)),
        (AWAY, by_stand_in4(&[Selector::IpDaddr, Selector::L4Proto, Selector::ThDport], AT4)),
        (
            AWAY,
            vec![
                localhost6(Selector::Ip6Saddr),
                localhost6(Selector::Ip6Daddr),
                Expr::in_set(BY_PORT, LOCAL6),
                away_from,
                away_to,
            ],
        ),
        (
            BACK,
            vec![
                Expr::within(Selector::IpSaddr, localhost::LOOPBACK),
                stand_in4(Selector::IpDaddr),
                Expr::SetIp4 { selector: Selector::IpDaddr, address: Ipv4Addr::LOCALHOST },
            ],
        ),
        (BACK, vec![stand_in(Selector::Ip6Saddr), stand_in(Selector::Ip6Daddr), back_from, back_to]),
    ])
}

/// The label of flows that came for an address of this host. Labels are bits that leave marks to their users; it costs a flow
/// some bytes that any has (`nf_conn_labels`).
const FOR_HOST: u8 = 93;
/// The label of those that came for no port of this table.
const NO_PORT: u8 = 94;

const BY_PORT: &[Selector] = &[Selector::L4Proto, Selector::ThDport];

/// The chain of a network, for containers of the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkChain {
    pub name: String,
    /// The container's subnets: from there, ports are reached by way of the host's address.
    pub subnets: Vec<IpNetwork>,
    /// Everybody is masqueraded.
    pub masq_all: bool,
    /// By what localhost leads to the container, as far as this plugin has that in hand.
    pub locals: Vec<String>,
    /// The chain is one of the first version, which masqueraded whatever the host itself sends.
    pub is_old: bool,
}

impl NetworkChain {
    /// Adds the chain, and those of its interfaces where there are none. Fails where any of them exists by now.
    pub(crate) fn create(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        let chain = Chain::new(TABLE, &self.name);
        batch.create_chain(&chain);
        self.create_locals(batch, socket)?;
        self.fill(batch);
        Ok(())
    }

    /// Puts back the rules of a chain that is there, and of its interfaces' chains.
    pub(crate) fn restore(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        for interface in &self.locals {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            if socket.has_chain(&local)? {
                batch.flush_chain(&local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
        }
        self.create_locals(batch, socket)?;
        batch.flush_chain(&Chain::new(TABLE, &self.name));
        self.fill(batch);
        Ok(())
    }

    /// Whether its rules are there.
    pub(crate) fn is_complete(&self, socket: &mut Socket) -> Result<bool, Error> {
        Ok(socket.rules(&Chain::new(TABLE, &self.name))?.len() == self.rules().len())
    }

    fn create_locals(&self, batch: &mut Batch, socket: &mut Socket) -> Result<(), Error> {
        for interface in &self.locals {
            let name = names::local_chain(interface);
            let local = Chain::new(TABLE, &name);
            if !socket.has_chain(&local)? {
                batch.create_chain(&local).add_rule(&local, &[Expr::jump(NETWORKS.name)], None);
            }
        }
        Ok(())
    }

    fn fill(&self, batch: &mut Batch) {
        let chain = Chain::new(TABLE, &self.name);
        for exprs in self.rules() {
            batch.add_rule(&chain, &exprs, None);
        }
    }

    fn rules(&self) -> Vec<Vec<Expr<'static>>> {
        let mut rules: Vec<Vec<Expr>> =
            self.locals.iter().map(|interface| vec![Expr::jump(names::local_chain(interface))]).collect();
        if rules.is_empty() {
            rules.push(vec![Expr::jump(NETWORKS.name)]);
        }
        if self.masq_all {
            rules.push(vec![Expr::Masquerade]);
            return rules;
        }
        if self.is_old {
            rules.push(vec![Expr::from_local(), Expr::Masquerade]);
        }
        for &subnet in &self.subnets {
            let saddr = if subnet.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
            if !self.is_old {
                // Nobody answers localhost by way of another link. The host's own addresses anybody can answer.
                let localhost = match subnet {
                    IpNetwork::V4(_) => Expr::within(saddr, localhost::LOOPBACK),
                    IpNetwork::V6(_) => Expr::eq(saddr, Field::Ipv6(STAND_IN)),
                };
                rules.push(vec![localhost, Expr::Masquerade]);
            }
            rules.push(vec![Expr::within(saddr, subnet), Expr::Masquerade]);
        }
        rules
    }
}

/// Removes a network's chain, its interfaces', and the table, as far as no owner needs them any more.
pub(crate) fn release(socket: &mut Socket, chain: &str, locals: &[String]) -> Result<(), Error> {
    if socket.del_unused_chain(&Chain::new(TABLE, chain))? {
        for interface in locals {
            localhost::release(socket, interface)?;
        }
        del_unused_table(socket)?;
    }
    Ok(())
}

/// Removes the table unless a network or an interface needs it.
pub(crate) fn del_unused_table(socket: &mut Socket) -> Result<(), Error> {
    // Somebody may have flushed all rules (`nft flush table`), by which chains keep each other. Owners remain.
    if !socket.is_referenced(&NETWORKS)? && socket.elements(&OWNERS)?.is_empty() {
        socket.del_unused_table(&NETWORKS)?;
    }
    Ok(())
}
