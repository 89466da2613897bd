//! A node is upgraded while containers run: the programs of one version check, repair, collect and remove what those of
//! another attached, for every table in the packet filter.
//!
//! `make test` loads what commit 1f927b4 left (`tests/data/upgrade-1f927b4`, whose README says how it was recorded). `make
//! test-upgrade` builds that commit, and tests an upgrade and a downgrade with real programs; with RECORD=1 it also records.

mod links;
mod programs;
mod recording;
mod story;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::shared::iptables::saved;
use crate::shared::shell::shell;
use programs::Programs;
use recording::Recording;
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::json;
use story::{PORT, Story};

/// The addresses of the container that is attached first.
const DB: [&str; 2] = ["10.1.0.2", "fd00:1::2"];

/// A host with a story's network and its firewall.
struct Node {
    host: Host,
    before: Snapshot,
    web: Namespaced,
    db: Namespaced,
}

impl Node {
    fn new(story: &Story) -> Self {
        let host = Host::new();
        story.install();
        story.set_up_firewall();
        let before = Snapshot::take();
        let [web, db] = ["web", "db"].map(Namespaced::new);
        Self { host, before, web, db }
    }

    /// Attaches two containers, of which one has a link to the other.
    fn attach(&self, story: &Story, programs: &Programs) {
        programs.add(story, &self.db, 9000, "");
        programs.add(story, &self.web, 8000, "LINK_LINKS=db:store");
    }

    /// The host's port leads to the container, by both families.
    fn serves(&self, name: &str, port: u16) {
        for address in [format!("{UPLINK_V4}:{port}"), format!("[{UPLINK_V6}]:{port}")] {
            // Interfaces that were made by hand take a while until they work.
            let deadline = Instant::now() + Duration::from_secs(10);
            let answer = loop {
                match ask_tcp(Some(&self.host.outside), &address) {
                    Ok(answer) => break answer,
                    Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
                }
            };
            assert!(answer.starts_with(&format!("{name} sees ")), "{answer}");
        }
    }

