//! A closed bridge stays closed. Where its rules are flushed, or a foreign table has our table's name, the next ADD repairs the
//! rules for all members; until then STATUS and CHECK fail.

#[cfg(target_arch = "x86_64")]
mod cost;
mod flushed;
mod links;
mod packets;

use std::fs;

use sandbox::{Answer, Call, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORKS, install_networks};
use crate::shared::members::{Member, Network, assert_closed, assert_open, host, openings, serve, ways};
use crate::shared::programs::{BRIDGE, LINK_ENV};
use crate::shared::reboot::reboot;
use crate::shared::shell::shell;
use crate::shared::{cleat, containers};

fn network(keys: Value) -> Network {
    Network { name: "shut", subnet: 1, keys }
}

/// Fails if something of this table is left. Other tables of the ruleset that a test loads may stay.
fn assert_nothing_left_of(before: &Snapshot, table: &str) {
    let left = before.differences();
    assert!(!left.iter().any(|line| line.contains(table)), "{left:#?}");
}

fn status(network: &Network) -> Answer {
    Call::new(BRIDGE, "STATUS", &network.bridge()).run()
}

/// Foreign tables that have our tables' names: ADD makes them ours, and the last DEL removes them.
#[test]
fn a_foreign_table_of_the_same_name_is_made_ours() {
    let maps = |types: &str| {
        ["into", "from", "members"].map(|map| format!("map {map} {{ type {types}; }}\n")).concat()
    };
    let table = |rest: String| format!("table inet cleat_gate {{ {rest} }}\n");
    isolated(|| {
        let _host = host();
        let [a, b, c] = ["a1", "b1", "c1"].map(Namespaced::new);
        let shut = network(json!({"icc": false}));
        serve(&a, 80);
        let before = Snapshot::take();
        let hook = "type filter hook forward priority 0; policy accept;";
        for foreign in [
            table(String::new()),
            table(maps("ifname : verdict") + "chain gates { }\nchain forward { }\n"),
            table(maps("ipv4_addr : verdict") + "chain gates { }\nchain forward { }\n"),
            table(maps("ifname : verdict") + "chain gates { accept; }\nchain forward { type filter hook output priority 0; }\n"),
            table(maps("ifname : mark") + &format!("chain gates {{ {hook} }}\nchain forward {{ {hook} }}\n")),
            table("set into { type ifname; }\nset members { type ifname; flags timeout; }\n".to_owned()),
            "table bridge cleat_gate { map apart { type ifname : verdict; }\nchain plain { }\nchain forward { }\n }".to_owned(),
            "table bridge cleat_gate { set apart { type ether_addr; }\nset held4 { type mark; }\nset ports { type mark; }\nchain plain { accept; }\n }".to_owned(),
            table("flags dormant;".to_owned()),
        ] {
            fs::write("/run/foreign.nft", &foreign).unwrap();
            shell("nft -f /run/foreign.nft && rm /run/foreign.nft");
            status(&shut).silent();
            let (one, two, three) =
                (shut.add(&a, &json!({})), shut.add(&b, &json!({})), shut.add(&c, &json!({})));
            assert_closed(&[ways(Some(&b), &one.at(80)), ways(Some(&c), &one.at(80))].concat());
            assert_open(&ways(None, &one.at(80)));
            status(&shut).silent();
            for member in [&one, &two, &three] {
                member.check(BRIDGE).silent();
                member.del();
            }
            let left = before.differences();
            assert!(left.is_empty(), "{foreign}: {left:#?}");
        }
    });
}

/// The kernel does not replace a map that a foreign rule uses: ADD fails, and the error says what to do.
#[test]
fn what_cannot_be_mended_fails_the_add() {
    isolated(|| {
        let _host = host();
        let a = Namespaced::new("a1");
        let shut = network(json!({"icc": false}));
        shell(
            "nft add table inet cleat_gate; nft add map inet cleat_gate into '{ type ipv4_addr : verdict; }'
             nft add chain inet cleat_gate theirs; nft add rule inet cleat_gate theirs ip saddr vmap @into",
        );
        let before = Snapshot::take();
        let (code, said) = Call::new(BRIDGE, "ADD", &shut.bridge()).of("a1", &a, "eth1").run().error();
        assert_eq!(code, 50, "{said}");
        assert!(said.contains("br-shut is not closed") && said.contains("cleat repair"), "{said}");
        before.assert_unchanged();
    });
}

