//! The iptables programs themselves, of both variants and both families, each test in a sandbox of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

use cleat_iptables::{Error, Family, Iptables, Rule, Transaction, Variant, legacy_programs, legacy_tables};
use sandbox::isolated;

const COMMENT: &str = r#"name: "net" id: "it's \ a # ; * test""#;

#[test]
fn a_transaction_holds_as_a_whole_and_is_read_back() {
    isolated(|| {
        for variant in [Variant::Nft, Variant::Legacy] {
            for (family, source, to) in
                [(Family::V4, "10.1.0.2/32", "10.9.0.1"), (Family::V6, "fd00::2/128", "fd00::9")]
            {
                let program = Iptables::find_variant(family, variant).unwrap();
                assert_eq!(program.variant().unwrap(), variant);
                goes_round(&program, source, to);
            }
        }
    });
}

fn goes_round(program: &Iptables, source: &str, to: &str) {
    assert_eq!(program.policy("filter", "FORWARD").unwrap().as_deref(), Some("ACCEPT"));
    assert_eq!(program.rules("nat", "CLEAT-1").unwrap(), None);
    assert_eq!(program.rules("nat", "POSTROUTING").unwrap(), Some(Vec::new()));
    let mut change = Transaction::new("nat");
    change.new_chain("CLEAT-1");
    change.append("CLEAT-1", &["-j", "SNAT", "--to-source", to]);
    change.insert("CLEAT-1", &["-m", "comment", "--comment", COMMENT, "-j", "RETURN"]);
    change.append("POSTROUTING", &["-s", source, "-j", "CLEAT-1"]);
    program.commit(&change).unwrap();
    let rules = program.rules("nat", "CLEAT-1").unwrap().unwrap();
    assert_eq!(rules[0].comment(), Some(COMMENT));
    assert_eq!(rules[1].option("--to-source"), Some(to));
    let leading = program.rules("nat", "POSTROUTING").unwrap().unwrap();
    assert_eq!((leading[0].option("-s"), leading[0].target()), (Some(source), Some("CLEAT-1")));
    // Where one change of a transaction is impossible, none is made.
    let mut change = Transaction::new("nat");
    change.flush_chain("CLEAT-1").delete_rule(&Rule::parse("-A POSTROUTING -j CLEAT-9").unwrap());
    let error = program.commit(&change).unwrap_err().to_string();
    assert!(error.contains("restore, to change table nat"), "{error}");
    assert_eq!(program.rules("nat", "CLEAT-1").unwrap().unwrap().len(), 2, "{error}");
    let mut change = Transaction::new("nat");
    change.new_chain("CLEAT-1");
    let error = program.commit(&change).unwrap_err().to_string();
    assert!(error.contains("by \"-N CLEAT-1\": "), "{error}");
    // Rules that were read are removed by their own text, with its quotes.
    let mut change = Transaction::new("nat");
    leading.iter().chain(&rules).for_each(|rule| {
        change.delete_rule(rule);
    });
    change.del_chain("CLEAT-1");
    program.commit(&change).unwrap();
    assert_eq!(program.rules("nat", "CLEAT-1").unwrap(), None);
    program.commit(&Transaction::new("nat")).unwrap();
}

/// The crate `iptables`, which runs the same programs, finds what was committed, and nothing before.
#[test]
fn another_reader_sees_the_same() {
    isolated(|| {
        for (family, is_v6) in [(Family::V4, false), (Family::V6, true)] {
            let (program, reader) = (Iptables::find(family).unwrap(), rust_iptables::new(is_v6).unwrap());
            let mut change = Transaction::new("nat");
            change
                .new_chain("CLEAT-1")
                .append("POSTROUTING", &["-m", "comment", "--comment", "a b", "-j", "CLEAT-1"]);
            assert!(!reader.chain_exists("nat", "CLEAT-1").unwrap());
            program.commit(&change).unwrap();
            assert!(reader.chain_exists("nat", "CLEAT-1").unwrap());
            let rule = "-m comment --comment \"a b\" -j CLEAT-1";
            assert!(reader.exists("nat", "POSTROUTING", rule).unwrap());
            reader.set_policy("filter", "FORWARD", "DROP").unwrap();
            let policy = program.policy("filter", "FORWARD").unwrap();
            assert_eq!(policy, Some(reader.get_policy("filter", "FORWARD").unwrap()));
            assert_eq!(program.policy("nat", "CLEAT-1").unwrap(), None);
        }
    });
}

#[test]
fn legacy_tables_are_known_once_they_are_used() {
    isolated(|| {
        assert_eq!(legacy_tables(Family::V4), Vec::<String>::new());
        Iptables::find_variant(Family::V4, Variant::Nft).unwrap().rules("nat", "POSTROUTING").unwrap();
        assert_eq!(legacy_tables(Family::V4), Vec::<String>::new());
        Iptables::find_variant(Family::V4, Variant::Legacy).unwrap().rules("nat", "POSTROUTING").unwrap();
        assert_eq!(legacy_tables(Family::V4), ["nat"]);
        assert_eq!(legacy_tables(Family::V6), Vec::<String>::new());
        let programs = legacy_programs("nat").unwrap();
        assert_eq!(programs.len(), 1);
        assert_eq!(programs[0].variant().unwrap(), Variant::Legacy);
        assert!(legacy_programs("filter").unwrap().is_empty());
    });
}

#[test]
fn failures_name_the_program_and_what_it_was_to_do() {
    isolated(|| {
        let program = Iptables::find(Family::V6).unwrap();
        assert!(program.path().ends_with("ip6tables"));
        let error = program.rules("nat", "a b").unwrap_err();
        assert!(matches!(error, Error::Unfit { .. }), "{error}");
        let error = program.rules("not-a-table", "FORWARD").unwrap_err().to_string();
        assert!(error.contains("ip6tables, to list chain FORWARD of table not-a-table: "), "{error}");
        let mut change = Transaction::new("nat");
        change.append("POSTROUTING", &["-s", "10.1.0.2", "-j", "ACCEPT"]);
        let error = program.commit(&change).unwrap_err().to_string();
        assert!(error.contains("by \"-A POSTROUTING -s 10.1.0.2 -j ACCEPT\": "), "{error}");
    });
}
