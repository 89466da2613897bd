//! Nodes that come back changed, are taken for gone, or claim to be another.

use std::fs;
use std::thread;
use std::time::Duration;

use sandbox::isolated;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NET, V4, merge, until_reached};
use crate::containers::{Container, refused};
use crate::host::{Host, until};
use crate::ping::{none_is_lost, reaches};

/// The nodes as a host's program lists them.
fn listed(host: &Host) -> Vec<Value> {
    let text = host.overlay(&["nodes", NET], "");
    let list: Value = serde_json::from_str(&text).unwrap();
    list["nodes"].as_array().unwrap().clone()
}

#[test]
fn a_block_that_was_given_away_is_a_conflict_and_traffic_goes_on() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, _, three] = cluster.containers();
        let (host, block) = (&cluster.hosts[2], cluster.block(2).replace('/', "-"));
        let key = format!("blocks/{block}");
        let claim = cluster.get(&key).unwrap();
        assert_eq!(claim["node"], "host3");
        let ping = one.pings(&three);
        let conflicts = |given: &dyn Fn()| {
            given();
            host.is("conflict");
            let health = host.health();
            let reason = health["reason"].as_str().unwrap();
            assert!(reason.contains("stranger") && reason.contains(&cluster.block(2)), "{reason}");
            assert!(host.run_file().is_none());
            let (code, said) = refused(host, V4);
            assert_eq!(code, 11, "{said}");
            assert!(host.metric("cleat_overlay_conflicts").is_none_or(|count| count >= 1.0));
            // It is mended by the operator.
            cluster.put(&key, &claim);
            host.is("watching");
            until("the file is back", || host.run_file().is_some());
        };
        let given = json!({"node": "stranger", "machine": "5"});
        conflicts(&|| cluster.put(&key, &given));
        // While its agent was away.
        conflicts(&|| {
            host.kill();
            cluster.put(&key, &given);
            host.start();
        });
        Container::add(host, V4, "new").reaches(&one);
        none_is_lost([ping]);
    });
}

#[test]
fn the_own_record_and_claim_are_made_again() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, _, three] = cluster.containers();
        let ping = one.pings(&three);
        let (record, key) = ("nodes/host3", format!("blocks/{}", cluster.block(2).replace('/', "-")));
        cluster.delete(record);
        until("the record is there again", || cluster.get(record).is_some());
        cluster.delete(&key);
        until("the claim is there again", || cluster.get(&key).is_some());
        cluster.hosts[2].is("watching");
        cluster.hosts[0].has_peers(2);
        thread::sleep(Duration::from_millis(1500));
        none_is_lost([ping]);
    });
}

#[test]
fn a_node_that_is_gone_stays_until_it_is_removed() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [first, second, third] = &cluster.hosts;
        let alive =
            |host: &str| listed(first).iter().any(|node| node["name"] == host && node["alive"] == true);
        assert!(alive("host1") && alive("host2") && alive("host3"));
        let block = cluster.block(2);
        let error = first.refused(&["remove-node", NET, "host3"], "");
        assert!(error.contains("host3") && error.contains("--force"), "{error}");
        third.kill();
        // What shows that it is alive ends with its lease; here it is ended before.
        let leases = cluster.engine.etcdctl(&["get", "-w", "json", "/cleat/v1/wide/alive/host3"]);
        let leases: Value = serde_json::from_str(&leases).unwrap();
        let lease = leases["kvs"][0]["lease"].as_i64().unwrap();
        cluster.engine.etcdctl(&["lease", "revoke", &format!("{lease:x}")]);
        assert!(!alive("host3") && listed(first).len() == 3);
        // Nothing depends on it.
        assert!(first.sh("ip route").contains(&block));
        first.overlay(&["remove-node", NET, "host3"], "");
        for host in [first, second] {
            host.has_peers(1);
            until("its entries are gone", || !host.sh("ip route; bridge fdb").contains("198.51.100.3"));
            assert!(!host.sh("ip route; ip neigh").contains(block.trim_end_matches("/24")));
            assert!(!host.sh("nft list ruleset").contains("198.51.100.3 "));
        }
        assert_eq!(listed(first).len(), 2);
        assert!(!cluster.keys().iter().any(|key| key.contains(&block.replace('/', "-"))));
        // Back again, it is a node like any other.
        third.start();
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        cluster.containers();
    });
}

