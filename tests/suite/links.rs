//! Links on a network whose containers cannot reach each other otherwise (`icc: false`), as with Docker's `--link`.

use std::thread;
use std::time::{Duration, Instant};

use sandbox::traffic::Datagrams;
use sandbox::{Call, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{cleat, install_networks};
use crate::shared::members::{Member, Network, assert_closed, assert_open, host, openings, serve, ways};
use crate::shared::programs::{BRIDGE, LINK_ENV};
use crate::shared::shell::shell;

fn shop() -> Network {
    Network { name: "shop", subnet: 7, keys: json!({"icc": false}) }
}

fn db() -> Value {
    json!({"name": "db", "expose": ["5432", "5432/udp", "9/sctp"], "env": {"PG_VERSION": "9.3"}})
}

fn web() -> Value {
    json!({"name": "web", "links": ["db:webdb"]})
}

/// The usual example: web has a link to db, and a third container has none.
#[test]
fn a_link_is_the_only_way_in_and_follows_its_source() {
    isolated(|| {
        let _host = host();
        let [one, two, three, again] = ["db1", "web1", "eve1", "db2"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = shop();
        let source = shop.add(&one, &db());
        let recipient = shop.add(&two, &web());
        let other = shop.add(&three, &json!({"name": "eve"}));
        for member in [&source, &recipient, &other] {
            member.serve(5432);
            member.serve(80);
            member.check(BRIDGE).silent();
            member.check(LINK_ENV).silent();
        }
        assert_open(&ways(Some(&two), &source.at(5432)));
        // By name, and by the environment variables.
        assert_eq!(recipient.says("busybox nc webdb 5432"), "db1 sees fd00:7::3");
        let by_variables = "busybox nc $WEBDB_PORT_5432_TCP_ADDR $WEBDB_PORT_5432_TCP_PORT";
        assert_eq!(recipient.says(by_variables), "db1 sees 10.7.0.3");
        // The link opens one port, in one direction, for one recipient.
        let mut closed = ways(Some(&two), &source.at(80));
        closed.extend(ways(Some(&three), &source.at(5432)));
        for from in [&one, &three] {
            closed.extend(ways(Some(from), &recipient.at(5432)));
            closed.extend(ways(Some(from), &recipient.at(80)));
        }
        assert_closed(&closed);
        assert_eq!(openings().matches("sctp . 9 comment \"shop web -> db\"").count(), 2, "{}", openings());

        // db restarts with another address while web runs and has a flow to it.
        let flow = Datagrams::new(Some(&two), &source.at(5432)[0]);
        assert_eq!(flow.ask().unwrap(), "db1 sees 10.7.0.3");
        source.del();
        assert_eq!(openings().matches("elements").count(), 0, "{}", openings());
        recipient.check(LINK_ENV).silent();
        let moved = shop.add(&again, &db());
        assert_ne!(moved.at(5432), source.at(5432));
        moved.serve(5432);
        assert_eq!(recipient.says("busybox nc webdb 5432"), "db2 sees fd00:7::3");
        assert_open(&ways(Some(&two), &moved.at(5432)));
        assert_closed(&ways(Some(&three), &moved.at(5432)));
        assert!(!openings().contains(source.at(1)[0].split(':').next().unwrap()), "{}", openings());
        for member in [&moved, &other, &recipient] {
            member.del();
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_source_comes_back_with_other_ports_and_a_link_that_is_gone_ends_at_once() {
    isolated(|| {
        let _host = host();
        let [one, two] = ["db1", "web1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = shop();
        // The recipient is added first, and its link waits for the source.
        let recipient = shop.add(&two, &web());
        let source = shop.add(&one, &json!({"name": "db", "expose": ["5432", "5432/udp"]}));
        for port in [5432, 5433] {
            source.serve(port);
        }
        assert_open(&ways(Some(&two), &source.at(5432)));
        assert_closed(&ways(Some(&two), &source.at(5433)));
        let flow = Datagrams::new(Some(&two), &source.at(5432)[0]);
        flow.ask().unwrap();
        // A second ADD of link-env for the same attachment, with other ports.
        let mut conf = source.conf[2].clone();
        conf["args"]["cni"]["link-env"]["expose"] = json!(["5433/tcp", "5433/udp"]);
        let again = source.call(2, "ADD").stdin(conf.to_string().as_bytes()).run().result();
        assert_eq!(again["ips"], conf["prevResult"]["ips"]);
        assert_open(&ways(Some(&two), &source.at(5433)));
        // A flow from before the change ends with its link.
        assert!(flow.ask().is_err());
        assert_closed(&ways(Some(&two), &source.at(5432)));
        recipient.del();
        source.del();
        before.assert_unchanged();
    });
}

#[test]
fn links_cross_and_each_network_has_its_own() {
    isolated(|| {
        let _host = host();
        let [a, b, c] = ["a1", "b1", "c1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = Network { keys: json!({"icc": false, "ingress": "published"}), ..shop() };
        let back = Network { name: "back", subnet: 8, keys: json!({"icc": false, "internal": true}) };
        let endpoint = |name: &str, port: u16, links: &[&str]| json!({"name": name, "expose": [port.to_string(), format!("{port}/udp")], "links": links});
        // On `shop` a and b have links to each other, and c has one to a. On `back` c has one to b.
        let on_shop = [
            shop.add(&a, &endpoint("a", 1001, &["b"])),
            shop.add(&b, &endpoint("b", 1002, &["a"])),
            shop.add(&c, &endpoint("c", 1003, &["a"])),
        ];
        let on_back = [
            back.add(&a, &endpoint("a", 1001, &[])),
            back.add(&b, &endpoint("b", 1002, &[])),
            back.add(&c, &endpoint("c", 1003, &["b"])),
        ];
        for (member, port) in on_shop.iter().zip([1001, 1002, 1003]) {
            member.serve(port);
        }
        let mut open = [ways(Some(&a), &on_shop[1].at(1002)), ways(Some(&c), &on_back[1].at(1002))].concat();
        for recipient in [&b, &c] {
            open.extend(ways(Some(recipient), &on_shop[0].at(1001)));
        }
        assert_open(&open);
        let mut closed = ways(Some(&a), &on_shop[2].at(1003));
        closed.extend(ways(Some(&c), &on_shop[1].at(1002)));
        closed.extend(ways(Some(&b), &on_back[0].at(1001)));
        closed.extend(ways(Some(&c), &on_back[0].at(1001)));
        assert_closed(&closed);
        // One recipient is deleted, and the other's link stays. Then the source is deleted without its result.
        on_shop[2].del();
        assert_open(&ways(Some(&b), &on_shop[0].at(1001)));
        let mut conf = on_shop[0].conf[2].clone();
        conf.as_object_mut().unwrap().remove("prevResult");
        on_shop[0].call(2, "DEL").stdin(conf.to_string().as_bytes()).run().silent();
        let openings = openings();
        assert!(!openings.contains("shop ") && openings.matches("back c -> b").count() == 4, "{openings}");
        for member in on_shop.iter().chain(&on_back) {
            member.del();
        }
        before.assert_unchanged();
    });
}

#[test]
fn whatever_comes_between_del_and_gc_leave_nothing_and_check_tells() {
    isolated(|| {
        let _host = host();
        let [one, two] = ["db1", "web1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = shop();
        let start = || (shop.add(&one, &db()), shop.add(&two, &web()));
        let differs = |member: &Member, program: &str, words: &str| {
            let (code, said) = member.check(program).error();
            assert_eq!((code, said.contains(words)), (101, true), "{said}");
        };
        // Another program flushes one set, then all rules.
        let (source, recipient) = start();
        let set = openings().split(' ').next().unwrap().to_owned();
        shell(&format!("nft flush set inet cleat_gate links{set}"));
        for member in [&source, &recipient] {
            differs(member, LINK_ENV, "link shop web -> db is closed");
        }
        shell("nft flush ruleset");
        differs(&recipient, LINK_ENV, "link shop web -> db is closed");
        differs(&recipient, BRIDGE, "bridge br-shop is not closed");
        // DEL and ADD of either side open the link again.
        for (member, endpoint) in [(&recipient, web()), (&source, db())] {
            shell("nft flush ruleset");
            member.del();
            let member = shop.add(member.netns, &endpoint);
            assert_eq!(openings().matches("sctp . 9").count(), 2, "{}", openings());
            member.check(BRIDGE).silent();
            member.check(LINK_ENV).silent();
        }
        // The bridge's DEL is called first, and removes the sets.
        for (place, member) in [(0, &source), (0, &recipient), (2, &recipient), (2, &source)] {
            member.call(place, "DEL").run().silent();
        }
        source.del();
        recipient.del();
        before.assert_unchanged();

        // The source is gone without a DEL: only GC's list of valid attachments shows it.
        let (source, recipient) = start();
        let valid = json!([{"containerID": "web1", "ifname": "eth7"}]);
        for (program, member) in [(LINK_ENV, &source.conf[2]), (BRIDGE, &source.conf[0])] {
            let mut conf = member.clone();
            conf["cni.dev/valid-attachments"] = valid.clone();
            Call::new(program, "GC", &conf).run().silent();
            assert_eq!(openings().matches("elements").count(), 0, "{}", openings());
        }
        recipient.check(BRIDGE).silent();
        recipient.check(LINK_ENV).silent();
        recipient.del();
        before.assert_unchanged();
    });
}

/// With `cleat run`, on the shipped network for links.
#[test]
fn the_shipped_network_for_links_is_as_dockers_default_bridge() {
    isolated(|| {
        let _host = host();
        install_networks();
        let before = Snapshot::take();
        let run = |options: &[&str], line: &str| {
            let mut command = cleat(&["run", "--network", "cleat-links"]);
            command.args(options).args(["--", "sh", "-c", line]);
            command
        };
        let says = |options: &[&str], line: &str| {
            let output = run(options, line).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let serve = "exec busybox nc -ll -p 5432 -e echo from-db";
        let mut db = run(&["--name", "db", "--expose", "5432"], serve).spawn().unwrap();
        let link = ["--name", "web", "--link", "db:webdb"];
        let asks = "busybox nc -w 5 webdb 5432 </dev/null; echo $WEBDB_PORT_5432_TCP_ADDR";
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut said = String::new();
        while !said.contains("from-db") {
            assert!(Instant::now() < deadline && db.try_wait().unwrap().is_none(), "{said}");
            said = says(&link, asks);
        }
        let address = said.lines().last().unwrap();
        let asks = format!("busybox nc -w 2 {address} 5432 </dev/null; grep -w db /etc/hosts; echo done");
        assert_eq!(says(&["--name", "eve"], &asks), "done\n");
        shell(&format!("kill -TERM {}", db.id()));
        db.wait().unwrap();
        before.assert_unchanged();
    });
}

/// Many containers are added and deleted at once. Those with a link get through, no others do, and nothing is left.
#[test]
fn a_crowd_comes_and_goes_at_once() {
    const PAIRS: usize = 8;
    isolated(|| {
        let _host = host();
        let name = |kind: &str, pair: usize| Namespaced::new(&format!("{kind}{pair}"));
        let pairs: Vec<_> = (0..PAIRS).map(|pair| (name("db", pair), name("web", pair))).collect();
        for (db, _) in &pairs {
            serve(db, 5432);
        }
        let before = Snapshot::take();
        let shop = shop();
        for _ in 0..3 {
            let members: Vec<_> = thread::scope(|scope| {
                let adds: Vec<_> = pairs
                    .iter()
                    .enumerate()
                    .map(|(pair, (db, web))| {
                        let shop = &shop;
                        let source = json!({"name": format!("db{pair}"), "expose": ["5432", "5432/udp"]});
                        let recipient =
                            json!({"name": format!("web{pair}"), "links": [format!("db{pair}:db")]});
                        let source = scope.spawn(move || shop.add(db, &source));
                        (source, scope.spawn(move || shop.add(web, &recipient)))
                    })
                    .collect();
                adds.into_iter().map(|(db, web)| (db.join().unwrap(), web.join().unwrap())).collect()
            });
            let (mut open, mut closed) = (Vec::new(), Vec::new());
            for (pair, (db, web)) in members.iter().enumerate() {
                open.extend(ways(Some(web.netns), &db.at(5432)));
                closed.extend(ways(Some(members[(pair + 1) % PAIRS].1.netns), &db.at(5432)));
            }
            assert_open(&open);
            assert_closed(&closed);
            thread::scope(|scope| {
                for (db, web) in &members {
                    scope.spawn(|| db.del());
                    scope.spawn(|| web.del());
                }
            });
            before.assert_unchanged();
        }
    });
}
