//! `network create -d overlay`, `join`, `leave` and `rm`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::{Host, Namespaced, isolated};
use serde_json::{Value, json};

use super::stand_in::{
    CONF, CONFLIST, ID, RUN_FILE, StandIn, call, calls, json_of, ok, refused, remove_part,
};
use crate::shared::shell::shell;

const CREATE: &str = "network create -d overlay --engine etcd://h1:2379,h2 shop";
const JOIN: &str = "network join --engine etcd://h1:2379,h2 shop";

fn read(file: &str) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Nothing of the network is on this host.
fn assert_nothing() {
    for file in [CONF, CONFLIST] {
        assert!(!Path::new(file).exists(), "{file}");
    }
}

#[test]
fn what_was_asked_for_gets_to_the_engine_and_into_both_files() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        fs::write("/run/password", "secret").unwrap();
        let id = ok(&format!(
            "{CREATE} --subnet 10.201.0.0/16 --user n1 --password-file /run/password --node n1 --interface lan0 --mtu 1400 \
             --opt encrypted --opt vni=99 --opt port=8472 --icc=false --block-length 26"
        ));
        assert_eq!(id.trim().len(), 64, "as of other networks: {id}");
        assert_eq!(calls(), ["create shop"]);
        let engine = json!({"type": "etcd", "endpoints": ["http://h1:2379", "http://h2:2379"], "user": "n1",
            "passwordFile": "/run/password"});
        let mut conf = json!({"engine": engine, "node": "n1", "interface": "lan0"});
        assert_eq!(
            StandIn::was_given("create"),
            json!({"conf": conf, "prefixes": ["10.201.0.0/16"], "blockLengths": [26], "backend": "wireguard", "vni": 99,
                "port": 8472, "mtu": 1400})
        );
        conf["id"] = ID.into();
        assert_eq!(read(CONF), conf);
        assert_eq!(fs::metadata(CONF).unwrap().permissions().mode() & 0o7777, 0o600);
        let bridge = &read(CONFLIST)["plugins"][0];
        assert_eq!((&bridge["overlay"], &bridge["icc"]), (&json!("shop"), &json!(false)));
        assert_eq!(bridge["ipam"], json!({"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]}));

        let network = &json_of("network inspect shop")[0];
        assert_eq!((&network["Driver"], &network["Scope"]), (&json!("overlay"), &json!("global")));
        assert_eq!(
            network["IPAM"]["Config"][0],
            json!({"Subnet": "10.201.0.0/16", "Gateway": "10.201.7.1",
            "IPRange": "10.201.7.0/24"})
        );
        assert_eq!(network["Peers"], json!([{"Name": "n2", "IP": "192.0.2.2"}]));
        assert_eq!(network["Overlay"]["Engine"]["endpoints"][1], "http://h2:2379");
        let shown = ok("network inspect shop") + &ok("network ls");
        for words in ["http://h1:2379, http://h2:2379", "watching", "10.201.8.0/24", "overlay", "global"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
        refused(CREATE, "it is there already, in /run/net.d/zz-shop.conflist");
        assert_eq!(calls(), Vec::<String>::new(), "and the engine is not asked");
    });
}

#[test]
fn without_a_subnet_a_free_one_is_chosen_and_one_in_use_is_refused() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        shell("ip link add far type bridge && ip link set far up && ip route add 10.201.9.0/24 dev far");
        refused(&format!("{CREATE} --subnet 10.201.0.0/16"), "overlaps with a route");
        refused(
            JOIN,
            "the network's subnet 10.201.0.0/16 overlaps with a route or an address of this host to 10.201.9.0/24",
        );
        assert_eq!(calls(), ["show shop --conf -"], "nothing was made");
        assert_nothing();
        ok(&format!("{CREATE} --ipv6"));
        let prefixes = StandIn::was_given("create")["prefixes"].clone();
        assert_eq!(prefixes[0], "10.202.0.0/16");
        let v6 = prefixes[1].as_str().unwrap();
        assert!(v6.starts_with("fd") && v6.ends_with("::/48"), "{v6}");
    });
}