#[test]
fn many_nodes_that_vanish_at_once_are_kept_until_somebody_says_so() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [first, second, third] = &cluster.hosts;
        let [one, two, _] = cluster.containers();
        second.kill();
        third.kill();
        let ping = one.pings(&two);
        cluster.engine.etcdctl(&["del", "--prefix", "/cleat/v1/wide/nodes/"]);
        first.says("both are held", |health| health["held"].as_array().is_some_and(|held| held.len() == 2));
        thread::sleep(Duration::from_secs(2));
        assert!(first.metric("cleat_overlay_removals_held").is_none_or(|held| held >= 1.0));
        none_is_lost([ping]);
        let (status, said) = first.ask("POST", "/networks/wide/sync?force=true").unwrap();
        assert!(status < 300, "{status}: {said}");
        until("they are gone", || {
            !first.sh("ip route").contains("proto 76") || first.health()["peers"] == json!([])
        });
        assert!(!reaches(&one.netns, &two.at(7)[0]));
        second.start();
        third.start();
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        until_reached(&one, &two);
    });
}

#[test]
fn a_node_with_another_address_is_reached_again() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, three] = cluster.containers();
        let ping = one.pings(&two);
        let host = &cluster.hosts[2];
        let incarnation =
            |cluster: &Cluster| cluster.get("nodes/host3").unwrap()["incarnation"].as_u64().unwrap();
        let before = incarnation(&cluster);
        host.moves_to(33);
        let took = until_reached(&one, &three);
        println!("reached at its new address after {took:?}");
        until_reached(&three, &two);
        assert_eq!(cluster.get("nodes/host3").unwrap()["addresses"][0], "198.51.100.33");
        assert!(incarnation(&cluster) > before);
        // And its old one is nobody's.
        let rules = cluster.hosts[0].sh("nft list table inet cleat_overlay; bridge fdb");
        assert!(
            rules.contains("198.51.100.33")
                && !rules.contains("198.51.100.3 ")
                && !rules.contains("198.51.100.3,"),
            "{rules}"
        );
        none_is_lost([ping]);
    });
}

#[test]
fn a_node_that_was_installed_anew_is_taken_in_after_its_removal() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [first, _, third] = &cluster.hosts;
        let one = Container::add(first, V4, "one");
        let mac = cluster.get("nodes/host3").unwrap()["mac"].clone();
        third.kill();
        third.sh(
            "ip link del $(ip -o link show type vxlan | cut -d: -f2); rm -rf /run/cleat/* /var/lib/cleat/*",
        );
        third.moves_to(43);
        fs::write(third.path("machine-id"), "ffffffffffffffffffffffffffffffff\n").unwrap();
        // The name is the old one's until somebody says that this one is gone.
        third.start();
        third.is("conflict");
        let health = third.health();
        let reason = health["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("{:032x}", 3)) && reason.contains("cleat node rm"), "{reason}");
        assert_eq!(cluster.get("nodes/host3").unwrap()["mac"], mac);
        first.overlay(&["remove-node", NET, "host3", "--force"], "");
        third.is("watching");
        let record = cluster.get("nodes/host3").unwrap();
        assert!(record["mac"] != mac && record["addresses"][0] == "198.51.100.43", "{record}");
        let three = Container::add(third, V4, "three");
        until_reached(&one, &three);
        until_reached(&three, &one);
        assert!(!first.sh("bridge fdb").contains(mac.as_str().unwrap()));
    });
}

/// The third host claims to be something of the second, and is refused with the name of the thing.
fn is_refused(change: impl Fn(&Cluster, &Host, &mut Value), names: &[&str]) {
    let cluster = Cluster::created(V4);
    let [first, second, third] = &cluster.hosts;
    for host in [first, second] {
        host.configure(&cluster.conf());
        host.start();
        host.has_peers(usize::from(host.number == 2));
    }
    first.has_peers(1);
    let (one, two) = (Container::add(first, V4, "one"), Container::add(second, V4, "two"));
    let ping = one.pings(&two);
    let mut conf = cluster.conf();
    change(&cluster, third, &mut conf);
    third.configure(&conf);
    third.start();
    third.is("conflict");
    let health = third.health();
    let reason = health["reason"].as_str().unwrap();
    assert!(names.iter().all(|name| reason.contains(name)), "{reason}");
    thread::sleep(Duration::from_millis(500));
    first.has_peers(1);
    assert_eq!(cluster.get("nodes/host2").unwrap()["machine"], format!("{:032x}", 2));
    none_is_lost([ping]);
}

#[test]
fn a_second_node_of_a_name_is_refused() {
    isolated(|| is_refused(|_, _, conf| merge(conf, &json!({"node": "host2"})), &[&format!("{:032x}", 2)]));
}

#[test]
fn a_cloned_machine_id_is_refused() {
    isolated(|| {
        let clone = |_: &Cluster, host: &Host, _: &mut Value| {
            fs::write(host.path("machine-id"), format!("{:032x}\n", 2)).unwrap();
        };
        is_refused(clone, &["host2"]);
    });
}

#[test]
fn an_address_of_another_node_is_refused() {
    isolated(|| {
        is_refused(|_, _, conf| merge(conf, &json!({"public": "198.51.100.2"})), &["host2", "198.51.100.2"]);
    });
}
