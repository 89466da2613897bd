//! How the kernel carries out a batch: all of it or nothing, and the error names the operation that failed.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use std::collections::BTreeSet;

use nftables::{
    Batch, Chain, Data, Element, Error, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table,
    Type, Verdict, key,
};

const TABLE: Table = Table::new(Family::Inet, "cleat");
const OTHER: Table = Table::new(Family::Inet, "other");
const PORTS: Set =
    Set::map(TABLE, "port4", &[Type::InetProto, Type::InetService], &[Type::Ipv4Addr, Type::InetService]);
const NETS: Set = Set::vmap(TABLE, "masq4", &[Type::Ipv4Addr]);
const NET_A: Chain = Chain::new(TABLE, "net_a");

/// A socket on a namespace with the table, its maps and one chain.
fn prepared() -> Socket {
    let mut socket = Socket::open().unwrap();
    let mut batch = Batch::new();
    batch.add_table(&TABLE).add_set(&PORTS).add_set(&NETS).add_chain(&NET_A);
    batch.commit(&mut socket).unwrap();
    socket
}

fn port(number: u16) -> [Field; 2] {
    [Field::TCP, Field::Port(number)]
}

fn web(number: u16) -> Element {
    Element::new(&port(number))
        .data(&[Field::Ipv4([10, 1, 0, 11].into()), Field::Port(80)])
        .comment("web eth0")
}

fn member() -> [Field; 1] {
    [Field::Ipv4([10, 1, 0, 11].into())]
}

#[test]
fn a_failing_operation_undoes_all_and_is_named() {
    inside::run(|| {
        let mut socket = prepared();
        let mut batch = Batch::new();
        batch
            .add_element(&PORTS, &web(8080))
            .add_rule(&NET_A, &[Expr::Masquerade, Expr::jump("nowhere")], None)
            .add_element(&PORTS, &web(8081));
        let error = batch.commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "add rule to chain inet cleat net_a: no such file or directory");
        assert!(error.is_not_found());
        assert_eq!(error.index(), Some(1));
        assert!(socket.elements(&PORTS).unwrap().is_empty());
        // Answers left over from the failure are not taken for those of the next transaction.
        Batch::new().add_element(&PORTS, &web(8080)).commit(&mut socket).unwrap();
        assert_eq!(socket.elements(&PORTS).unwrap(), [web(8080)]);
    });
}

#[test]
fn a_taken_key_fails_where_it_is_to_be_created() {
    inside::run(|| {
        let mut socket = prepared();
        Batch::new().create_element(&PORTS, &web(8080)).commit(&mut socket).unwrap();
        let mut again = Batch::new();
        let error = again.create_element(&PORTS, &web(443)).create_element(&PORTS, &web(8080));
        let error = error.commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "create element tcp . 8080 to inet cleat port4: file exists");
        assert!(error.is_exists());
        assert_eq!(error.index(), Some(1));
        // To add an element that exists, rather than to create it, succeeds with the same data and fails with other data.
        Batch::new().add_element(&PORTS, &web(8080).comment("other")).commit(&mut socket).unwrap();
        assert_eq!(socket.elements(&PORTS).unwrap(), [web(8080)]);
        let elsewhere =
            Element::new(&port(8080)).data(&[Field::Ipv4([10, 1, 0, 12].into()), Field::Port(80)]);
        assert!(Batch::new().add_element(&PORTS, &elsewhere).commit(&mut socket).unwrap_err().is_exists());
        assert!(Batch::new().create_element(&PORTS, &elsewhere).commit(&mut socket).unwrap_err().is_exists());
    });
}

#[test]
fn tables_chains_and_sets_are_created_once() {
    inside::run(|| {
        let mut socket = prepared();
        prepared();
        for (batch, words) in [
            (Batch::new().create_table(&TABLE), "create table inet cleat: file exists"),
            (Batch::new().create_chain(&NET_A), "create chain inet cleat net_a: file exists"),
            (Batch::new().create_set(&PORTS), "create map inet cleat port4: file exists"),
        ] {
            assert_eq!(batch.commit(&mut socket).unwrap_err().to_string(), words);
        }
        let other_hook = Chain::base(TABLE, "net_a", Kind::Nat, HookPoint::Output, 0);
        Batch::new().add_chain(&other_hook).commit(&mut socket).unwrap_err();
    });
}

