//! Chains and rules of other programs are understood, and these programs can read rules that are put between theirs.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use inside::program;
use nftables::{
    Batch, Chain, Clause, Expr, Family, Field, HookPoint, Ifname, Policy, Selector, Socket, Table, Verdict,
};

const FILTER: Table = Table::new(Family::Ip, "filter");
const FORWARD: Chain = Chain::new(FILTER, "FORWARD");

#[test]
fn rules_of_iptables_are_understood() {
    inside::run(|| {
        let rules = "*nat\n:CNI-1 - [0:0]\n\
            -A POSTROUTING -s 10.1.0.2 -m comment --comment one -j CNI-1\n\
            -A POSTROUTING ! -s 10.2.0.0/16 -o br0 -p tcp -j RETURN\n\
            -A CNI-1 -d 10.1.0.0/24 -j ACCEPT\nCOMMIT\n";
        program("iptables-nft-restore", &["--noflush"], rules);
        let mut socket = Socket::open_if_supported().unwrap().unwrap();
        let nat = Table::new(Family::Ip, "nat");
        let rules = socket.rules(&Chain::new(nat, "POSTROUTING")).unwrap();
        assert_eq!(rules[0].verdict(), Some(&Verdict::jump("CNI-1")));
        let compare = |selector, negated, bytes: &[u8]| Clause::Compare {
            selector: Some(selector),
            mask: None,
            negated,
            bytes: bytes.to_vec(),
        };
        assert_eq!(rules[0].clauses[0], compare(Selector::IpSaddr, false, &[10, 1, 0, 2]));
        assert!(
            matches!(&rules[0].clauses[1], Clause::Extension { name, info } if name == "comment" && info.starts_with(b"one\0"))
        );
        let clauses = &rules[1].clauses;
        for wanted in [
            compare(Selector::IpSaddr, true, &[10, 2]),
            compare(Selector::Oifname, false, b"br0\0"),
            compare(Selector::L4Proto, false, &[6]),
            Clause::Other("counter".to_owned()),
        ] {
            assert!(clauses.contains(&wanted), "{wanted:?} is not in {clauses:?}");
        }
        assert_eq!(rules[1].verdict(), Some(&Verdict::Return));
        assert_eq!(socket.references(&Chain::new(nat, "CNI-1")).unwrap(), Some(1));
    });
}

#[test]
fn iptables_reads_what_is_put_into_its_chains() {
    inside::run(|| {
        let mut socket = Socket::open().unwrap();
        assert_eq!(socket.base_chain(&FORWARD, HookPoint::Forward).unwrap(), None);
        program("iptables-nft", &["-A", "FORWARD", "-i", "other", "-j", "ACCEPT"], "");
        program("iptables-nft", &["-P", "FORWARD", "DROP"], "");
        let chains = socket.base_chains(Family::Ip, HookPoint::Forward).unwrap();
        assert_eq!(chains.len(), 1);
        assert_eq!((chains[0].as_chain(), chains[0].policy), (FORWARD, Policy::Drop));
        assert_eq!(socket.base_chain(&FORWARD, HookPoint::Forward).unwrap().as_ref(), Some(&chains[0]));
        assert_eq!(socket.base_chain(&FORWARD, HookPoint::Input).unwrap(), None);
        let bridge = Field::Ifname(Ifname::new("br0").unwrap());
        let mut batch = Batch::new();
        for selector in [Selector::Oifname, Selector::Iifname] {
            let clauses = [Expr::eq(selector, bridge), Expr::Counter, Expr::Verdict(Verdict::Accept)];
            batch.insert_rule(&FORWARD, &clauses, Some("cleat br0"));
        }
        batch.commit(&mut socket).unwrap();
        let listed = program("iptables-nft", &["-S", "FORWARD"], "");
        let rules: Vec<&str> = listed.lines().collect();
        assert_eq!(
            rules,
            [
                "-P FORWARD DROP",
                "-A FORWARD -i br0 -m comment --comment \"cleat br0\" -j ACCEPT",
                "-A FORWARD -o br0 -m comment --comment \"cleat br0\" -j ACCEPT",
                "-A FORWARD -i other -j ACCEPT",
            ]
        );
        // iptables removes such a rule like one of its own.
        let first = ["-D", "FORWARD", "-i", "br0", "-m", "comment", "--comment", "cleat br0", "-j", "ACCEPT"];
        program("iptables-nft", &first, "");
        let rules = socket.rules(&FORWARD).unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].comment.as_deref(), Some("cleat br0"));
        Batch::new().del_rule(&FORWARD, rules[0].handle).commit(&mut socket).unwrap();
        let listed = program("iptables-nft", &["-S", "FORWARD"], "");
        assert_eq!(listed, "-P FORWARD DROP\n-A FORWARD -i other -j ACCEPT\n");
    });
}
