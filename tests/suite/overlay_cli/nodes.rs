//! `cleat node`.

use std::fs;

use sandbox::{Host, isolated};
use serde_json::{Value, json};

use super::stand_in::{StandIn, calls, json_of, ok, refused};

const JOIN: &str = "network join --engine etcd://h1 ";

#[test]
fn nodes_are_listed_with_what_the_engine_and_the_agent_know() {
    isolated(|| {
        let _host = Host::new();
        let agent = StandIn::start();
        refused("node ls", "this host is on no overlay network");
        ok(&format!("{JOIN}shop"));
        agent.says(
            "peers",
            json!([{"name": "n2", "state": "no-common-family", "reason": "it has IPv6 alone"}]),
        );
        let all = json_of("node ls");
        let of = |node: usize, keys: [&str; 4]| keys.map(|key| all[node][key].clone());
        let keys = ["name", "own", "state", "alive"];
        assert_eq!(of(0, keys), [json!("n1"), json!(true), json!("ok"), json!(true)]);
        assert_eq!(of(1, keys), [json!("n2"), json!(false), json!("no-common-family"), json!(false)]);
        let table = ok("node ls shop");
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("NAME   ADDRESS") && lines[0].ends_with("SEEN"), "{table}");
        assert!(
            lines[1].starts_with("n1 *") && lines[1].contains("ok") && lines[1].contains("   for "),
            "{table}"
        );
        assert!(lines[2].contains("10.201.8.0/24") && lines[2].ends_with("no"), "{table}");
        assert_eq!(json_of("node inspect n2"), Value::Array(vec![all[1].clone()]));
        let shown = ok("node inspect n2 shop");
        assert!(shown.contains("no-common-family: it has IPv6 alone"), "{shown}");
        refused("node inspect n3", "network shop has no such node");
        calls();
        refused("node rm n1", "`cleat network leave shop` takes this host off");
        ok("node rm n2 --force");
        assert_eq!(calls(), ["nodes shop", "nodes shop", "remove-node shop --force -- n2"]);
        StandIn::fails(
            "remove-node",
            Some("remove node n2 of network shop: it is alive; --force removes it all the same"),
        );
        refused("node rm n2", "it is alive");
        // Who is to ask must know which network.
        ok("network create plain");
        refused("node ls plain", "of this host alone");
        refused("node ls shp", "did you mean shop?");
        let text = fs::read_to_string("/run/net.d/zz-shop.conflist")
            .unwrap()
            .replace("shop", "more")
            .replace("br-", "b2-");
        fs::write("/run/net.d/zz-more.conflist", text).unwrap();
        refused("node ls", "this host is on more, shop");
        ok("node ls shop");
    });
}

#[test]
fn sync_asks_the_agent_and_names_those_that_are_held_back() {
    isolated(|| {
        let _host = Host::new();
        let agent = StandIn::start();
        ok(&format!("{JOIN}shop"));
        calls();
        agent.says("held", json!(["n2", "n3"]));
        let said = ok("node sync");
        assert!(said.contains("are kept: n2, n3 (--force removes them)"), "{said}");
        ok("node sync shop --force");
        assert_eq!(
            calls(),
            ["POST /networks/shop/sync HTTP/1.0", "POST /networks/shop/sync?force=true HTTP/1.0"]
        );
        fs::remove_file("/run/cleat/overlay.sock").unwrap();
        refused("node sync", "does not run");
    });
}

#[test]
fn the_graph_has_the_other_nodes() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        ok(&format!("{JOIN}shop"));
        let drawn = ok("graph --format mermaid");
        assert!(drawn.contains("shop · 10.201.0.0/16 · ingress published"), "{drawn}");
        assert!(drawn.contains(r#"n0c0["n2<br>192.0.2.2<br>10.201.8.0/24"]"#), "{drawn}");
        assert!(ok("graph").contains(">10.201.8.0/24<"));
    });
}