#[test]
fn a_chain_goes_with_the_last_that_leads_to_it() {
    inside::run(|| {
        let mut socket = prepared();
        let to_net = Element::new(&member()).verdict(Verdict::goto("net_a"));
        let mut batch = Batch::new();
        batch.add_element(&NETS, &to_net).add_rule(&NET_A, &[Expr::Counter], None);
        batch.commit(&mut socket).unwrap();
        let error = Batch::new().del_chain(&NET_A).commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "delete chain inet cleat net_a: device or resource busy");
        assert!(error.is_busy());
        Batch::new().del_element(&NETS, &member()).del_chain(&NET_A).commit(&mut socket).unwrap();
        assert!(!socket.has_chain(&NET_A).unwrap());
        let error = Batch::new().del_element(&NETS, &member()).commit(&mut socket).unwrap_err();
        assert_eq!(
            error.to_string(),
            "delete element 10.1.0.11 of inet cleat masq4: no such file or directory"
        );
    });
}

#[test]
fn what_is_unused_is_told_and_removed_without_a_refusal() {
    inside::run(|| {
        const ANCHOR: Chain = Chain::new(TABLE, "anchor");
        let mut socket = prepared();
        assert!(!socket.is_referenced(&ANCHOR).unwrap(), "a chain that does not exist");
        let to_net = Element::new(&member()).verdict(Verdict::goto("net_a"));
        let mut batch = Batch::new();
        batch.add_chain(&ANCHOR).add_rule(&NET_A, &[Expr::jump("anchor")], None);
        batch.add_rule(&NET_A, &[Expr::Counter], None).add_element(&NETS, &to_net);
        batch.commit(&mut socket).unwrap();
        // The two rules in the chain are no references to it; the element is one.
        assert!(socket.is_referenced(&NET_A).unwrap() && socket.is_referenced(&ANCHOR).unwrap());
        let generation = socket.generation().unwrap();
        assert!(!socket.del_unused_chain(&NET_A).unwrap());
        assert!(!socket.del_unused_table(&ANCHOR).unwrap());
        assert_eq!(socket.generation().unwrap(), generation, "no transaction was tried");
        Batch::new().del_element(&NETS, &member()).commit(&mut socket).unwrap();
        assert!(!socket.is_referenced(&NET_A).unwrap() && socket.is_referenced(&ANCHOR).unwrap());
        assert!(socket.del_unused_chain(&NET_A).unwrap() && socket.del_unused_table(&ANCHOR).unwrap());
        assert!(!socket.has_table(&TABLE).unwrap());
        assert!(
            socket.del_unused_chain(&NET_A).unwrap() && socket.del_unused_table(&ANCHOR).unwrap(),
            "deleting what is gone succeeds"
        );
    });
}

#[test]
fn a_batch_for_another_generation_is_refused() {
    inside::run(|| {
        let mut socket = prepared();
        let generation = socket.generation().unwrap();
        let mut batch = Batch::new();
        batch.create_element(&PORTS, &web(8080));
        Batch::new().add_chain(&Chain::new(TABLE, "net_b")).commit(&mut socket).unwrap();
        let error = batch.commit_at(&mut socket, Some(generation)).unwrap_err();
        assert!(error.is_restart(), "{error}");
        assert!(matches!(error, Error::Commit { operations: 1, .. }));
        assert!(socket.elements(&PORTS).unwrap().is_empty());
        let generation = socket.generation().unwrap();
        batch.commit_at(&mut socket, Some(generation)).unwrap();
        assert_eq!(socket.generation().unwrap(), generation + 1);
        assert_eq!(socket.elements(&PORTS).unwrap(), [web(8080)]);
    });
}

