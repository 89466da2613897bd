//! Bad input: each a sentence with the cause and the cure, and nothing changed.

use std::fs;
use std::time::{Duration, Instant};

use sandbox::isolated;
use serde_json::{Value, json};

use crate::cluster::{BOTH, Cluster, NET, V4, merge};
use crate::containers::refused;
use crate::host::until;

#[test]
fn an_engine_that_nobody_reaches() {
    isolated(|| {
        let cluster = Cluster::bare();
        let host = &cluster.hosts[0];
        for (endpoint, word) in [
            // Nobody listens; nobody is there; no such name.
            ("http://198.51.100.9:2379", "refused"),
            ("http://198.51.100.77:2379", "198.51.100.77"),
            ("http://engine.invalid:2379", "engine.invalid"),
        ] {
            let conf = json!({"engine": {"type": "etcd", "endpoints": [endpoint]}});
            for (args, input) in [
                (&["create", NET][..], json!({"conf": conf, "prefixes": ["10.201.0.0/16"]})),
                (&["show", NET, "--conf", "-"], conf.clone()),
            ] {
                let begin = Instant::now();
                let error = host.refused(args, &input.to_string());
                assert!(error.contains(endpoint) && error.contains(word), "{error}");
                assert!(begin.elapsed() < Duration::from_secs(12), "{error}: {:?}", begin.elapsed());
            }
        }
    });
}

