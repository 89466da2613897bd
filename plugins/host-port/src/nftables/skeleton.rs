//! The rules of the table that do not depend on a network: made, put back, compared.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use nftables::ledger::Skeleton;
use nftables::{Batch, Chain, Expr, Field, Ifname, Selector, Socket, status};

use super::table::{
    AT4, AWAY, BACK, CHOSEN, GUARD, HAIR4, HAIR6, HOST4, HOST6, LOCAL4, LOCAL6, LOCALLY, NETWORKS,
    OF_ATTACHMENTS, OWNERS, PORT4, PORT6, POST, PRE, PUBLISH, STAND_IN, STAND_IN4, TABLE,
};
use crate::error::Error;

/// Names what the kernel lacks for the table where there is none yet: by a transaction that fails at its end at the latest, so
/// that nothing is left of it.
pub(crate) fn try_out(socket: &mut Socket) -> Result<(), Error> {
    let mut batch = Batch::new();
    skeleton()?.make(&mut batch);
    let network = Chain::new(TABLE, "try_out");
    batch.add_chain(&network).add_rule(&network, &[Expr::from_local(), Expr::Masquerade], None);
    match batch.create_table(&TABLE).commit(socket) {
        // The first operation made it, and nothing is left of either.
        Err(error) if error.is_exists() => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Says which chain that does not depend on a network lacks rules, if any does.
pub(crate) fn incomplete_chain(socket: &mut Socket) -> Result<Option<&'static str>, Error> {
    let mut of_before = None;
    for (chain, rules) in skeleton()?.chains {
        let found = socket.rules(&chain)?.len();
        // Versions before this one had fewer: the first in these two, all in the others.
        let fewer: &[usize] = match chain {
            POST => &[1, 2],
            AWAY | GUARD => &[2],
            PUBLISH | BACK => &[1],
            _ => &[],
        };
        if fewer.iter().any(|fewer| found + fewer == rules.len()) {
            of_before = Some(chain.name);
        } else if found != rules.len() {
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

/// All that does not depend on a network.
pub(crate) fn skeleton() -> Result<Skeleton<'static>, Error> {
    let stand_in4 = |selector| Expr::eq(selector, Field::Ipv4(STAND_IN4));
    let by_stand_in4 = |to: &'static [Selector], set| {
        let [from, loopback] = [
            Expr::eq(Selector::IpSaddr, Field::Ipv4(Ipv4Addr::LOCALHOST)),
            Expr::within(Selector::IpDaddr, LOOPBACK),
        ];
        let away = Expr::SetIp4 { selector: Selector::IpSaddr, address: STAND_IN4 };
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
    let publish = vec![
        // What of [::1] no port is published for is the host's own.
        vec![localhost6(Selector::Ip6Daddr), Expr::to_caller()],
        vec![Expr::dnat_map(BY_ADDRESS4, HOST4)],
        vec![Expr::dnat_map(BY_PORT, PORT4)],
        vec![Expr::dnat_map(&[Selector::Ip6Daddr, Selector::L4Proto, Selector::ThDport], HOST6)],
        vec![Expr::dnat_map(BY_PORT, PORT6)],
        vec![Expr::SetLabel(NO_PORT)],
    ];
    // Packets that are only forwarded are none of this plugin's business.
    let for_host = || vec![vec![Expr::to_local(), Expr::SetLabel(FOR_HOST), Expr::jump(PUBLISH.name)]];
    let post = vec![
        // What stands in for localhost leaves no host.
        vec![outwards()?, stand_in4(Selector::IpSaddr), Expr::Masquerade],
        // What others have translated is theirs to masquerade.
        vec![Expr::label(NO_PORT), Expr::to_caller()],
        by_address(&[Selector::IpDaddr], HAIR4),
        by_address(&[Selector::Ip6Daddr], HAIR6),
    ];
    // Neighbours must not reach what listens on, or is published on, the host's own addresses.
    let guard = vec![
        vec![outside()?, Expr::within(Selector::IpDaddr, LOOPBACK), Expr::drop()],
        vec![outside()?, Expr::within(Selector::IpSaddr, LOOPBACK), Expr::drop()],
        vec![outside()?, stand_in4(Selector::IpDaddr), Expr::drop()],
        vec![outside()?, stand_in(Selector::Ip6Daddr), Expr::drop()],
    ];
    let [from, to] = [Selector::Ip6Saddr, Selector::Ip6Daddr].map(localhost6);
    let away = vec![
        by_stand_in4(BY_PORT, LOCAL4),
        by_stand_in4(BY_ADDRESS4, AT4),
        vec![from, to, Expr::in_set(BY_PORT, LOCAL6), away_from, away_to],
    ];
    let to_localhost = Expr::SetIp4 { selector: Selector::IpDaddr, address: Ipv4Addr::LOCALHOST };
    let back = vec![
        vec![Expr::within(Selector::IpSaddr, LOOPBACK), stand_in4(Selector::IpDaddr), to_localhost],
        vec![stand_in(Selector::Ip6Saddr), stand_in(Selector::Ip6Daddr), back_from, back_to],
    ];
    Ok(Skeleton {
        table: TABLE,
        sets: OF_ATTACHMENTS.into_iter().chain([&CHOSEN, &OWNERS]).copied().collect(),
        chains: vec![
            (NETWORKS, Vec::new()),
            (PUBLISH, publish),
            (PRE, for_host()),
            (LOCALLY, for_host()),
            (POST, post),
            (GUARD, guard),
            (AWAY, away),
            (BACK, back),
        ],
    })
}

/// The label of flows that came for an address of this host. Labels are bits that leave marks to their users; it costs a flow
/// some bytes that any has (`nf_conn_labels`).
const FOR_HOST: u8 = 93;
/// The label of those that came for no port of this table.
const NO_PORT: u8 = 94;

const BY_ADDRESS4: &[Selector] = &[Selector::IpDaddr, Selector::L4Proto, Selector::ThDport];
const BY_PORT: &[Selector] = &[Selector::L4Proto, Selector::ThDport];

/// 127.0.0.0/8 (RFC 1122, 3.2.1.3).
pub(crate) const LOOPBACK: IpNetwork = match Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(network) => IpNetwork::V4(network),
    None => unreachable!(),
};