#[test]
fn one_element_is_read_by_its_key() {
    inside::run(|| {
        let mut socket = prepared();
        let to_net = Element::new(&member()).verdict(Verdict::goto("net_a")).comment("web");
        let mut batch = Batch::new();
        batch.add_element(&PORTS, &web(8080)).add_element(&PORTS, &web(8081)).add_element(&NETS, &to_net);
        batch.commit(&mut socket).unwrap();
        assert_eq!(socket.get_element(&NETS, &member()).unwrap(), Some(to_net));
        assert_eq!(socket.get_element(&PORTS, &port(80)).unwrap(), None);
        let found = socket.get_element(&PORTS, &port(8081)).unwrap().unwrap();
        assert_eq!(found, web(8081));
        assert_eq!(key::decode(PORTS.key, &found.key).unwrap(), port(8081));
        let Some(Data::Value(data)) = found.data else { panic!("no value") };
        assert_eq!(key::decode(PORTS.data.unwrap(), &data).unwrap()[1], Field::Port(80));
        let missing = Set::new(TABLE, "missing", &[Type::Mark]);
        assert_eq!(socket.get_element(&missing, &[Field::Mark(1)]).unwrap(), None);
        assert_eq!(socket.elements(&missing).unwrap(), []);
        let error = socket.get_element(&PORTS, &[Field::Mark(1)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "get element 0x00000001 of inet cleat port4: key is not of the set's types"
        );
    });
}

#[test]
fn names_and_rules_are_listed() {
    inside::run(|| {
        let mut socket = prepared();
        assert!(socket.has_table(&TABLE).unwrap() && !socket.has_table(&OTHER).unwrap());
        assert!(socket.has_set(&PORTS).unwrap() && !socket.has_set(&Set { name: "no", ..PORTS }).unwrap());
        let mut batch = Batch::new();
        batch.add_table(&OTHER).add_chain(&Chain::new(OTHER, "elsewhere"));
        batch.add_rule(&NET_A, &[Expr::Counter], None).add_rule(
            &NET_A,
            &[Expr::Masquerade],
            Some("the rest"),
        );
        batch.commit(&mut socket).unwrap();
        assert_eq!(socket.chain_names(&TABLE).unwrap(), ["net_a"]);
        assert!(socket.chain_names(&Table::new(Family::Ip, "cleat")).unwrap().is_empty());
        let rules = socket.rules(&NET_A).unwrap();
        let comments: Vec<_> = rules.iter().map(|rule| rule.comment.as_deref()).collect();
        assert_eq!(comments, [None, Some("the rest")]);
        Batch::new().del_rule(&NET_A, rules[0].handle).commit(&mut socket).unwrap();
        assert_eq!(socket.rules(&NET_A).unwrap(), rules[1..]);
        Batch::new().flush_chain(&NET_A).commit(&mut socket).unwrap();
        assert!(socket.rules(&NET_A).unwrap().is_empty());
        let error = Batch::new().del_rule(&NET_A, 999).commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "delete rule 999 of chain inet cleat net_a: no such file or directory");
    });
}

#[test]
fn thousands_of_elements_are_one_transaction() {
    inside::run(|| {
        let mut socket = prepared();
        // Two batches: outside of the initial user namespace, one datagram cannot hold all elements.
        let mut batch = Batch::new();
        for number in 1..=3000 {
            batch.create_element(&PORTS, &web(number));
        }
        batch.commit(&mut socket).unwrap();
        let mut rest = Batch::new();
        for number in 3001..=5000 {
            rest.create_element(&PORTS, &web(number));
        }
        rest.commit(&mut socket).unwrap();
        let mut elements = socket.elements(&PORTS).unwrap();
        elements.sort_by(|a, b| a.key.cmp(&b.key));
        // Not `assert_eq`, whose message would have both lists.
        assert!(elements == (1..=5000).map(web).collect::<Vec<_>>(), "{} elements", elements.len());
        // Every operation fails. These are more errors than the socket can queue; the first one is reported.
        let error = batch.commit(&mut socket).unwrap_err();
        assert!(error.is_exists());
        assert_eq!(error.index(), Some(0));
        Batch::new().flush_set(&PORTS).commit(&mut socket).unwrap();
        assert!(socket.elements(&PORTS).unwrap().is_empty());
        let error = Batch::new().flush_set(&Set { name: "no", ..PORTS }).commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "flush inet cleat no: no such file or directory");
    });
}

/// The kernel rehashes a set that has grown; a listing that runs meanwhile repeats some elements and skips others.
#[test]
fn a_set_that_is_growing_is_read_whole() {
    inside::run(|| {
        let mut socket = prepared();
        for round in 0..60 {
            for numbers in [1..=1500, 1501..=2500] {
                let mut batch = Batch::new();
                for number in numbers {
                    batch.create_element(&PORTS, &web(number));
                }
                batch.commit(&mut socket).unwrap();
            }
            let keys: BTreeSet<_> =
                socket.elements(&PORTS).unwrap().into_iter().map(|element| element.key).collect();
            assert_eq!(keys.len(), 2500, "in round {round}");
            Batch::new().del_set(&PORTS).add_set(&PORTS).commit(&mut socket).unwrap();
        }
    });
}

#[test]
fn whole_tables_and_sets_are_deleted() {
    inside::run(|| {
        let mut socket = prepared();
        let mut batch = Batch::new();
        batch.add_rule(&NET_A, &[Expr::dnat_map(&[Selector::L4Proto, Selector::ThDport], PORTS)], None);
        batch.commit(&mut socket).unwrap();
        let error = Batch::new().del_set(&PORTS).commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "delete set inet cleat port4: device or resource busy");
        Batch::new().flush_chain(&NET_A).del_set(&PORTS).commit(&mut socket).unwrap();
        Batch::new().del_table(&TABLE).commit(&mut socket).unwrap();
        assert!(!socket.has_table(&TABLE).unwrap());
        let error = Batch::new().del_table(&TABLE).commit(&mut socket).unwrap_err();
        assert_eq!(error.to_string(), "delete table inet cleat: no such file or directory");
        Batch::new().commit(&mut socket).unwrap();
    });
}

