//! Pods of several namespaces on one network, some of which belong to an attacker: which pod a name means, which pods see it,
//! and which pods a link reaches. Each is added as a container runtime adds pods of Kubernetes.

use std::fs;

use sandbox::{Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::pods::{ANNOTATIONS, Apart, Pods, addresses, args_of, env, hosts, notes};
use crate::shared::cleat::{NETWORKS, cleat, json_of, succeed};
use crate::shared::members::{assert_closed, assert_open, host, serve, ways};
use crate::shared::programs::{BRIDGE, LINK_ENV};

#[test]
fn no_name_of_a_pod_reaches_another_namespace() {
    isolated(|| {
        let pods = Pods::new("pods", json!({}));
        pods.add("prod/web", "10.1.0.2", &[]);
        pods.add("prod/db", "10.1.0.3", &[("aliases", "pg")]);
        let _ = pods.root("tool", "10.1.0.4", "LINK_NAME=tool").result();
        let victims = ["web-of-prod", "db-of-prod", "tool"];
        let before = victims.map(hosts);
        assert_eq!(addresses("web-of-prod"), ["10.1.0.2", "10.1.0.3"]);
        assert_eq!(addresses("tool"), ["10.1.0.4"]);
        for name in ["web", "web.prod", "web.pods"] {
            assert!(before[0]["10.1.0.2"].contains(&name.to_owned()), "{before:?}");
        }

        // A name that is not a single label, or that programs read as something else, is refused, and nothing is changed.
        for name in [
            "api.stripe.com",
            "web.prod",
            "db.prod.svc.cluster.local",
            "localhost",
            "*",
            "10",
            "0x7f000001",
            "1.2.3.4",
        ] {
            for (annotation, text) in [
                ("aliases", format!("ok,{name}")),
                ("name", name.to_owned()),
                ("links", format!("web:{name}")),
            ] {
                let (code, message) = pods.pod("evil/x", "10.1.0.66", &[(annotation, &text)]).error();
                assert!(
                    code == 7 && message.contains(&format!("{name:?}")),
                    "{annotation}: {code} {message}"
                );
            }
        }
        assert!(!fs::exists("/run/cleat/containers/x-of-evil").unwrap());
        // Other names count in the pod's own namespace alone, and so does the pod's name.
        pods.add("evil/x", "10.1.0.66", &[("aliases", "web,db,pg,tool,kubernetes"), ("allow-from", "other")]);
        pods.add("evil/web", "10.1.0.67", &[]);
        pods.add("evil/y", "10.1.0.68", &[("name", "db")]);
        pods.add("evil/web.prod", "10.1.0.69", &[]);
        pods.add("evil/localhost", "10.1.0.70", &[]);
        assert_eq!(victims.map(hosts), before);
        let own = hosts("x-of-evil");
        assert_eq!(own.len(), 5, "{own:?}");
        assert_eq!(own["10.1.0.69"], ["web-prod-of-evil.pods", "web-prod-of-evil", "web-prod-of-evil.evil"]);
        for (id, address) in [("web-of-prod", "10.1.0.2"), ("x-of-evil", "10.1.0.66"), ("tool", "10.1.0.4")] {
            pods.check(id, address);
        }
        for id in ["x", "web", "y", "web-prod", "localhost"] {
            pods.del(&format!("{id}-of-evil"));
        }
        assert_eq!(victims.map(hosts), before);
        for id in victims {
            pods.del(id);
        }
        assert!(!fs::exists("/run/cleat").unwrap());
    });
}

/// A namespace may have the network's name, and a container a name like that of a pod with its namespace.
#[test]
fn names_with_dots_are_made_of_the_runtimes_words_and_held_by_nobody_else() {
    isolated(|| {
        let pods = Pods::new("prod", json!({}));
        pods.add("prod/web", "10.1.0.2", &[("allow-from", "*")]);
        pods.add("shop/web", "10.1.0.3", &[]);
        pods.add("shop/front", "10.1.0.4", &[]);
        // web.prod is pod web of the own namespace with the network's name, whatever namespace prod allows.
        let seen = hosts("front-of-shop");
        assert!(seen["10.1.0.3"].contains(&"web.prod".to_owned()), "{seen:?}");
        assert!(!seen.contains_key("10.1.0.2"), "{seen:?}");
        // A container of the node with the name cache.prod is not pod cache of namespace prod.
        let _ = pods.root("rooted", "10.1.0.5", "LINK_NAME=cache.prod").result();
        let (code, message) = pods.pod("prod/x", "10.1.0.6", &[("links", "cache:c")]).error();
        assert!(code == 7 && message.starts_with("cannot link to a non running container"), "{message}");
        let (_, message) = pods.pod("shop/x", "10.1.0.6", &[("links", "cache.prod:c")]).error();
        assert!(message.contains("allows namespace shop"), "{message}");
        let rooted = pods.root("asking", "10.1.0.7", "LINK_LINKS=cache.prod:c");
        let _ = rooted.result();
        assert_eq!(hosts("asking")["10.1.0.5"][0], "c");
    });
}

/// On a network with all names, and on one with those of links alone.
#[test]
fn another_namespace_is_reached_where_the_source_allows_it_and_not_otherwise() {
    isolated(|| {
        for names in ["network", "links"] {
            let pods = Pods::new("pods", json!({"names": names}));
            let db = [("env", "PASSWORD=hunter2"), ("expose", "5432"), ("aliases", "pg")];
            pods.add("prod/db", "10.1.0.2", &db);
            let refused = |source: &str| {
                let (code, message) =
                    pods.pod("evil/x", "10.1.0.66", &[("links", &format!("{source}:x"))]).error();
                assert!(code == 7 && !message.contains("10.1.0.2"), "{message}");
                assert!(!fs::exists("/run/cleat/containers/x-of-evil").unwrap());
                message.replace(source, "SOURCE")
            };
            // The answer is the same whether the source exists or not.
            let message = refused("db.prod");
            assert!(message.contains("link-env.cni/allow-from: \"evil\""), "{message}");
            assert_eq!(refused("nobody.prod"), message);
            assert_eq!(refused("pg.prod"), message);
            assert_eq!(refused("db.nowhere"), message);
            let own = refused("db");
            assert!(own.starts_with("cannot link to a non running container"), "{own}");
            // An ID does not help either.
            assert_eq!(refused("db-of-prod"), own);
            assert_eq!(refused("db-of-prod.prod"), message);

            pods.del("db-of-prod");
            let mut allowing = db.to_vec();
            allowing.push(("allow-from", "shop, other"));
            pods.add("prod/db", "10.1.0.2", &allowing);
            assert_eq!(refused("db.prod"), message);
            pods.add("shop/app", "10.1.0.3", &[("links", "db.prod:store,pg.prod:pg")]);
            assert!(env("app-of-shop").contains("STORE_ENV_PASSWORD='hunter2'\n"), "{names}");
            assert!(env("app-of-shop").contains("STORE_PORT_5432_TCP_ADDR='10.1.0.2'\n"), "{names}");
            // A member that sees all of its own namespace sees all names of a source that allows it.
            let mut known = vec!["store", "db.prod", "pg"];
            known.extend(Some("pg.prod").filter(|_| names == "network"));
            let seen = hosts("app-of-shop");
            assert_eq!(seen["10.1.0.2"], known);
            // The own namespace has a pod db as well, and no name of prod's db means it.
            pods.add("shop/db", "10.1.0.4", &[]);
            let seen = hosts("app-of-shop");
            assert_eq!(seen["10.1.0.2"], known);
            assert_eq!(seen.contains_key("10.1.0.4"), names == "network", "{seen:?}");
            // Without a link, a member that sees all of its own namespace sees the source by its full names.
            pods.add("shop/other", "10.1.0.5", &[]);
            let seen = hosts("other-of-shop");
            let guest = seen.get("10.1.0.2").cloned().unwrap_or_default();
            assert_eq!(guest, if names == "network" { vec!["db.prod", "pg.prod"] } else { vec![] });
            for (id, address) in [("app-of-shop", "10.1.0.3"), ("other-of-shop", "10.1.0.5")] {
                pods.check(id, address);
            }
            // The source sees none of its recipients.
            assert_eq!(addresses("db-of-prod"), ["10.1.0.2"]);

            // The source is deleted and added with another address, and its recipients follow.
            pods.del("db-of-prod");
            for id in ["app-of-shop", "other-of-shop"] {
                assert!(!hosts(id).contains_key("10.1.0.2"), "{names}");
            }
            pods.add("prod/db", "10.1.0.9", &[("allow-from", "*"), ("aliases", "pg")]);
            assert_eq!(hosts("app-of-shop")["10.1.0.9"], known);
            assert_eq!(hosts("other-of-shop").contains_key("10.1.0.9"), names == "network");
            for (id, address) in [("app-of-shop", "10.1.0.3"), ("other-of-shop", "10.1.0.5")] {
                pods.check(id, address);
            }
            // Recipients lose the source when it no longer allows them.
            pods.add("prod/db", "10.1.0.9", &[("aliases", "pg")]);
            for id in ["app-of-shop", "other-of-shop"] {
                assert!(!hosts(id).contains_key("10.1.0.9"), "{names}");
            }
            for id in ["db-of-prod", "app-of-shop", "db-of-shop", "other-of-shop"] {
                pods.del(id);
            }
            assert!(!fs::exists("/run/cleat").unwrap());
        }
    });
}

#[test]
fn a_link_to_what_is_not_allowed_is_as_one_to_what_is_not_there() {
    isolated(|| {
        let pods = Pods::new("pods", json!({"names": "links", "waitForLinks": true}));
        pods.add("prod/db", "10.1.0.2", &[("env", "PASSWORD=hunter2"), ("expose", "5432")]);
        pods.add("evil/x", "10.1.0.66", &[("links", "db.prod:db,none.prod:none")]);
        assert_eq!(env("x-of-evil"), "");
        assert_eq!(addresses("x-of-evil"), ["10.1.0.66"]);
        pods.check("x-of-evil", "10.1.0.66");
        // Where the source allows another namespace, there is still nothing.
        pods.add("prod/db", "10.1.0.2", &[("allow-from", "other"), ("env", "PASSWORD=hunter2")]);
        assert_eq!(addresses("x-of-evil"), ["10.1.0.66"]);
        pods.add("prod/db", "10.1.0.2", &[("allow-from", "evil")]);
        assert_eq!(hosts("x-of-evil")["10.1.0.2"], ["db", "db.prod"]);
    });
}

#[test]
fn a_name_that_somebody_has_taken_keeps_no_pod_from_starting() {
    isolated(|| {
        let pods = Pods::new("pods", json!({}));
        pods.add("prod/squatter", "10.1.0.66", &[("name", "web")]);
        pods.add("prod/reader", "10.1.0.3", &[("links", "web:w")]);
        assert_eq!(hosts("reader-of-prod")["10.1.0.66"][0], "w");
        // This pod has the name from its runtime, which counts more than an annotation.
        pods.add("prod/web", "10.1.0.2", &[]);
        assert_eq!(
            hosts("reader-of-prod")["10.1.0.2"],
            ["w", "web-of-prod", "web", "web.pods", "web.prod", "web-of-prod.pods"]
        );
        let squatter = &hosts("reader-of-prod")["10.1.0.66"];
        assert!(!squatter.contains(&"web".to_owned()) && squatter.contains(&"squatter-of-prod".to_owned()));
        assert!(notes("squatter-of-prod").contains("name \"web\" went to container web-of-prod"));
        for (id, address) in
            [("squatter-of-prod", "10.1.0.66"), ("reader-of-prod", "10.1.0.3"), ("web-of-prod", "10.1.0.2")]
        {
            pods.check(id, address);
        }
        // A pod that asks for a name in use is refused. In another namespace, the name is free.
        let (code, message) = pods.pod("prod/late", "10.1.0.67", &[("name", "web")]).error();
        assert!(code == 102 && message.contains("container web-of-prod"), "{message}");
        pods.add("evil/late", "10.1.0.67", &[("name", "web")]);
        // A pod that is added again before the earlier one is deleted.
        let again = pods.call("ADD", "newer", "10.1.0.8", &args_of("prod/web"), &[]).run();
        let _ = again.result();
        assert_eq!(hosts("reader-of-prod")["10.1.0.8"][0], "w");
        // A network's address belongs to one member: to that of the latest ADD.
        pods.add("other/z", "10.1.0.8", &[]);
        assert!(!hosts("reader-of-prod").contains_key("10.1.0.8"));
        for id in ["squatter-of-prod", "reader-of-prod", "web-of-prod", "late-of-evil", "newer", "z-of-other"]
        {
            pods.del(id);
        }
        assert!(!fs::exists("/run/cleat").unwrap());
    });
}

#[test]
fn the_operator_says_which_annotations_count() {
    isolated(|| {
        let listed = json!({"annotations": ["links", "expose", "share-env", "allow-from"]});
        let pods = Pods::new("pods", listed);
        let all =
            [("name", "other"), ("aliases", "a.b"), ("env", "A=1"), ("expose", "80"), ("share-env", "true")];
        pods.add("prod/web", "10.1.0.2", &all);
        assert_eq!(
            hosts("web-of-prod")["10.1.0.2"],
            ["web-of-prod", "web", "web.prod", "web.pods", "web-of-prod.pods"]
        );
        for ignored in ["name", "aliases", "env"] {
            assert!(
                notes("web-of-prod").contains(&format!("link-env.cni/{ignored} is ignored")),
                "{ignored}"
            );
        }
        assert_eq!(notes("web-of-prod").lines().count(), 3);
        pods.add("prod/app", "10.1.0.3", &[("links", "web:w")]);
        assert!(env("app-of-prod").contains("W_PORT_80_TCP=") && !env("app-of-prod").contains("W_ENV_"));
        let (code, message) = pods.pod("prod/x", "10.1.0.4", &[("link", "web")]).error();
        assert!(code == 7 && message.contains("unknown pod annotation"), "{message}");
    });
}

/// podman 3 passes the container's name as its namespace, too.
#[test]
fn containers_of_a_network_without_namespaces_find_each_other() {
    isolated(|| {
        let pods = Pods::new("podman", json!({"namespaces": false}));
        for (name, address) in [("a", "10.1.0.2"), ("b.c", "10.1.0.3")] {
            let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={name};K8S_POD_NAME={name}");
            let _ = pods.root(name, address, &args).result();
        }
        assert!(hosts("a")["10.1.0.3"].contains(&"b.c".to_owned()));
        let kubernetes = Pods::new("pods", json!({}));
        kubernetes.add("a/a", "10.2.0.2", &[]);
        let _ = kubernetes.root("tool", "10.2.0.3", "LINK_NAME=tool").result();
        assert_eq!(addresses("tool"), ["10.2.0.3"]);
        assert_eq!(addresses("a-of-a"), ["10.2.0.2"]);
    });
}

/// Real packets, where a bridge keeps its members apart except for links.
#[test]
fn a_link_opens_ports_of_another_namespace_where_the_source_allows_it() {
    isolated(|| {
        let _host = host();
        let [db, friend, enemy] = ["db", "friend", "enemy"].map(Namespaced::new);
        let before = Snapshot::take();
        let mut db = Apart::add(&db, "prod/db", &[("expose", "5432,5432/udp"), ("allow-from", "shop")]);
        serve(db.netns, 5432);
        let friend = Apart::add(&friend, "shop/app", &[("links", "db.prod:db")]);
        let enemy = Apart::add(&enemy, "evil/x", &[("links", "db.prod:db")]);
        let at = [format!("{}:5432", db.address)];
        assert_open(&ways(Some(friend.netns), &at));
        assert_closed(&ways(Some(enemy.netns), &at));
        db.call(LINK_ENV, "CHECK").run().silent();
        friend.call(LINK_ENV, "CHECK").run().silent();
        // The source no longer allows namespace shop.
        db.says(&[("expose", "5432,5432/udp")]);
        assert_closed(&ways(Some(friend.netns), &at));
        db.says(&[("expose", "5432,5432/udp"), ("allow-from", "*")]);
        assert_open(&ways(Some(friend.netns), &at));
        assert_open(&ways(Some(enemy.netns), &at));
        for attached in [&db, &friend, &enemy] {
            attached.call(LINK_ENV, "DEL").run().silent();
            attached.call(BRIDGE, "DEL").run().silent();
        }
        before.assert_unchanged();
    });
}

/// Two pods of one name: `cleat` distinguishes them, and shows the node's operator which links lead nowhere.
#[test]
fn cleat_tells_namespaces_apart_and_which_links_lead_nowhere() {
    isolated(|| {
        let _host = host();
        fs::create_dir_all(NETWORKS).unwrap();
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "br-pods", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]}},
            {"type": "link-env", "names": "links", "waitForLinks": true, "annotations": ["links", "allow-from"],
                "capabilities": {ANNOTATIONS: true}},
        ]});
        fs::write(format!("{NETWORKS}/pods.conflist"), list.to_string()).unwrap();
        let containers = ["web-of-prod", "web-of-dev"].map(Namespaced::new);
        let call = |verb: &str, place: usize, annotations: Value| {
            let netns = &containers[place];
            let pod = ["prod/web", "dev/web"][place];
            let mut command = cleat(&[verb, "pods", netns.path().to_str().unwrap(), "--id", netns.name()]);
            command.env("CNI_ARGS", args_of(pod));
            command.env("CAP_ARGS", json!({ANNOTATIONS: annotations}).to_string());
            succeed(&mut command)
        };
        call("add", 0, json!({"link-env.cni/name": "db", "link-env.cni/links": "late:l"}));
        call("add", 1, json!({"link-env.cni/links": "web.prod:w"}));
        let why = |id: &str| {
            let checked = json_of(&["check"]);
            let row = checked.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
            assert_eq!(row["state"], "ok", "{row}");
            row["why"].as_str().unwrap().to_owned()
        };
        let told = why("web-of-prod");
        assert!(told.contains("annotation link-env.cni/name is ignored"), "{told}");
        assert!(told.contains("link to late: nobody of that name is there"), "{told}");
        let told = why("web-of-dev");
        assert!(told.contains("link to web.prod: nobody of that name allows namespace dev"), "{told}");
        // After the source is made again, it does.
        call("del", 0, json!({}));
        call("add", 0, json!({"link-env.cni/allow-from": "dev"}));
        assert_eq!(why("web-of-dev"), "");
        let names: Vec<Value> =
            json_of(&["ps"]).as_array().unwrap().iter().map(|row| row["namespace"].clone()).collect();
        assert_eq!(names, ["dev", "prod"]);
        for table in [succeed(&mut cleat(&["ps"])), succeed(&mut cleat(&["network", "inspect", "pods"]))] {
            assert!(table.contains("prod/web") && table.contains("dev/web"), "{table}");
        }
        let graph = succeed(&mut cleat(&["graph", "--format", "dot"]));
        assert!(graph.contains("prod/web") && graph.contains("dev/web") && graph.contains("->"), "{graph}");
        for called in ["dev/web", "web.dev", "web-of-dev"] {
            assert_eq!(json_of(&["inspect", called])[0]["Id"], "web-of-dev", "{called}");
        }
        let output = cleat(&["inspect", "web"]).output().unwrap();
        assert!(!output.status.success(), "web is two containers: {output:?}");
        for place in [0, 1] {
            call("del", place, json!({}));
        }
    });
}
