//! Rulesets of the encoder, as the real `nft` lists them: text, JSON and byte code are those of the same ruleset loaded by `nft`.

#![allow(missing_docs)]
#![allow(clippy::too_many_lines, reason = "a ruleset reads best in one piece")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use inside::program;
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, Hook, HookPoint, Ifname, Kind, Policy, Selector, Set, Socket,
    Table, Type, Value, Verdict, priority, state, status,
};

/// `nft` lists what `batch` makes as `expected`. Loaded by `nft`, that text gives the same text, JSON and byte code.
fn assert_listed(batch: &mut Batch, expected: &str) {
    let mut socket = Socket::open().unwrap();
    batch.commit(&mut socket).unwrap();
    let ours = listings();
    assert_eq!(ours.0, expected);
    program("nft", &["flush", "ruleset"], "");
    program("nft", &["-f", "-"], expected);
    let theirs = listings();
    assert_eq!(ours.0, theirs.0, "text");
    assert_eq!(ours.1, theirs.1, "json");
    assert_eq!(ours.2, theirs.2, "byte code");
    program("nft", &["flush", "ruleset"], "");
}

fn listings() -> (String, String, Vec<String>) {
    let text = program("nft", &["list", "ruleset"], "");
    let json = program("nft", &["-j", "list", "ruleset"], "");
    let debug = program("nft", &["--debug=netlink", "list", "ruleset"], "");
    let code = debug.lines().filter(|line| line.trim_start().starts_with("[ ")).map(str::to_owned).collect();
    (text, without_handles(&json), code)
}

/// JSON without handles: they count up over the life of a table, and so differ.
fn without_handles(json: &str) -> String {
    json.split("\"handle\": ")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("\"handle\": ")
}

fn v4(text: &str) -> Field {
    Field::Ipv4(text.parse().unwrap())
}

fn v6(text: &str) -> Field {
    Field::Ipv6(text.parse().unwrap())
}

const INET: Table = Table::new(Family::Inet, "cleat");

#[test]
fn the_whole_of_a_published_network() {
    inside::run(|| {
        const PORT4: Set = Set::map(
            INET,
            "port4",
            &[Type::InetProto, Type::InetService],
            &[Type::Ipv4Addr, Type::InetService],
        );
        const HOST4: Set = Set::map(
            INET,
            "host4",
            &[Type::Ipv4Addr, Type::InetProto, Type::InetService],
            &[Type::Ipv4Addr, Type::InetService],
        );
        const PORT6: Set = Set::map(
            INET,
            "port6",
            &[Type::InetProto, Type::InetService],
            &[Type::Ipv6Addr, Type::InetService],
        );
        const MASQ4: Set = Set::vmap(INET, "masq4", &[Type::Ipv4Addr]);
        const HAIR4: Set = Set::vmap(INET, "hair4", &[Type::Ipv4Addr]);
        const HAIR6: Set = Set::vmap(INET, "hair6", &[Type::Ipv6Addr]);
        use Selector::{Iifname, Ip6Daddr, Ip6Saddr, IpDaddr, IpSaddr, L4Proto, ThDport};
        let net_a = Chain::new(INET, "net_a");
        let hair_a = Chain::new(INET, "hair_a");
        let publish = Chain::new(INET, "publish");
        let pre = Chain::base(INET, "pre", Kind::Nat, HookPoint::Prerouting, priority::DSTNAT);
        let locally = Chain::base(INET, "locally", Kind::Nat, HookPoint::Output, -100);
        let post = Chain::base(INET, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT);
        let guard = Chain::base(INET, "guard", Kind::Filter, HookPoint::Prerouting, priority::RAW);
        let dnat = || Expr::any_bit(Selector::CtStatus, status::DNAT);
        let within = |selector, network: &str| Expr::within(selector, network.parse().unwrap());
        let lo = Field::Ifname(Ifname::new("lo").unwrap());

        let mut batch = Batch::new();
        batch.add_table(&INET);
        for set in [&PORT4, &HOST4, &PORT6, &MASQ4, &HAIR4, &HAIR6] {
            batch.add_set(set);
        }
        for chain in [&net_a, &hair_a, &publish, &pre, &locally, &post, &guard] {
            batch.add_chain(chain);
        }
        batch
            .add_rule(&net_a, &[within(IpDaddr, "10.1.0.0/24"), Expr::to_caller()], None)
            .add_rule(&net_a, &[within(IpDaddr, "224.0.0.0/4"), Expr::to_caller()], None)
            .add_rule(&net_a, &[Expr::Masquerade], Some("network a"))
            .add_rule(&hair_a, &[within(IpSaddr, "10.1.0.0/24"), Expr::Masquerade], None)
            .add_rule(&hair_a, &[within(Ip6Saddr, "fd00:1::/64"), Expr::Masquerade], None)
            .add_rule(&publish, &[Expr::dnat_map(&[IpDaddr, L4Proto, ThDport], HOST4)], None)
            .add_rule(&publish, &[Expr::dnat_map(&[L4Proto, ThDport], PORT4)], None)
            .add_rule(&publish, &[Expr::dnat_map(&[L4Proto, ThDport], PORT6)], None)
            .add_rule(&pre, &[Expr::to_local(), Expr::jump("publish")], None)
            .add_rule(&locally, &[Expr::to_local(), Expr::jump("publish")], None)
            .add_rule(&post, &[dnat(), within(IpSaddr, "127.0.0.0/8"), Expr::Masquerade], None)
            .add_rule(&post, &[dnat(), Expr::from_local(), Expr::Masquerade], None)
            .add_rule(&post, &[dnat(), Expr::vmap(&[IpDaddr], HAIR4)], None)
            .add_rule(&post, &[dnat(), Expr::vmap(&[Ip6Daddr], HAIR6)], None)
            .add_rule(&post, &[Expr::vmap(&[IpSaddr], MASQ4)], None)
            .add_rule(&guard, &[Expr::ne(Iifname, lo), within(IpDaddr, "127.0.0.0/8"), Expr::drop()], None);
        let to_web = [v4("10.1.0.11"), Field::Port(80)];
        batch
            .add_element(
                &PORT4,
                &Element::new(&[Field::TCP, Field::Port(8080)]).data(&to_web).comment("web eth0"),
            )
            .add_element(
                &HOST4,
                &Element::new(&[v4("127.0.0.1"), Field::TCP, Field::Port(9090)]).data(&to_web),
            )
            .add_element(
                &PORT6,
                &Element::new(&[Field::UDP, Field::Port(53)]).data(&[v6("fd00:1::11"), Field::Port(5353)]),
            )
            .add_element(
                &MASQ4,
                &Element::new(&[v4("10.1.0.11")]).verdict(Verdict::goto("net_a")).comment("web"),
            )
            .add_element(&HAIR4, &Element::new(&[v4("10.1.0.11")]).verdict(Verdict::goto("hair_a")))
            .add_element(&HAIR6, &Element::new(&[v6("fd00:1::11")]).verdict(Verdict::jump("hair_a")));
        assert_listed(&mut batch, include_str!("published.nft"));
    });
}

