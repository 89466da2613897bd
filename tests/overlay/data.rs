//! The engine's data: compacted, wiped, restored from an old copy, or those of another network.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use sandbox::isolated;
use serde_json::json;

use crate::cluster::{Cluster, ENGINE, NET, V4, merge, until_reached};
use crate::containers::{Container, refused};
use crate::host::until;
use crate::ping::none_is_lost;

#[test]
fn a_compaction_while_the_agent_sleeps() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, three] = cluster.containers();
        let ping = one.pings(&three);
        let [_, second, third] = &cluster.hosts;
        third.signal(Signal::SIGSTOP);
        second.moves_to(22);
        until_reached(&one, &two);
        for number in 0..20 {
            cluster.put("other", &json!(number));
        }
        let text = cluster.engine.etcdctl(&["get", "x", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        cluster.engine.etcdctl(&["compaction", &status["header"]["revision"].to_string()]);
        third.signal(Signal::SIGCONT);
        until_reached(&two, &three);
        third.has_peers(2);
        third.is("watching");
        none_is_lost([ping]);
        // The open watch goes on over another one.
        cluster.engine.etcdctl(&["put", "x", "y"]);
        second.sh("ip link set eth0 mtu 1400");
        until("the next change comes", || {
            let peers = third.health()["peers"].clone();
            peers.as_array().unwrap().iter().any(|peer| peer["mtu"] == 1350)
        });
    });
}

#[test]
fn wiped_data_are_put_again_and_nothing_is_lost() {
    isolated(|| {
        let mut cluster = Cluster::new(V4);
        let (mut keys, network) = (cluster.keys(), cluster.get("config"));
        keys.sort();
        let blocks = [0, 1, 2].map(|host| cluster.block(host));
        cluster.engine.kill();
        cluster.engine.wipe();
        {
            let [one, two, three] = cluster.containers();
            let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
            cluster.engine.restart();
            until("all keys are there again", || {
                let mut now = cluster.keys();
                now.sort();
                now == keys
            });
            for host in &cluster.hosts {
                host.is("watching");
                host.has_peers(2);
            }
            let new = Container::add(&cluster.hosts[1], V4, "new");
            new.reaches(&three);
            none_is_lost(pings);
        }
        assert_eq!(cluster.get("config"), network);
        assert_eq!([0, 1, 2].map(|host| cluster.block(host)), blocks);
    });
}

#[test]
fn a_restored_copy_is_brought_up_to_date() {
    isolated(|| {
        let mut cluster = Cluster::created(V4);
        cluster.start_two();
        cluster.engine.etcdctl(&["snapshot", "save", "/run/snapshot"]);
        // What came after the copy was made: a host, and a change.
        cluster.hosts[2].configure(&cluster.conf());
        cluster.hosts[2].start();
        cluster.hosts[0].sh("ip link set eth0 mtu 1400");
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        until("the change is told", || cluster.get("nodes/host1").unwrap()["mtu"] == 1350);
        let mut keys = cluster.keys();
        keys.sort();
        let record = cluster.get("nodes/host1").unwrap();
        cluster.engine.kill();
        cluster.engine.wipe();
        let folder = cluster.engine.folder().display().to_string();
        let member = format!("{ENGINE}=http://{ENGINE}:2380");
        let peer = format!("http://{ENGINE}:2380");
        let restore = [
            &["snapshot", "restore", "/run/snapshot", "--data-dir", &folder, "--name", ENGINE][..],
            &["--initial-cluster", &member, "--initial-advertise-peer-urls", &peer],
        ];
        cluster.engine.etcdctl(&restore.concat());
        {
            let [one, two, three] = cluster.containers();
            let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
            cluster.engine.restart();
            until("what was missing is there again", || {
                let mut now = cluster.keys();
                now.sort();
                now == keys
            });
            until("the change is told again", || cluster.get("nodes/host1").unwrap()["mtu"] == record["mtu"]);
            for host in &cluster.hosts {
                host.is("watching");
                host.has_peers(2);
            }
            none_is_lost(pings);
        }
    });
}

#[test]
fn another_network_of_the_same_name_is_refused_and_all_is_kept() {
    isolated(|| {
        let mut cluster = Cluster::new(V4);
        let record = cluster.get("config").unwrap();
        let kernel = cluster.hosts[0].kernel();
        {
            let [one, two, three] = cluster.containers();
            let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
            // Somebody deletes all of it, and makes another one of this name.
            let mut other = record.clone();
            merge(&mut other, &json!({"id": "00000000-0000-4000-8000-000000000000", "vni": 7}));
            cluster.put("config", &other);
            for host in &cluster.hosts {
                host.is("refused");
                let reason = host.health()["reason"].as_str().unwrap().to_owned();
                assert!(
                    reason.contains("00000000-0000-4000-8000-000000000000") && reason.contains("--force"),
                    "{reason}"
                );
            }
            // As after a start, with what it knew.
            cluster.hosts[2].kill();
            cluster.hosts[2].start();
            cluster.hosts[2].is("refused");
            thread::sleep(Duration::from_millis(500));
            none_is_lost(pings);
        }
        cluster.put("config", &record);
        for host in &cluster.hosts {
            host.is("watching");
        }
        assert_eq!(cluster.hosts[0].kernel(), kernel);
        // A host that never was in the first one joins none but that of its configuration.
        cluster.hosts[2].overlay(&["remove", NET], "");
        let mut conf = cluster.conf();
        merge(&mut conf, &json!({"id": "00000000-0000-4000-8000-000000000001"}));
        cluster.hosts[2].configure(&conf);
        cluster.hosts[2].is("refused");
        assert_eq!(refused(&cluster.hosts[2], V4).0, 11);
        assert!(!cluster.keys().contains(&"nodes/host3".to_owned()));
        cluster.network = record;
    });
}
