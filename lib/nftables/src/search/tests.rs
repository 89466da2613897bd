use super::*;

fn compare(selector: Selector, mask: Option<u32>, negated: bool, bytes: &[u8]) -> Clause {
    let mask = mask.map(|mask| mask.to_ne_bytes().to_vec());
    Clause::Compare { selector: Some(selector), mask, negated, bytes: bytes.to_vec() }
}

#[test]
fn only_what_is_certain_is_skipped() {
    let zero = [0; 4];
    let packet = Packet { interface: "br0", protocol: TCP, port: Some(80) };
    for (clause, is_certain) in [
        (compare(Selector::Iifname, None, false, b"docker0\0"), true),
        (compare(Selector::Iifname, None, false, b"br0\0\0\0\0"), false),
        (compare(Selector::Iifname, None, false, b"br"), false),
        (compare(Selector::Iifname, None, true, b"br0\0"), true),
        (compare(Selector::Iifname, None, true, b"docker0\0"), false),
        (compare(Selector::Oifname, None, false, b"docker0\0"), false),
        (compare(Selector::L4Proto, None, false, &[1]), true),
        (compare(Selector::L4Proto, None, false, &[6]), false),
        (compare(Selector::ThDport, None, false, &[0, 80]), false),
        (compare(Selector::ThDport, None, false, &[0, 81]), true),
        (compare(Selector::ThDport, None, true, &[0, 80]), true),
        (compare(Selector::ThDport, None, true, &[0, 81]), false),
        (compare(Selector::ThSport, None, false, &[0, 81]), false),
        (compare(Selector::ThSport, None, false, &[0, 9, 0, 80]), false),
        (compare(Selector::ThSport, None, false, &[0, 9, 0, 81]), true),
        (compare(Selector::CtState, Some(state::ESTABLISHED | state::RELATED), true, &zero), true),
        (compare(Selector::CtState, Some(state::ESTABLISHED | state::NEW), true, &zero), false),
        (compare(Selector::CtState, None, false, &state::NEW.to_ne_bytes()), false),
        (compare(Selector::CtStatus, Some(0x20), true, &zero), true),
        (compare(Selector::Mark, Some(0x4000), false, &0x4000_u32.to_ne_bytes()), true),
        (compare(Selector::IpSaddr, None, false, &[10, 1]), false),
    ] {
        assert_eq!(packet.is_excluded(&clause), is_certain, "{clause:?}");
        let is_of_ports =
            matches!(clause, Clause::Compare { selector: Some(Selector::ThDport | Selector::ThSport), .. });
        let to_any = Packet { port: None, ..packet };
        assert_eq!(to_any.is_excluded(&clause), is_certain && !is_of_ports, "{clause:?}, to any port");
    }
    let conntrack = |flags: u16, inverted: u16, states: u16| {
        let mut info = vec![0; 164];
        for (at, word) in [(146, flags), (148, inverted), (150, states)] {
            info[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        packet.is_excluded(&Clause::Extension { name: "conntrack".to_owned(), info })
    };
    assert!(conntrack(XT_CONNTRACK_STATE, 0, 6) && conntrack(XT_CONNTRACK_STATUS, 0, 0));
    assert!(!conntrack(XT_CONNTRACK_STATE, 0, 6 | XT_CONNTRACK_NEW));
    assert!(!conntrack(XT_CONNTRACK_STATE, XT_CONNTRACK_STATE, 6) && !conntrack(0, 0, 0));
}

#[test]
fn ranges_of_ports_of_iptables() {
    let packet = Packet { interface: "eth0", protocol: UDP, port: Some(4789) };
    let range = |name: &str, first: u16, last: u16, inverted: u8| {
        let mut info = [&[0, 0, 0xff, 0xff][..], &first.to_ne_bytes(), &last.to_ne_bytes()].concat();
        info.extend([inverted, 0, 0, inverted]);
        Clause::Extension { name: name.to_owned(), info }
    };
    for (clause, is_excluded) in [
        (range("udp", 4789, 4789, 0), false),
        (range("udp", 0, 65_535, 0), false),
        (range("udp", 53, 53, 0), true),
        (range("udp", 4789, 4789, XT_INV_DSTPT), true),
        (range("udp", 53, 53, XT_INV_DSTPT), false),
        (range("tcp", 4789, 4789, 0), true),
    ] {
        assert_eq!(packet.is_excluded(&clause), is_excluded, "{clause:?}");
    }
    let to_web = Packet { protocol: TCP, port: Some(80), ..packet };
    assert!(!to_web.is_excluded(&range("tcp", 80, 443, 0)));
    assert!(to_web.is_excluded(&range("tcp", 81, 443, 0)));
    assert!(to_web.is_excluded(&range("tcp", 80, 80, XT_INV_DSTPT)));
}

#[test]
fn a_chain_drops_by_policy_or_by_a_rule_for_all_packets() {
    let chain =
        |policy| BaseChain { family: crate::Family::Inet, table: "t".into(), name: "c".into(), policy };
    let rule = |clauses: Vec<Clause>| Rule { handle: 1, comment: None, clauses };
    let reject = || Clause::Other("reject".to_owned());
    assert!(chain(Policy::Drop).drops_by_default(&[]));
    assert!(!chain(Policy::Accept).drops_by_default(&[]));
    let all = rule(vec![Clause::Other("counter".to_owned()), reject()]);
    assert!(chain(Policy::Accept).drops_by_default(&[all]));
    let some = rule(vec![compare(Selector::L4Proto, None, false, &[6]), reject()]);
    let none = rule(vec![Clause::Verdict(Verdict::Accept)]);
    assert!(!chain(Policy::Accept).drops_by_default(&[some, none]));
}