#[test]
fn every_match_and_statement() {
    inside::run(|| {
        use Selector::{
            CtDirection, CtState, CtStatus, EtherSaddr, FibSaddrType, Icmpv6Type, Iifname, Ip6Daddr,
            Ip6Saddr, IpDaddr, IpSaddr, L4Proto, Mark, Oifname, ThDport,
        };
        let forward = Chain {
            base: Some(Hook {
                kind: Kind::Filter,
                hook: HookPoint::Forward,
                priority: priority::FILTER,
                policy: Policy::Drop,
            }),
            ..Chain::new(INET, "forward_all")
        };
        let reroute = Chain::base(INET, "reroute", Kind::Route, HookPoint::Output, 5);
        let translate = Chain::base(INET, "translate", Kind::Nat, HookPoint::Input, 5);
        let name = |text: &str| Field::Ifname(Ifname::new(text).unwrap());
        let network = |text: &str| text.parse().unwrap();
        let tcp = || Expr::eq(L4Proto, Field::TCP);
        let matching = |selector, value, negated| Expr::Match { selector, value, negated };

        let mut batch = Batch::new();
        batch.create_table(&INET);
        for chain in [&Chain::new(INET, "last"), &forward, &reroute, &translate] {
            batch.create_chain(chain);
        }
        let mut rule = |exprs: &[Expr]| {
            batch.add_rule(&forward, exprs, None);
        };
        rule(&[Expr::eq(L4Proto, Field::SCTP), Expr::accept()]);
        rule(&[Expr::eq(Mark, Field::Mark(0x2000)), Expr::accept()]);
        rule(&[Expr::any_bit(Mark, 0x2000), Expr::accept()]);
        rule(&[Expr::eq(Iifname, name("eth0")), Expr::ne(Oifname, name("br-0123456789ab")), Expr::accept()]);
        rule(&[Expr::eq(EtherSaddr, Field::Ether([2, 0, 0, 0, 0, 1])), Expr::drop()]);
        rule(&[Expr::ne(EtherSaddr, Field::Ether([2, 0, 0, 0, 0, 1])), Expr::drop()]);
        rule(&[Expr::eq(IpSaddr, v4("10.1.0.11")), Expr::eq(IpDaddr, v4("10.1.0.12")), Expr::accept()]);
        rule(&[Expr::within(IpSaddr, network("10.1.0.4/30")), Expr::accept()]);
        rule(&[Expr::not_within(IpDaddr, network("10.1.0.0/16")), Expr::accept()]);
        rule(&[Expr::eq(Ip6Saddr, v6("fd00:1::11")), Expr::accept()]);
        rule(&[Expr::not_within(Ip6Daddr, network("fe80::/10")), Expr::accept()]);
        rule(&[tcp(), Expr::eq(ThDport, Field::Port(80)), Expr::Counter, Expr::accept()]);
        let udp = || [Expr::eq(L4Proto, Field::UDP), Expr::eq(ThDport, Field::Port(4789))];
        rule(&[&udp()[..], &[Expr::vni(4711), Expr::eq(IpSaddr, v4("10.1.0.11")), Expr::accept()]].concat());
        rule(&[&udp()[..], &[Expr::not_vni(0xff_fffe), Expr::drop()]].concat());
        rule(&[tcp(), Expr::eq(Selector::ThSport, Field::Port(80)), Expr::accept()]);
        rule(&[Expr::any_bit(CtState, state::ESTABLISHED | state::RELATED), Expr::accept()]);
        rule(&[Expr::eq(CtDirection, Field::REPLY), Expr::accept()]);
        rule(&[Expr::eq(Icmpv6Type, Field::NEIGHBOUR_SOLICITATION), Expr::accept()]);
        rule(&[Expr::any_bit(CtState, state::NEW), Expr::to_caller()]);
        rule(&[matching(CtStatus, Value::AnyBit(status::DNAT), true), Expr::drop()]);
        rule(&[Expr::any_bit(CtStatus, status::DNAT), Expr::to_caller()]);
        rule(&[matching(FibSaddrType, Value::Local, true), Expr::drop()]);
        rule(&[Expr::label(93), Expr::SetLabel(94)]);
        rule(&[
            Expr::eq(Ip6Daddr, v6("::1")),
            Expr::SetIp6 { selector: Ip6Saddr, address: "fd00:1::1".parse().unwrap() },
            Expr::SetIp6 { selector: Ip6Daddr, address: "fd00:1::2".parse().unwrap() },
        ]);
        rule(&[
            Expr::eq(IpDaddr, v4("127.0.0.1")),
            Expr::SetIp4 { selector: IpSaddr, address: "10.1.0.1".parse().unwrap() },
            Expr::SetIp4 { selector: IpDaddr, address: "10.1.0.2".parse().unwrap() },
        ]);
        batch.add_rule(&reroute, &[Expr::goto("last")], Some("to the end")).add_rule(
            &translate,
            &[Expr::Counter],
            None,
        );
        assert_listed(&mut batch, include_str!("statements.nft"));
    });
}