#[test]
fn what_the_short_commands_refuse() {
    isolated(|| {
        let cluster = Cluster::created(V4);
        let host = &cluster.hosts[0];
        let conf = cluster.conf();
        let keys = cluster.keys();
        let create = |more: Value| {
            let mut wanted = json!({"conf": conf, "prefixes": ["10.210.0.0/16"]});
            merge(&mut wanted, &more);
            wanted.to_string()
        };
        let mut wrong = Vec::new();
        for (network, input, words) in [
            (NET, create(json!({})), &[NET, "already"][..]),
            ("other", create(json!({"prefixes": []})), &["prefix"]),
            ("other", create(json!({"prefixes": ["10.210.0.1/16"]})), &["10.210.0.1/16"]),
            ("other", create(json!({"prefixes": ["10.210.0.0/16", "10.211.0.0/16"]})), &["10.211.0.0/16"]),
            ("other", create(json!({"prefixes": ["127.0.0.0/8"]})), &["127.0.0.0/8"]),
            ("other", create(json!({"prefixes": ["224.0.0.0/8"]})), &["224.0.0.0/8"]),
            ("other", create(json!({"prefixes": ["fe80::/48"]})), &["fe80::/"]),
            ("other", create(json!({"blockLengths": [16]})), &["16"]),
            ("other", create(json!({"blockLengths": [31]})), &["31"]),
            ("other", create(json!({"blockLengths": [33]})), &["33"]),
            ("other", create(json!({"vni": 0})), &["vni"]),
            ("other", create(json!({"vni": 16_777_216})), &["vni"]),
            ("other", create(json!({"port": 0})), &["port"]),
            ("other", create(json!({"backend": "geneve"})), &["geneve"]),
            ("other", create(json!({"mtu": 100})), &["100"]),
            ("other", create(json!({"mtu": 1200, "prefixes": ["fd00:210::/48"]})), &["1280"]),
            ("other", create(json!({"color": "blue"})), &["color"]),
            ("other", "{".to_owned(), &["JSON"]),
            ("a b", create(json!({})), &["a b"]),
            ("../x", create(json!({})), &["../x"]),
            // The subnet of the wire, and one within it.
            ("other", create(json!({"prefixes": ["198.51.0.0/16"]})), &["198.51.100.0/24", "eth0"]),
        ] {
            let error = host.refused(&["create", network], &input);
            if !words.iter().all(|word| error.contains(word)) {
                wrong.push(format!("{input}: {error}, and not {words:?}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(cluster.keys(), keys);
        let error = host.refused(&["show", "nowhere", "--conf", "-"], &conf.to_string());
        assert!(error.contains("nowhere") && error.contains("cleat network create"), "{error}");
        // Without the file there is no network here.
        for args in [
            &["show", NET][..],
            &["nodes", NET],
            &["remove-node", NET, "host1"],
            &["remove", NET],
            &["delete", NET],
        ] {
            let error = host.refused(args, "");
            assert!(error.contains(&format!("{NET}.json")) || error.contains("join"), "{args:?}: {error}");
        }
        host.configure(&conf);
        let error = host.refused(&["remove-node", NET, "nobody"], "");
        assert!(error.contains("nobody"), "{error}");
        for args in [&["create"][..], &["nodes", NET, "x"], &["fly"]] {
            assert_eq!(host.run(crate::programs::agent(), args, "").status.code(), Some(2), "{args:?}");
        }
        assert_eq!(cluster.keys(), keys);
    });
}

#[test]
fn a_full_prefix_has_no_block_for_the_last() {
    isolated(|| {
        let mut cluster = Cluster::bare();
        cluster.create(&json!({"prefixes": ["10.201.0.0/24"], "blockLengths": [25]}));
        let [first, second, third] = &cluster.hosts;
        for host in [first, second] {
            host.configure(&cluster.conf());
            host.start();
            host.is("watching");
        }
        third.configure(&cluster.conf());
        third.start();
        third.says("that there is no block left", |health| {
            let reason = health["reason"].as_str().unwrap_or_default();
            reason.contains("10.201.0.0/24") && reason.contains("block")
        });
        assert_eq!(refused(third, V4).0, 11);
        // A node that goes makes room.
        second.overlay(&["remove", NET], "");
        third.is("watching");
        first.has_peers(1);
        until("a container is started", || third.run_file().is_some());
    });
}

#[test]
fn an_mtu_that_is_too_small_for_ipv6() {
    isolated(|| {
        let cluster = Cluster::created(BOTH);
        let host = &cluster.hosts[0];
        host.sh("ip link set eth0 mtu 1300");
        host.configure(&cluster.conf());
        host.start();
        host.says("the MTU", |health| {
            let reason = health["reason"].as_str().unwrap_or_default();
            reason.contains("1280") && reason.contains("1300")
        });
        assert!(host.run_file().is_none());
        assert_eq!(refused(host, BOTH).0, 11);
        host.sh("ip link set eth0 mtu 1500");
        host.is("watching");
    });
}

#[test]
fn a_prefix_that_meets_a_route_of_the_host() {
    isolated(|| {
        let cluster = Cluster::created(V4);
        let host = &cluster.hosts[0];
        host.sh("ip link add lan type bridge; ip link set lan up; ip addr add 10.201.3.1/24 dev lan");
        let before = host.kernel();
        host.configure(&cluster.conf());
        host.start();
        host.says("what it meets", |health| {
            let reason = health["reason"].as_str().unwrap_or_default();
            reason.contains("10.201.3.0/24") && reason.contains("lan")
        });
        assert!(host.run_file().is_none());
        assert_eq!(host.kernel(), before);
        // It is seen within a minute, or when somebody asks.
        host.sh("ip link del lan");
        host.ask("POST", "/networks/wide/sync").unwrap();
        host.is("watching");
    });
}

#[test]
fn a_file_that_is_none_stops_no_other_network() {
    isolated(|| {
        let cluster = Cluster::created(V4);
        let host = &cluster.hosts[0];
        for (name, text) in [
            ("torn", "{\"engine\":"),
            ("odd", "{\"engine\": {\"type\": \"etcd\", \"endpoints\": []}}"),
            ("other", "[]"),
        ] {
            fs::write(host.path(format!("etc/overlay/{name}.json")), text).unwrap();
        }
        fs::write(host.path("etc/overlay/README"), "no network").unwrap();
        fs::write(host.path("etc/overlay/.wide.json.swp"), "x").unwrap();
        host.configure(&cluster.conf());
        host.start();
        host.is("watching");
        let log = host.log();
        for name in ["torn", "odd", "other"] {
            assert!(log.lines().any(|line| line.contains(name)), "{name}: {log}");
        }
        // Mended while it runs, and taken away.
        let mut conf = cluster.conf();
        conf.as_object_mut().unwrap().remove("id");
        host.configure_as("torn", &conf);
        until("the network is known", || {
            host.ask("GET", "/networks/torn").is_some_and(|(status, _)| status == 200)
        });
        host.is("watching");
        let kernel = host.kernel();
        fs::remove_file(host.path(format!("etc/overlay/{NET}.json"))).unwrap();
        until("its part has ended", || {
            host.ask("GET", &format!("/networks/{NET}")).is_some_and(|(status, _)| status == 404)
        });
        assert_eq!(host.kernel(), kernel, "and nothing in the kernel has");
    });
}