/// Members whose elements were flushed still count as members, in whatever order they are deleted.
#[test]
fn a_gate_goes_with_the_last_port_whatever_was_flushed() {
    isolated(|| {
        let _host = host();
        let names = ["a1", "b1", "c1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shut = network(json!({"icc": false}));
        for damage in [
            "nft flush map inet cleat_gate members",
            "nft flush map inet cleat_gate members; nft flush set bridge cleat_gate ports",
            "nft flush map inet cleat_gate members; nft flush map bridge cleat_gate apart",
        ] {
            for order in [[0, 1, 2], [2, 0, 1]] {
                let members: Vec<Member> = names.iter().map(|netns| shut.add(netns, &json!({}))).collect();
                shell(damage);
                for (gone, place) in order.into_iter().enumerate() {
                    members[place].del();
                    let is_there = gone < 2;
                    let found = shell_says("nft list map inet cleat_gate into 2>&1").contains("br-shut");
                    assert_eq!(found, is_there, "{damage}, after {gone}");
                }
                before.assert_unchanged();
            }
        }
    });
}

fn shell_says(line: &str) -> String {
    let output = std::process::Command::new("sh").args(["-c", line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A ruleset that is saved and loaded at boot opens nothing for containers that get the addresses of earlier ones.
#[test]
fn rules_of_another_boot_open_nothing() {
    isolated(|| {
        let _host = host();
        let before = Snapshot::take();
        let shut = network(json!({"icc": false}));
        let [db, web] = ["db1", "web1"].map(Namespaced::new);
        let linked =
            |name: &str, links: &[&str]| json!({"name": name, "expose": ["80", "80/udp"], "links": links});
        shut.add(&db, &linked("db", &[]));
        shut.add(&web, &linked("web", &["db"]));
        assert_eq!(openings().matches("shut web -> db").count(), 4);
        shell("nft list ruleset >/run/saved.nft; ip link del br-shut");
        reboot(vec![db, web]);
        shell("nft -f /run/saved.nft; rm /run/saved.nft; rm -r /var/lib/cni/networks/shut");
        status(&shut).silent();
        // Other containers with the same addresses.
        let [db, eve] = ["db2", "eve1"].map(Namespaced::new);
        let one = shut.add(&db, &linked("db", &[]));
        let two = shut.add(&eve, &linked("eve", &[]));
        assert_eq!((one.at(80)[0].as_str(), two.at(80)[0].as_str()), ("10.1.0.2:80", "10.1.0.3:80"));
        assert_eq!(openings().matches("->").count(), 0, "{}", openings());
        one.serve(80);
        assert_closed(&ways(Some(&eve), &one.at(80)));
        assert_open(&ways(None, &one.at(80)));
        status(&shut).silent();
        for member in [&one, &two] {
            member.check(BRIDGE).silent();
            member.del();
        }
        drop((db, eve));
        // No plugin here takes over the other tables of the loaded ruleset.
        assert_nothing_left_of(&before, "cleat_gate");
    });
}

/// A container ended without DEL, and another one has its address by now. The late DEL removes nothing of the new one.
#[test]
fn a_late_del_takes_no_address_from_who_has_it_now() {
    isolated(|| {
        let _host = host();
        let [a, b] = ["a1", "b1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shut = network(json!({"icc": false}));
        let old = shut.add(&a, &json!({}));
        let veth = old.conf[0]["prevResult"]["interfaces"][1]["name"].as_str().unwrap();
        shell(&format!("ip link del {veth}; rm -r /var/lib/cni/networks/shut"));
        let new = shut.add(&b, &json!({}));
        assert_eq!(new.at(80), old.at(80));
        new.check(BRIDGE).silent();
        // The lease belongs to the new container by now.
        old.call(0, "DEL").run().silent();
        new.check(BRIDGE).silent();
        new.del();
        old.del();
        before.assert_unchanged();
    });
}

/// Published ports in a ruleset that is saved and loaded at boot do not lead to the container that has the address by now,
/// whether that one publishes ports or not.
#[test]
fn ports_of_another_boot_lead_to_nobody() {
    isolated(|| {
        let host = host();
        let before = Snapshot::take();
        let open = Network { name: "open", subnet: 1, keys: json!({}) };
        let ports = |port: u16| json!([{"hostPort": port, "containerPort": 80}, {"hostPort": port, "containerPort": 80, "protocol": "udp"}]);
        let [a, b] = ["a1", "b1"].map(Namespaced::new);
        open.publish(&a, &json!({}), &ports(8001));
        open.publish(&b, &json!({}), &ports(8002));
        shell("nft list ruleset >/run/saved.nft; ip link del br-open");
        reboot(vec![a, b]);
        shell("nft -f /run/saved.nft; rm /run/saved.nft; rm -r /var/lib/cni/networks/open");
        let [c, d] = ["c1", "d1"].map(Namespaced::new);
        let (one, two) = (open.add(&c, &json!({})), open.publish(&d, &json!({}), &ports(8003)));
        assert_eq!((one.at(80)[0].as_str(), two.at(80)[0].as_str()), ("10.1.0.2:80", "10.1.0.3:80"));
        one.serve(80);
        two.serve(80);
        let at = |port: u16| [format!("{UPLINK_V4}:{port}"), format!("[{UPLINK_V6}]:{port}")];
        let closed = [8001, 8002].map(|port| ways(Some(&host.outside), &at(port)));
        assert_closed(&closed.concat());
        assert_open(&ways(Some(&host.outside), &at(8003)));
        for member in [&one, &two] {
            member.del();
        }
        drop((c, d));
        assert_nothing_left_of(&before, "cleat_host_port");
    });
}

/// STATUS and CHECK accept a ruleset that nft(8) saved and loaded again, though it may write rules differently.
#[test]
fn rules_that_are_loaded_again_are_as_they_were() {
    isolated(|| {
        let _host = host();
        let [a, b] = ["a1", "b1"].map(Namespaced::new);
        for keys in [
            json!({"icc": false, "ingress": "published", "ingressFrom": ["10.99.0.0/16", "fd99::/32"]}),
            json!({"icc": false, "internal": true}),
        ] {
            let shut = network(keys);
            let (one, two) = (shut.add(&a, &json!({})), shut.add(&b, &json!({})));
            shell(
                "nft list ruleset >/run/saved.nft; nft flush ruleset; nft -f /run/saved.nft; rm /run/saved.nft",
            );
            status(&shut).silent();
            for member in [&one, &two] {
                member.check(BRIDGE).silent();
                member.del();
            }
        }
    });
}

/// Members and links of an earlier version go on working; the first ADD of this version brings their gate up to date.
#[test]
fn what_a_version_before_made_is_kept_and_brought_up_to_date() {
    isolated(|| {
        let _host = host();
        let names = ["db1", "web1", "eve1", "new1"].map(Namespaced::new);
        let [db, web, eve, new] = &names;
        serve(db, 5432);
        let before = Snapshot::take();
        let shop = Network { name: "shop", subnet: 7, keys: json!({"icc": false}) };
        let start = || {
            let members = [
                shop.add(db, &json!({"name": "db", "expose": ["5432", "5432/udp"]})),
                shop.add(web, &json!({"name": "web", "links": ["db:webdb"]})),
                shop.add(eve, &json!({"name": "eve"})),
            ];
            fs::write("/run/before.nft", include_str!("../../data/gate-9a5d124.nft")).unwrap();
            shell(
                "nft delete table inet cleat_gate; nft delete table bridge cleat_gate; nft -f /run/before.nft; rm /run/before.nft",
            );
            members
        };
        let works = |members: &[Member; 3]| {
            assert_open(&ways(Some(web), &members[0].at(5432)));
            assert_closed(&ways(Some(eve), &members[0].at(5432)));
            for member in members {
                member.check(LINK_ENV).silent();
            }
        };
        // With the earlier version's gate as it is.
        let members = start();
        status(&shop).silent();
        works(&members);
        let (code, said) = members[1].check(BRIDGE).error();
        assert_eq!(code, 101, "{said}");
        for member in &members {
            member.del();
        }
        before.assert_unchanged();
        shell("rm -r /var/lib/cni/networks/shop");
        // With one more member, which is deleted before the others.
        let members = start();
        let more = shop.add(new, &json!({"name": "new"}));
        status(&shop).silent();
        works(&members);
        more.check(BRIDGE).silent();
        more.del();
        works(&members);
        for member in members.iter().rev() {
            member.del();
        }
        before.assert_unchanged();
    });
}

/// After a flush, STATUS names `cleat repair`, which repairs what the next ADD would, and also links, which ADD cannot.
#[test]
fn repair_mends_what_status_names() {
    isolated(|| {
        let _host = host();
        install_networks();
        let before = Snapshot::take();
        let file = format!("{NETWORKS}/30-cleat-links.conflist");
        let shipped = fs::read_to_string(&file).unwrap();
        fs::write(&file, shipped.replace("\"1.0.0\"", "\"1.1.0\"")).unwrap();
        let [web, db] = ["web", "db"].map(|name| containers::add(name, "cleat-links", 0));
        let all = cleat::json_of(&["ps"]);
        let db_at = || all.as_array().unwrap().iter().position(|one| one["id"] == "db").unwrap();
        for damage in [
            "nft flush ruleset",
            "nft flush set bridge cleat_gate held4",
            "nft flush chain bridge cleat_gate pre",
        ] {
            shell(damage);
            let (code, said) = cleat::call(&["status", "cleat-links"]);
            assert!(code == Some(1) && said.contains("cleat2 is not closed"), "{damage}: {said}");
            assert_eq!(cleat::states(&["check"]), ["broken", "broken"], "{damage}");
            cleat::ok(&["repair"]);
            assert_eq!(cleat::states(&["check"]), ["ok", "ok"], "{damage}");
            cleat::ok(&["status", "cleat-links"]);
            let address = cleat::json_of(&["ps"])[db_at()]["addresses"][0].as_str().unwrap().to_owned();
            let address = address.split('/').next().unwrap();
            assert_closed(&ways(Some(&web), &[format!("{address}:80")])[..1]);
            assert_open(&ways(None, &[format!("{address}:80")])[..1]);
        }
        for netns in [web, db] {
            containers::del("cleat-links", netns);
        }
        fs::write(&file, shipped).unwrap();
        before.assert_unchanged();
    });
}
