//! The agent ends, is killed, or starts without what it knew: nothing in the kernel changes, and it goes on.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use sandbox::isolated;
use serde_json::json;

use crate::cluster::{Cluster, NET, V4};
use crate::containers::Container;
use crate::host::{Host, until};
use crate::ping::none_is_lost;

#[test]
fn agents_come_and_go_and_no_packet_is_lost() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, three] = cluster.containers();
        let before = cluster.hosts.each_ref().map(|host| host.kernel());
        let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
        for host in &cluster.hosts {
            host.terminate();
            assert_eq!(host.kernel(), before[host.number - 1]);
            // Containers do not need it.
            let new = Container::add(host, V4, "new");
            new.reaches(&two);
            new.del();
            host.start();
            host.is("watching");
            host.kill();
            host.start();
            host.is("watching");
            host.signal(Signal::SIGSTOP);
            host.kill();
            host.start();
            host.is("watching");
        }
        cluster.hosts.iter().for_each(|host| host.kill());
        thread::sleep(Duration::from_millis(300));
        cluster.hosts.iter().for_each(|host| host.start());
        for host in &cluster.hosts {
            host.has_peers(2);
            assert_eq!(host.kernel(), before[host.number - 1]);
        }
        none_is_lost(pings);
    });
}

#[test]
fn a_start_with_everything_there_writes_nothing() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let host = &cluster.hosts[0];
        host.terminate();
        let record = cluster.get("nodes/host1").unwrap();
        let (rules, file) = (host.sh("nft -s list ruleset"), host.run_file());
        let monitor = "timeout 3 ip monitor link address route neigh nexthop >/run/monitor & timeout 3 bridge monitor fdb >>/run/monitor & \
             timeout 3 nft monitor >/run/nft & sleep 0.3; echo begun; wait";
        let changes = thread::scope(|scope| {
            let watching = scope.spawn(|| host.sh(monitor));
            thread::sleep(Duration::from_millis(500));
            host.start();
            host.is("watching");
            watching.join().unwrap();
            fs::read_to_string("/run/monitor").unwrap() + &fs::read_to_string("/run/nft").unwrap()
        });
        // The wire's own neighbours are learned and forgotten all the time.
        let changes: Vec<&str> = changes.lines().filter(|line| !line.contains("dev eth0 lladdr")).collect();
        assert!(changes.is_empty(), "{changes:#?}");
        assert_eq!((host.sh("nft -s list ruleset"), host.run_file()), (rules, file));
        assert_eq!(cluster.get("nodes/host1").unwrap(), record);
    });
}