#[test]
fn bad_input_is_refused_before_anything_is_asked() {
    isolated(|| {
        let _host = Host::new();
        StandIn::install();
        for (line, words) in [
            ("network create -d overlay shop", "--engine etcd://HOST:2379"),
            ("network create --engine etcd://h1 shop", "add -d overlay"),
            ("network create -o vni=7 shop", "add -d overlay"),
            ("network create -d overly shop", "did you mean overlay?"),
            (
                "network create -d overlay --engine etcd://h1 --gateway 10.0.0.1 shop",
                "each node gets a block",
            ),
            (
                "network create -d overlay --engine etcd://h1 --cacert /no/ca shop",
                "--cacert /no/ca: no such file",
            ),
            (
                "network create -d overlay --engine etcd://h1 --subnet 10.201.0.1/16 shop",
                "its subnet is 10.201.0.0/16",
            ),
            (
                "network create -d overlay --engine etcd://h1 --block-length 24 --block-length 64 shop",
                "once for each",
            ),
            ("network create -d overlay --engine etcd://h1 a/b", "a/b"),
            ("network join shop", "--engine etcd://HOST:2379"),
            ("network join --engine etcd://h1 --opt encrypted shop", "when the network is created"),
            ("network leave shop", "no such network"),
        ] {
            refused(line, words);
        }
        let said = refused("network join --engine etcd://root:secret@h1 shop", "--password-file");
        assert!(!said.contains("secret"), "{said}");
        assert_eq!(calls(), Vec::<String>::new());
        assert_nothing();
        fs::remove_file("/run/bin/cleat-overlay").unwrap();
        let mut without = super::stand_in::command(JOIN);
        let said = String::from_utf8(without.env("PATH", "/usr/bin").output().unwrap().stderr).unwrap();
        assert!(said.contains("neither beside cleat nor in PATH") && said.contains("install it"), "{said}");
    });
}

#[test]
fn what_the_engine_refuses_is_passed_on_and_nothing_is_left() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        let said = "create network shop in etcd: no endpoint answers; start etcd";
        StandIn::fails("create", Some(said));
        assert_eq!(refused(CREATE, said).trim(), format!("cleat: {said}"));
        StandIn::fails("show", Some("network shop: the engine has none; create it"));
        refused(JOIN, "the engine has none");
        calls();
        assert_nothing();
        assert!(!Path::new("/run/net.d/.cleat.lock").exists());
    });
}

#[test]
fn a_node_that_the_agent_refuses_is_taken_back() {
    isolated(|| {
        let _host = Host::new();
        let agent = StandIn::start();
        agent.says("state", "refused".into());
        agent.says("reason", "node n1 is machine b's; name this one with --node".into());
        refused(CREATE, "network shop: node n1 is machine b's; name this one with --node");
        assert_eq!(calls(), ["create shop", "remove shop", "delete shop --conf -"]);
        assert_eq!(StandIn::was_given("delete")["id"], ID, "this network, and no other of its name");
        assert_nothing();
        refused(JOIN, "node n1 is machine b's");
        assert_eq!(calls(), ["show shop --conf -", "remove shop"], "the network is others'");
        assert_nothing();
    });
}

#[test]
fn without_a_running_agent_it_is_said_how_to_start_it() {
    isolated(|| {
        let _host = Host::new();
        StandIn::install();
        let said = ok(CREATE);
        assert!(
            said.contains("cleat-overlay does not run: `systemctl enable --now cleat-overlay`"),
            "{said}"
        );
        assert!(Path::new(CONF).exists() && Path::new(CONFLIST).exists());
    });
}