    /// The programs accept what others made, leave it alone, repair it, attach a container beside it, and remove it.
    fn assert_taken_over(self, story: &Story, programs: &Programs) {
        for netns in [&self.web, &self.db] {
            serve_tcp(Some(netns), netns.name(), "[::]:80");
        }
        let (whole, rules) = (Snapshot::take(), rules());
        let stays = || {
            programs.assert_states(&["ok", "ok"]);
            let now = self::rules();
            let differ: Vec<&String> = now.symmetric_difference(&rules).collect();
            assert!(differ.is_empty(), "{differ:#?}");
            if story.publishes {
                self.serves("web", 8000 + PORT);
                self.serves("db", 9000 + PORT);
            }
        };
        for table in story.tables {
            shell(&format!("nft list table {table}"));
        }
        stays();
        assert_eq!(programs.repair(), 0);
        programs.run(&["gc", "--force"], &[]);
        stays();
        whole.assert_unchanged();

        for damage in story.damages() {
            shell(&damage);
            story.set_up_firewall();
            let states = programs.states();
            assert!(states.iter().any(|(state, _)| state == "broken"), "{damage}: {states:?}");
            assert_ne!(programs.repair(), 0, "{damage}");
            stays();
        }

        let late = Namespaced::new("late");
        programs.add(story, &late, 7000, "LINK_LINKS=db:store");
        programs.assert_states(&["ok", "ok", "ok"]);
        programs.del(&late);
        drop(late);
        stays();

        drop(self.db);
        programs.run(&["gc", "--force"], &[]);
        programs.assert_states(&["ok"]);
        let left: Vec<String> = self::rules()
            .into_iter()
            .filter(|line| DB.iter().any(|address| line.contains(address)))
            .collect();
        assert!(left.is_empty(), "{left:#?}");
        for _ in 0..2 {
            programs.del(&self.web);
        }
        drop(self.web);
        self.before.assert_unchanged();
        let left: Vec<String> = saved("nft").into_iter().filter(|rule| rule.contains("CNI-")).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// The content of the packet filter as a set, since the kernel decides the order of elements.
fn rules() -> BTreeSet<String> {
    let host = Snapshot::take();
    let listed = elements(host.lines().filter_map(|line| line.strip_prefix("nft ")));
    listed.filter(|line| !goes_on(line)).map(|line| without_note(&line)).chain(saved("nft")).collect()
}

/// The lines of nft; one with several elements becomes a line for each.
fn elements<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let split = lines.flat_map(|line| line.trim_start().trim_start_matches("elements = {").split(','));
    split.map(|line| line.trim_matches([' ', '\t', '}']).to_owned())
}

/// Whether a line holds the free port that was chosen last, which each ADD may change.
fn goes_on(line: &str) -> bool {
    line.strip_prefix("tcp : ").is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The comment of a gate says which settings of its bridge it changed. A gate made again after a flush has none to change.
fn without_note(line: &str) -> String {
    line.replace(" comment \"nf_call_iptables nf_call_ip6tables\"", "")
}

/// The tests of each network, and the one that records it.
macro_rules! stories {
    ($($(#[$doc:meta])* $name:ident: $story:expr,)+) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            fn story() -> Story {
                Story { name: stringify!($name), ..$story }
            }

            #[test]
            fn as_recorded() {
                isolated(|| {
                    let story = story();
                    let node = Node::new(&story);
                    Recording::of(&story).load();
                    node.assert_taken_over(&story, &Programs::new());
                });
            }

            #[test]
            #[ignore = "needs the programs of the commit: make test-upgrade"]
            fn upgraded() {
                isolated(|| goes(&story(), &Programs::old(), &Programs::new()));
            }

            #[test]
            #[ignore = "needs the programs of the commit: make test-upgrade"]
            fn downgraded() {
                isolated(|| goes(&story(), &Programs::new(), &Programs::old()));
            }

            #[test]
            #[ignore = "writes tests/data: RECORD=1 make test-upgrade"]
            fn record() {
                isolated(|| {
                    let story = story();
                    let node = Node::new(&story);
                    node.attach(&story, &Programs(recording::traced(&Programs::old().0)));
                    Recording::of(&story).make(&[&node.db, &node.web]);
                });
            }
        })+
    };
}

fn goes(story: &Story, from: &Programs, to: &Programs) {
    let node = Node::new(story);
    node.attach(story, from);
    node.assert_taken_over(story, to);
}

stories! {
    masquerade: Story {
        bridge: json!({"ipMasqExcept": ["198.51.100.0/24", "2001:db8:1::/48"]}),
        tables: &["inet cleat_bridge", "inet cleat_host_port"],
        ..Story::default()
    },
    gate: Story {
        bridge: json!({"icc": false, "ingress": "published"}),
        tables: &["inet cleat_bridge", "inet cleat_host_port", "inet cleat_gate", "bridge cleat_gate"],
        ..Story::default()
    },
    gate_of_an_internal_network: Story {
        bridge: json!({"ipMasq": false, "internal": true}),
        publishes: false,
        tables: &["inet cleat_gate"],
        ..Story::default()
    },
    guard_of_hardware_addresses: Story {
        bridge: json!({"macspoofchk": true}),
        tables: &["bridge cleat_bridge"],
        ..Story::default()
    },
    guard_of_all_addresses: Story {
        bridge: json!({"macspoofchk": true, "ipspoofchk": true}),
        tables: &["bridge cleat_bridge"],
        ..Story::default()
    },
    forward_past_nftables: Story {
        bridge: json!({"forward": "accept"}),
        firewall: "nft -f drops-by-default.nft",
        tables: &["inet cleat_forward"],
        ..Story::default()
    },
    forward_past_iptables: Story {
        bridge: json!({"forward": "accept"}),
        firewall: "iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP",
        tables: &["inet cleat_forward"],
        ..Story::default()
    },
    iptables: Story {
        bridge: json!({"ipMasqBackend": "iptables"}),
        host_port: json!({"backend": "iptables"}),
        ..Story::default()
    },
}
