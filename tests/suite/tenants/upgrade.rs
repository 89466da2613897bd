//! A node that is upgraded while twenty members run whose registry has no namespaces: pods of three namespaces and containers
//! of the node, on a network with all names and on one with those of links alone. `tests/data/registry/before-tenants.json` is
//! the state folder that commit 9a5d124 wrote for them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use sandbox::isolated;
use serde_json::json;

use super::pods::{Pods, env, hosts};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/registry/before-tenants.json");

/// Network, container and address of each member, in the order in which they joined; and the files.
type Recorded = (Vec<(String, String, String)>, BTreeMap<String, String>);

/// The networks of this version's programs, with the state folder of the earlier version.
struct Node {
    pods: Pods,
    linked: Pods,
    members: Vec<(String, String, String)>,
}

impl Node {
    fn new() -> Self {
        let (members, files): Recorded = serde_json::from_slice(&fs::read(RECORDED).unwrap()).unwrap();
        let state = std::path::Path::new("/run/cleat");
        // `settled` is written last, as it was: its date is that of the last change.
        let (dates, files): (Vec<_>, Vec<_>) = files.iter().partition(|(file, _)| file.ends_with("/settled"));
        for (file, text) in files.into_iter().chain(dates) {
            let path = state.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir_all("/run/netns").unwrap();
        for (_, id, _) in &members {
            fs::write(format!("/run/netns/{id}"), "").unwrap();
        }
        Self {
            pods: Pods::new("pods", json!({})),
            linked: Pods::new("linked", json!({"names": "links", "waitForLinks": true})),
            members,
        }
    }

    fn of(&self, network: &str) -> &Pods {
        if network == "pods" { &self.pods } else { &self.linked }
    }

    fn hosts(&self) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        self.members.iter().map(|(_, id, _)| (id.clone(), hosts(id))).collect()
    }

    fn check(&self, gone: &[&str]) {
        for (network, id, address) in &self.members {
            if !gone.contains(&id.as_str()) {
                self.of(network).check(id, address);
            }
        }
    }

    /// Deletes all members, after which nothing is left.
    fn end(&self, more: &[(&str, &str)]) {
        for (network, id, _) in &self.members {
            self.of(network).del(id);
        }
        for (network, id) in more {
            self.of(network).del(id);
        }
        assert!(!fs::exists("/run/cleat").unwrap(), "{:?}", fs::read_dir("/run/cleat").map(Iterator::count));
    }
}

/// The names in a hosts file, without those of addresses that came later.
fn without(hosts: &BTreeMap<String, Vec<String>>, later: &[&str]) -> BTreeMap<String, Vec<String>> {
    hosts
        .iter()
        .filter(|(address, _)| !later.contains(&address.as_str()))
        .map(|(a, n)| (a.clone(), n.clone()))
        .collect()
}

#[test]
fn twenty_members_keep_every_name_and_link_while_new_ones_come_and_go() {
    isolated(|| {
        let node = Node::new();
        assert_eq!(node.members.len(), 20);
        let before = node.hosts();
        node.check(&[]);
        assert_eq!(node.hosts(), before);
        for (pod, address) in
            [("prod/new", "10.1.0.100"), ("evil/web", "10.1.0.101"), ("dev/web-2", "10.1.0.102")]
        {
            node.pods.add(pod, address, &[]);
            node.check(&[]);
        }
        let _ = node.pods.root("rooted", "10.1.0.103", "LINK_NAME=rooted").result();
        node.linked.add("evil/db", "10.2.0.100", &[]);
        let later = ["10.1.0.100", "10.1.0.101", "10.1.0.102", "10.1.0.103"];
        let after = node.hosts();
        for (id, names) in &before {
            assert_eq!(&without(&after[id], &later), names, "{id}");
        }
        // Each member sees the new pods of its own namespace and the node's new container, and none sees the pod of evil.
        for (id, seen) in [
            ("prod-web", &["10.1.0.100", "10.1.0.103"][..]),
            ("dev-api", &["10.1.0.102", "10.1.0.103"]),
            ("shop-front", &["10.1.0.103"]),
            ("root-tool", &["10.1.0.103"]),
        ] {
            let found: Vec<&str> =
                later.into_iter().filter(|address| after[id].contains_key(*address)).collect();
            assert_eq!(found, seen, "{id}");
        }
        assert!(after["prod-web"]["10.1.0.100"].contains(&"new.prod".to_owned()));
        node.check(&[]);
        for id in ["new-of-prod", "web-of-evil", "web-2-of-dev", "rooted"] {
            node.pods.del(id);
        }
        node.linked.del("db-of-evil");
        node.check(&[]);
        assert_eq!(node.hosts(), before);
        node.end(&[]);
    });
}