#[test]
fn every_type_of_key_and_data() {
    inside::run(|| {
        use Selector::{EtherSaddr, Iifname, Ip6Saddr, IpSaddr, L4Proto, Mark, Oifname, ThDport};
        const LINKS: Set =
            Set::new(INET, "links", &[Type::Ifname, Type::Ipv4Addr, Type::InetProto, Type::InetService]);
        const NAMES: Set = Set::new(INET, "names", &[Type::Ifname]);
        const MACS: Set = Set::new(INET, "macs", &[Type::EtherAddr]);
        const MARKS: Set = Set::vmap(INET, "marks", &[Type::Mark]);
        const PROTOCOLS: Set = Set::vmap(INET, "protocols", &[Type::Mark, Type::InetProto]);
        const LONG: Set = Set::map(
            INET,
            "long",
            &[Type::Ipv6Addr, Type::Ifname, Type::EtherAddr, Type::Mark],
            &[Type::Ipv6Addr],
        );
        const PLAIN4: Set = Set::map(INET, "plain4", &[Type::Ipv4Addr], &[Type::Ipv4Addr]);
        let chain = Chain::new(INET, "look");
        let nat = Chain::base(INET, "nat", Kind::Nat, HookPoint::Prerouting, -100);
        let eth0 = Field::Ifname(Ifname::new("eth0").unwrap());
        let mac = Field::Ether([2, 0, 0, 0, 0, 0x1f]);
        let mut batch = Batch::new();
        batch.add_table(&INET);
        for set in [&LINKS, &NAMES, &MACS, &MARKS, &PROTOCOLS, &LONG, &PLAIN4] {
            batch.create_set(set);
        }
        let long_key = [v6("fd00::1"), eth0, mac, Field::Mark(7)];
        batch
            .add_chain(&chain)
            .add_chain(&nat)
            .add_rule(
                &chain,
                &[Expr::in_set(&[Iifname, IpSaddr, L4Proto, ThDport], LINKS), Expr::accept()],
                None,
            )
            .add_rule(&chain, &[Expr::not_in_set(&[Oifname], NAMES), Expr::drop()], None)
            .add_rule(&chain, &[Expr::in_set(&[EtherSaddr], MACS), Expr::accept()], None)
            .add_rule(&chain, &[Expr::vmap(&[Mark], MARKS)], None)
            .add_rule(&chain, &[Expr::vmap(&[Mark, L4Proto], PROTOCOLS)], None)
            .add_rule(&nat, &[Expr::dnat_map(&[Ip6Saddr, Iifname, EtherSaddr, Mark], LONG)], None)
            .add_rule(&nat, &[Expr::dnat_map(&[IpSaddr], PLAIN4)], None)
            .add_element(&LINKS, &Element::new(&[eth0, v4("10.1.0.11"), Field::TCP, Field::Port(443)]))
            .add_element(&NAMES, &Element::new(&[eth0]).comment("uplink"))
            .add_element(&MACS, &Element::new(&[mac]))
            .add_element(&MARKS, &Element::new(&[Field::Mark(0x2000)]).verdict(Verdict::Accept))
            .add_element(&PROTOCOLS, &Element::new(&[Field::Mark(2), Field::SCTP]).verdict(Verdict::Return))
            .add_element(&LONG, &Element::new(&long_key).data(&[v6("fd00::2")]))
            .add_element(&PLAIN4, &Element::new(&[v4("10.1.0.1")]).data(&[v4("10.1.0.2")]));
        assert_listed(&mut batch, include_str!("types.nft"));
    });
}