#[test]
fn what_cannot_be_encoded_is_not_sent() {
    let mut socket = Socket::open().unwrap();
    let mut refused = |batch: &mut Batch, words: &str| {
        let error = batch.commit(&mut socket).unwrap_err();
        assert!(matches!(error, Error::Encode { index: 0, .. }));
        assert!(error.to_string().starts_with(words), "{error}");
    };
    let words = "add element tcp . 1 to inet cleat port4: comment is longer";
    refused(Batch::new().add_element(&PORTS, &web(1).comment("x".repeat(128))), words);
    let words = "delete element [00, 01] of inet cleat port4: key is not of the set's types";
    refused(Batch::new().del_element(&PORTS, &[Field::Port(1)]), words);
    let words = "add chain inet cleat a: name contains a NUL";
    refused(Batch::new().add_chain(&Chain::new(TABLE, "a\0b")), words);
    let rules = [
        (Expr::eq(Selector::IpSaddr, Field::TCP), "value is not of the selector's type"),
        (Expr::in_set(&[Selector::IpSaddr], PORTS), "selectors are not of the set's types"),
        (Expr::vmap(&[Selector::L4Proto, Selector::ThDport], PORTS), "map has no verdicts"),
        (Expr::dnat_map(&[Selector::IpSaddr], NETS), "map does not lead to an address"),
        (Expr::in_set(&[Selector::IpSaddr], Set { table: OTHER, ..NETS }), "set is of another table"),
    ];
    for (expr, words) in rules {
        let doing = format!("add rule to chain inet cleat net_a: {words}");
        refused(Batch::new().add_rule(&NET_A, &[expr], None), &doing);
    }
}

#[test]
fn many_keys_go_into_one_message() {
    inside::run(|| {
        const PEERS: Set = Set::new(TABLE, "peers", &[Type::Ipv4Addr]);
        let mut socket = prepared();
        let keys = |numbers: std::ops::Range<u32>| -> Vec<[Field; 1]> {
            numbers.map(|number| [Field::Ipv4((0x0a00_0000 + number).into())]).collect()
        };
        let mut batch = Batch::new();
        // More than one by one would be taken in a user namespace of its own, and more than one message takes.
        batch.add_set(&PEERS).add_keys(&PEERS, &keys(0..20_000)).add_keys(&PEERS, &[]);
        assert_eq!(batch.len(), 21);
        batch.commit(&mut socket).unwrap();
        assert_eq!(socket.elements(&PEERS).unwrap().len(), 20_000);
        // Those that are there may be added again; what is missing is an error, of which the message has the first key.
        let mut batch = Batch::new();
        batch.add_keys(&PEERS, &keys(0..2)).del_keys(&PEERS, &keys(1..20_000)).commit(&mut socket).unwrap();
        assert_eq!(socket.elements(&PEERS).unwrap(), [Element::new(&keys(0..1)[0])]);
        let error = Batch::new().del_keys(&PEERS, &keys(0..3)).commit(&mut socket).unwrap_err();
        assert_eq!(
            error.to_string(),
            "delete element 10.0.0.0 and 2 more of inet cleat peers: no such file or directory"
        );
        assert!(error.is_not_found());
        assert_eq!(socket.elements(&PEERS).unwrap().len(), 1);
        let wrong = Batch::new().add_keys(&PEERS, &[[Field::Port(80)]]).commit(&mut socket).unwrap_err();
        assert!(matches!(wrong, Error::Encode { .. }), "{wrong}");
    });
}

#[test]
fn a_rule_that_counted_is_the_same_rule() {
    inside::run(|| {
        let mut socket = prepared();
        let exprs = [Expr::Counter, Expr::accept()];
        let output = Chain::base(TABLE, "sent", Kind::Filter, HookPoint::Output, 0);
        Batch::new().add_chain(&output).add_rule(&output, &exprs, None).commit(&mut socket).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"?", "127.0.0.1:9").unwrap();
        assert!(!inside::program("nft", &["list", "ruleset"], "").contains("counter packets 0 bytes"));
        let rules = socket.whole_rules(&output).unwrap();
        assert!(rules[0].consists_of(TABLE, &exprs));
        assert!(!rules[0].consists_of(TABLE, &exprs[1..]));
    });
}
