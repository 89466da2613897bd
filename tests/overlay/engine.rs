//! The engine is down, slow, cut off, or loses its leader: traffic and containers go on.

use std::thread;
use std::time::Duration;

use sandbox::etcd::Server;
use sandbox::isolated;
use serde_json::json;

use crate::cluster::{Cluster, ENGINE, V4, merge, until_reached};
use crate::containers::{Container, refused, sockets};
use crate::host::until;
use crate::ping::none_is_lost;

/// Containers come and go on a host, and reach one on another.
fn containers_go_on(cluster: &Cluster, far: &Container) {
    let new = Container::add(&cluster.hosts[0], V4, "new");
    new.reaches(far);
    far.reaches(&new);
    new.check();
    new.del();
}

#[test]
fn traffic_and_containers_go_on_without_the_engine() {
    isolated(|| {
        let mut cluster = Cluster::new(V4);
        let kernel = cluster.hosts[0].kernel();
        cluster.engine.kill();
        {
            let [one, two, three] = cluster.containers();
            let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
            for host in &cluster.hosts {
                host.says("the engine is down", |health| {
                    health["engine"]["up"] == false && health["engine"]["staleSince"].is_string()
                });
                assert_eq!(host.ask("GET", "/healthz").unwrap().0, 200);
            }
            containers_go_on(&cluster, &two);
            none_is_lost(pings);
        }
        cluster.engine.restart();
        cluster.engine.await_health();
        for host in &cluster.hosts {
            host.says("the engine is back", |health| health["engine"]["up"] == true);
            host.is("watching");
        }
        // One line when it went, one when it came back.
        let log = cluster.hosts[1].log();
        assert!(log.lines().count() < 20, "{log}");
        assert_eq!(cluster.hosts[0].kernel(), kernel);
    });
}

#[test]
fn a_host_that_joins_meanwhile_waits_for_the_engine() {
    isolated(|| {
        let mut cluster = Cluster::created(V4);
        cluster.start_two();
        cluster.engine.kill();
        let third = &cluster.hosts[2];
        third.configure(&cluster.conf());
        third.start();
        third.says("it waits", |health| health["engine"]["up"] == false);
        assert_eq!(refused(third, V4).0, 11);
        assert_eq!(third.ask("GET", "/readyz").unwrap().0, 503);
        cluster.engine.restart();
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        assert_eq!(cluster.hosts[2].ask("GET", "/readyz").unwrap().0, 200);
        cluster.containers();
    });
}

#[test]
fn traffic_and_containers_go_on_while_the_engine_hangs() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, three] = cluster.containers();
        let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
        cluster.engine.stop();
        containers_go_on(&cluster, &three);
        // A change waits for it.
        cluster.hosts[2].sh("ip addr add 198.51.100.33/24 dev eth0; ip link set eth0 mtu 1400");
        thread::sleep(Duration::from_secs(1));
        cluster.engine.resume();
        until("the change is told", || cluster.get("nodes/host3").unwrap()["mtu"] == 1350);
        for host in &cluster.hosts {
            host.is("watching");
        }
        none_is_lost(pings);
    });
}

#[test]
fn a_host_that_is_cut_off_from_the_engine_catches_up() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, two, three] = cluster.containers();
        let ping = one.pings(&three);
        let [first, second, third] = &cluster.hosts;
        third.sh(
            "nft 'table inet cut { chain out { type filter hook output priority 0; tcp dport 2379 drop; }
                chain in { type filter hook input priority 0; tcp sport 2379 drop; }; }'",
        );
        second.moves_to(22);
        until_reached(&one, &two);
        assert!(first.sh("bridge fdb").contains("198.51.100.22"));
        assert!(!third.sh("bridge fdb").contains("198.51.100.22"));
        thread::sleep(Duration::from_secs(1));
        third.sh("nft delete table inet cut");
        until_reached(&two, &three);
        assert!(!third.sh("bridge fdb").contains("198.51.100.2 "));
        none_is_lost([ping]);
    });
}

#[test]
fn a_leader_of_three_members_is_killed() {
    isolated(|| {
        let mut cluster = Cluster::bare();
        cluster.engine.kill();
        cluster.engine.wipe();
        cluster.engine_host.enter(|| {
            for address in ["198.51.100.11/24", "198.51.100.12/24"] {
                sandbox::etcd::command("ip", &["addr", "add", address, "dev", "eth0"]);
            }
        });
        let addresses = [ENGINE, "198.51.100.11", "198.51.100.12"];
        let members: Vec<Server> = (0..3)
            .map(|index| Server::begin_in(Some(&cluster.engine_host), index, &addresses, &[], "http"))
            .collect();
        members.iter().for_each(Server::await_health);
        let endpoints: Vec<String> = members.iter().map(Server::url).collect();
        let (mut leader, mut others) = Server::split(members);
        let conf = json!({"conf": {"engine": {"type": "etcd", "endpoints": endpoints}}});
        cluster.create(&conf);
        let mut conf = conf["conf"].clone();
        merge(&mut conf, &json!({"id": cluster.network["id"]}));
        for host in &cluster.hosts {
            host.configure(&conf);
            host.start();
        }
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        {
            let [one, two, three] = cluster.containers();
            let ping = one.pings(&three);
            leader.kill();
            // What changes now is told by the two that are left.
            cluster.hosts[1].sh("ip link set eth0 mtu 1400");
            let is_told = || {
                let key = ["get", "--print-value-only", "/cleat/v1/wide/nodes/host2"];
                others[0].try_etcdctl(&key).is_ok_and(|text| text.contains("1350"))
            };
            until("the new leader has it", is_told);
            for host in &cluster.hosts {
                host.is("watching");
                host.says("the engine is up", |health| health["engine"]["up"] == true);
            }
            // Without a majority nothing can be written, and all goes on.
            others[0].kill();
            two.reaches(&three);
            containers_go_on(&cluster, &two);
            none_is_lost([ping]);
        }
        leader.restart();
        others[0].restart();
        for host in &cluster.hosts {
            host.is("watching");
            host.says("the engine is up", |health| health["engine"]["up"] == true);
        }
    });
}

#[test]
fn no_plugin_asks_the_engine_or_the_agent() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let traced = sockets(&cluster.hosts[0], V4);
        assert!(traced.contains("socket(AF_NETLINK"), "{traced}");
        assert!(!traced.contains("2379") && !traced.contains("overlay.sock"), "{traced}");
        // The plugins' own process that closes sockets for them is no other machine's.
        let is_away = |line: &&str| line.contains("connect(") && !line.contains("cleat/netfilter-sockets");
        let connected: Vec<&str> = traced.lines().filter(is_away).collect();
        assert!(connected.is_empty(), "{connected:#?}");
    });
}