#[test]
fn every_verdict_in_a_map() {
    inside::run(|| {
        let map = Set::vmap(INET, "verdicts", &[Type::InetService]);
        let verdicts =
            [Verdict::Accept, Verdict::Drop, Verdict::Return, Verdict::jump("there"), Verdict::goto("there")];
        for verdict in verdicts {
            let mut batch = Batch::new();
            batch.add_table(&INET).add_set(&map).add_chain(&Chain::new(INET, "there"));
            batch.add_element(&map, &Element::new(&[Field::Port(80)]).verdict(verdict.clone()));
            let expected = include_str!("verdicts.nft").replace("VERDICT", &verdict.to_string());
            assert_listed(&mut batch, &expected);
        }
    });
}

#[test]
fn tables_of_one_family_and_of_bridges() {
    inside::run(|| {
        use Selector::{EtherSaddr, EtherType, Iifname, Ip6Saddr, IpDaddr, IpSaddr};
        let mut batch = Batch::new();
        let ip = Chain::base(Table::new(Family::Ip, "four"), "in", Kind::Filter, HookPoint::Input, 0);
        let ip6 = Chain::base(Table::new(Family::Ip6, "six"), "in", Kind::Filter, HookPoint::Input, 0);
        let bridge = Chain::base(
            Table::new(Family::Bridge, "frames"),
            "forth",
            Kind::Filter,
            HookPoint::Forward,
            -200,
        );
        for chain in [&ip, &ip6, &bridge] {
            batch.add_table(&chain.table).add_chain(chain);
        }
        let eth0 = Field::Ifname(Ifname::new("eth0").unwrap());
        let mac = Field::Ether([2, 0, 0, 0, 0, 1]);
        batch
            .add_rule(&ip, &[Expr::eq(IpSaddr, v4("10.1.0.11")), Expr::drop()], None)
            .add_rule(&ip6, &[Expr::eq(Ip6Saddr, v6("fd00::1")), Expr::drop()], None)
            .add_rule(&bridge, &[Expr::eq(Iifname, eth0), Expr::ne(EtherSaddr, mac), Expr::drop()], None)
            .add_rule(&bridge, &[Expr::ne(EtherType, Field::ETHER_ARP), Expr::drop()], None)
            .add_rule(&bridge, &[Expr::eq(IpDaddr, v4("10.1.0.11")), Expr::accept()], None)
            .add_rule(&bridge, &[Expr::eq(Ip6Saddr, v6("fd00::1")), Expr::accept()], None);
        assert_listed(&mut batch, include_str!("families.nft"));
    });
}