#[test]
fn new_pods_find_those_of_their_namespace_that_were_there_and_nobody_elses() {
    isolated(|| {
        let node = Node::new();
        node.pods.add("prod/new", "10.1.0.100", &[("links", "db:one,pg:two,db.prod:three")]);
        let own = hosts("new-of-prod");
        for name in ["one", "two", "three", "db", "pg", "db.prod", "db.pods"] {
            assert!(own["10.1.0.3"].contains(&name.to_owned()), "{name}: {own:?}");
        }
        assert!(env("new-of-prod").contains("ONE_ENV_PASSWORD='hunter2'"));
        // The pods web, db, cache and app of its namespace, and itself.
        let addresses: Vec<&String> = own.keys().collect();
        assert_eq!(addresses, ["10.1.0.100", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"]);
        node.pods.check("new-of-prod", "10.1.0.100");
        node.pods.add("dev/new", "10.1.0.101", &[("links", "db:d")]);
        assert!(env("new-of-dev").contains("D_ENV_PASSWORD='dev'"));

        for source in ["db", "pg", "db.prod", "prod-db", "web.prod", "db.dev", "queue", "tool", "root-tool"] {
            let links = format!("{source}:x");
            let (code, message) = node.pods.pod("evil/x", "10.1.0.110", &[("links", &links)]).error();
            assert_eq!(code, 7, "{source}: {message}");
        }
        node.linked.add("evil/x", "10.2.0.110", &[("links", "db:a,db.prod:b,pg:c,rdb:d,l-prod-db:e")]);
        assert_eq!(env("x-of-evil"), "");
        assert_eq!(hosts("x-of-evil").len(), 1);
        node.linked.add("prod/y", "10.2.0.111", &[("links", "db:a,pg:c")]);
        assert!(env("y-of-prod").contains("A_ENV_PASSWORD='linked'"));
        let _ = node.linked.root("rnew", "10.2.0.112", "LINK_NAME=rnew;LINK_LINKS=rdb:db").result();
        assert_eq!(hosts("rnew")["10.2.0.6"][0], "db");
        node.check(&[]);
        node.end(&[
            ("pods", "new-of-prod"),
            ("pods", "new-of-dev"),
            ("linked", "x-of-evil"),
            ("linked", "y-of-prod"),
            ("linked", "rnew"),
        ]);
    });
}

/// Each source is made again by this version's programs: its recipients follow it, and no pod of evil takes its place.
#[test]
fn links_of_before_follow_sources_that_are_made_anew() {
    isolated(|| {
        let node = Node::new();
        node.pods.add("evil/db", "10.1.0.99", &[]);
        node.linked.add("evil/db", "10.2.0.99", &[]);
        for (network, old, address, recipient, aliases) in [
            ("pods", "prod-db", "10.1.0.120", "prod-app", &["database", "store"][..]),
            ("pods", "dev-db", "10.1.0.121", "dev-api", &["db2"]),
            ("linked", "l-prod-db", "10.2.0.120", "l-prod-app", &["db", "pg"]),
            ("linked", "l-dev-db", "10.2.0.121", "l-dev-app", &["db"]),
        ] {
            let pods = node.of(network);
            pods.del(old);
            let lost = hosts(recipient);
            assert!(
                !aliases.iter().any(|alias| lost.values().flatten().any(|name| name == alias)),
                "{lost:?}"
            );
            let namespace = old.trim_start_matches("l-").trim_end_matches("-db");
            let id = format!("{network}-{namespace}-anew");
            let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=db");
            let annotations = [("aliases", "pg"), ("expose", "5432")];
            let _ = pods.call("ADD", &id, address, &args, &annotations).run().result();
            let found = hosts(recipient);
            for alias in aliases {
                assert!(found[address].contains(&(*alias).to_owned()), "{recipient}: {found:?}");
            }
            node.check(&["prod-db", "dev-db", "l-prod-db", "l-dev-db"].map(|id| id));
        }
        node.linked.add("prod/comes", "10.2.0.122", &[]);
        assert_eq!(hosts("l-late")["10.2.0.122"][0], "later");
        // The same ADD again, as a repair does it, records the namespace of a member.
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=app";
        let annotations = [("links", "db:database,pg:store")];
        let _ = node.pods.call("ADD", "prod-app", "10.1.0.5", args, &annotations).run().result();
        assert!(hosts("prod-app")["10.1.0.120"].contains(&"database".to_owned()));
        assert!(!hosts("dev-api").contains_key("10.1.0.5"));
        assert!(hosts("prod-web")["10.1.0.5"].contains(&"app".to_owned()));
        node.check(&["prod-db", "dev-db", "l-prod-db", "l-dev-db"]);
        node.end(&[
            ("pods", "pods-prod-anew"),
            ("pods", "pods-dev-anew"),
            ("linked", "linked-prod-anew"),
            ("linked", "linked-dev-anew"),
            ("pods", "db-of-evil"),
            ("linked", "db-of-evil"),
            ("linked", "comes-of-prod"),
        ]);
    });
}