#[test]
fn a_host_joins_and_leaves() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        ok(&format!("{JOIN} --ingress any --node n1"));
        assert_eq!(calls(), ["show shop --conf -"]);
        assert_eq!(read(CONF)["id"], ID);
        assert_eq!(read(CONFLIST)["plugins"][0].get("ingress"), None);
        refused(JOIN, "this host is on it, by /etc/cleat/overlay/shop.json");
        let web = Namespaced::new("web");
        ok(&format!("add shop {} --id web", web.path().display()));
        for line in ["network leave shop", "network leave --force shop", "network rm shop"] {
            refused(line, "web is on it");
        }
        assert!(!calls().iter().any(|call| call.starts_with("remove")));
        ok(&format!("del shop {} --id web", web.path().display()));
        StandIn::fails("remove", Some("leave network shop: no endpoint answers; --force does without"));
        refused("network leave shop", "--force does without");
        assert!(Path::new(CONF).exists() && Path::new(CONFLIST).exists(), "as it was");
        StandIn::fails("remove", None);
        calls();
        assert_eq!(ok("network leave --force shop"), "shop\n");
        assert_eq!(calls(), ["remove shop --force"]);
        assert_nothing();
        assert!(!Path::new("/var/lib/cni/networks/shop").exists(), "leases");
        // Its file has gone, and with it all that could be asked.
        ok(JOIN);
        fs::remove_file(CONF).unwrap();
        StandIn::fails("remove", Some("network shop: there is no /etc/cleat/overlay/shop.json"));
        refused("network leave shop", "there is no /etc/cleat/overlay/shop.json");
        refused("network rm shop", "`cleat network leave --force shop` does without");
        ok("network leave --force shop");
        assert_nothing();
    });
}

#[test]
fn another_network_of_the_name_needs_force() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        ok(&format!("{JOIN} --node n1"));
        let mut conf = read(CONF);
        conf["id"] = "another".into();
        fs::write(CONF, conf.to_string()).unwrap();
        calls();
        refused(JOIN, &format!("the engine has network {ID}, and this host is on another of the same name"));
        assert_eq!(read(CONF), conf);
        // The host's own routes to the network's addresses are not in its way.
        ok(&format!("{JOIN} --force --internal"));
        assert_eq!(calls(), ["show shop --conf -", "show shop --conf -", "remove shop --force"]);
        assert_eq!((&read(CONF)["id"], read(CONF).get("node")), (&json!(ID), None));
        assert_eq!(read(CONFLIST)["plugins"][0]["internal"], true);
        fs::write(CONFLIST, fs::read_to_string(CONFLIST).unwrap().replace(r#""overlay": "shop","#, ""))
            .unwrap();
        refused(&format!("{JOIN} --force"), "another network of that name");
    });
}

#[test]
fn rm_deletes_the_network_with_its_last_node_and_prune_leaves_it_alone() {
    isolated(|| {
        let _host = Host::new();
        let _agent = StandIn::start();
        ok(JOIN);
        ok("network create other");
        ok("network prune -f");
        assert!(Path::new(CONFLIST).exists());
        calls();
        let said = ok("network rm shop");
        assert!(said.contains("it goes on without this host, on n2"), "{said}");
        assert_eq!(calls(), ["nodes shop", "remove shop"]);
        assert_nothing();
        remove_part();
        ok(CREATE);
        let one = json!({"nodes": [{"name": "n1", "alive": true, "blocks": ["10.201.7.0/24"]}]});
        StandIn::answers("nodes", &one);
        calls();
        StandIn::fails("nodes", Some("nodes of network shop: no endpoint answers; start etcd"));
        let said = refused("network rm shop", "no endpoint answers");
        assert!(said.contains("`cleat network leave --force shop` takes it off this host alone"), "{said}");
        assert!(Path::new(CONF).exists() && Path::new(CONFLIST).exists() && Path::new(RUN_FILE).exists());
        StandIn::fails("nodes", None);
        ok("network rm shop");
        assert_eq!(calls(), ["nodes shop", "nodes shop", "remove shop", "delete shop --conf -"]);
        assert_nothing();
        assert_eq!(call("network rm shop").0, Some(1));
    });
}