/// Takes away what a reboot does.
fn reboot(host: &Host) {
    host.kill();
    host.sh(
        "for link in $(ip -o link show type vxlan | cut -d: -f2) br0; do ip link del $link 2>/dev/null || true; done
         ip route flush proto 76; ip route flush type blackhole; nft flush ruleset; rm -rf /run/cleat/*",
    );
}

#[test]
fn a_reboot_without_the_engine_brings_the_network_back() {
    isolated(|| {
        let mut cluster = Cluster::new(V4);
        let before = cluster.hosts.each_ref().map(|host| host.kernel());
        // What is written within a second of a change.
        for host in &cluster.hosts {
            let state = host.path(format!("lib/overlay/{NET}/state.json"));
            until("both peers are in the state", || {
                let text = fs::read_to_string(&state).unwrap_or_default();
                (1..=3)
                    .filter(|number| *number != host.number)
                    .all(|number| text.contains(&format!("\"host{number}\"")))
            });
        }
        cluster.engine.kill();
        cluster.hosts.iter().for_each(|host| reboot(host));
        cluster.hosts.iter().for_each(|host| host.start());
        for host in &cluster.hosts {
            assert!(host.run_file().is_some(), "the file is there before the agent is ready");
            assert_eq!(host.kernel(), before[host.number - 1]);
        }
        cluster.containers();
    });
}

#[test]
fn a_torn_or_lost_state_is_learned_again() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let blocks = [0, 1, 2].map(|host| cluster.block(host));
        let [one, _, three] = cluster.containers();
        let ping = one.pings(&three);
        for content in [Some("{\"id\": \"6f"), Some(""), Some("[]"), None] {
            let host = &cluster.hosts[2];
            host.kill();
            let state = host.path(format!("lib/overlay/{NET}/state.json"));
            match content {
                Some(text) => fs::write(&state, text).unwrap(),
                None => fs::remove_file(&state).unwrap(),
            }
            host.start();
            host.is("watching");
            host.has_peers(2);
            assert_eq!(cluster.block(2), blocks[2]);
            let text = fs::read_to_string(&state).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object(), "{text}");
        }
        none_is_lost([ping]);
        assert_eq!(cluster.keys().iter().filter(|key| key.starts_with("blocks/")).count(), 3);
    });
}

#[test]
fn a_full_disk_is_told_and_stops_nothing() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, _, three] = cluster.containers();
        let ping = one.pings(&three);
        let host = &cluster.hosts[2];
        host.kill();
        // Each process of the host mounts the folder anew, with what is in it.
        let folder = host.path("lib");
        let (kept, full) = (host.path("kept"), folder.display().to_string());
        fs::rename(&folder, &kept).unwrap();
        fs::create_dir(&folder).unwrap();
        sandbox::etcd::command("mount", &["-t", "tmpfs", "-o", "size=32k,mode=755", "full", &full]);
        sandbox::etcd::command(
            "sh",
            &["-c", &format!("cp -a {}/. {full}/; cat /dev/zero >{full}/zeros || true", kept.display())],
        );
        host.start();
        host.is("watching");
        cluster.hosts[1].sh("ip link set eth0 mtu 1400");
        until("a change is programmed", || {
            host.health()["peers"].as_array().unwrap().iter().any(|peer| peer["mtu"] == 1350)
        });
        let new = Container::add(host, V4, "new");
        new.reaches(&one);
        none_is_lost([ping]);
        host.kill();
        sandbox::etcd::command("umount", &["-l", &full]);
    });
}

#[test]
fn what_an_older_or_newer_agent_wrote_is_passed_over() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, _] = cluster.containers();
        let ping = one.pings(&two);
        // Keys and fields of versions to come.
        cluster.put("members/host2/x", &json!({"names": ["x"]}));
        cluster.put("later", &json!(1));
        let mut record = cluster.get("nodes/host2").unwrap();
        record["later"] = json!({"a": [1]});
        record["incarnation"] = json!(record["incarnation"].as_u64().unwrap() + 1);
        cluster.put("nodes/host2", &record);
        // A node whose record cannot be read is a loss of that node alone.
        cluster.put("nodes/odd", &json!({"machine": 1}));
        cluster.put("nodes/host9", &json!({"machine": "9", "addresses": ["198.51.100.99"], "mac": "02:00:00:00:00:99",
            "blocks": ["10.201.99.0/24"], "mtu": 1450, "version": "9.9.9", "incarnation": 1, "color": "blue"}));
        until("the node of another version is programmed", || {
            cluster.hosts[0].sh("ip route").contains("10.201.99.0/24")
        });
        one.reaches(&two);
        none_is_lost([ping]);
        assert!(cluster.hosts[0].is_running());
    });
}

/// How often a process was waited for something until now.
fn sleeps(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn an_idle_agent_sleeps() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, _] = cluster.containers();
        // What the start has left to do.
        thread::sleep(Duration::from_secs(3));
        let before = cluster.hosts.each_ref().map(|host| sleeps(host.pid()));
        let ping = one.pings(&two);
        thread::sleep(Duration::from_secs(4));
        none_is_lost([ping]);
        let woken: Vec<u64> =
            cluster.hosts.iter().zip(before).map(|(host, before)| sleeps(host.pid()) - before).collect();
        // One tick a minute may have come.
        assert!(woken.iter().all(|count| *count <= 6), "{woken:?}");
    });
}
