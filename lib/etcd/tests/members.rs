//! Several endpoints, of which one is dead, stopped, cut off or without a leader.

use std::fs;
use std::time::{Duration, Instant};

use etcd::{Client, Config, Kind, Put, Span, Timing};
use sandbox::{Host, OUTSIDE_V4, UPLINK_V4};

use crate::relay::Relay;
use crate::server::{
    PATIENCE, Server, TIMING, changes, client, command, config, endpoint, mirror, run, short, within,
};
use crate::users;

/// How long a call may take where one endpoint fails: its share, an election, and a loaded machine.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn a_dead_endpoint_is_left_for_the_next() {
    run(async || {
        let server = Server::start(&[]);
        let dead = "http://127.0.0.99:2379".parse().unwrap();
        let endpoints = vec![dead, endpoint(&server)];
        let client = Client::new(Config { timing: TIMING, ..Config::new(endpoints) }).unwrap();
        let start = Instant::now();
        client.put(Put::new("/a", "1")).await.unwrap();
        assert!(start.elapsed() < TIMING.connect, "{:?}", start.elapsed());
    });
}

#[test]
fn an_endpoint_that_is_silent_when_it_is_asked_for_a_token_is_left() {
    run(async || {
        let mut server = Server::start(&[]);
        let relay = Relay::start(&server).await;
        relay.swallow_answers();
        let config = Config { endpoints: vec![relay.endpoint(), endpoint(&server)], ..config([&server]) };
        let user = users::user("n1", "geheim");
        users::enable(&mut server);
        let client = Client::new(Config { user: Some(user), ..config }).unwrap();
        within(BOUND, client.put(Put::new("/n/1", "1"))).await.unwrap();
    });
}

#[test]
fn a_name_is_looked_up_and_all_its_addresses_are_tried() {
    run(async || {
        let server = Server::begin(0, &["[::1]"], &[], "http");
        server.await_health();
        client([&server]).put(Put::new("/a", "1")).await.unwrap();
        fs::write("/etc/hosts", "::1 etcd.test\n127.0.0.99 etcd.test\n").unwrap();
        let named = Config { timing: TIMING, ..Config::new(vec!["http://etcd.test:2379".parse().unwrap()]) };
        Client::new(named).unwrap().put(Put::new("/a", "2")).await.unwrap();
        let unknown = Config { timing: TIMING, ..Config::new(vec!["http://none.test".parse().unwrap()]) };
        let error = Client::new(unknown).unwrap().get("/a").await.unwrap_err();
        assert!(error.to_string().contains("look up none.test: "), "{error}");
    });
}

/// Nothing comes back from an address whose packets a firewall drops.
#[test]
fn an_endpoint_whose_packets_are_dropped_costs_one_bound_once() {
    run(async || {
        let server = Server::start(&[]);
        command("nft", &["add table ip t; add chain ip t c { type filter hook output priority 0; }"]);
        command("nft", &["add rule ip t c ip daddr 127.0.0.99 drop"]);
        let hole = "http://127.0.0.99:2379".parse().unwrap();
        let only = Client::new(Config { timing: TIMING, ..Config::new(vec![hole]) }).unwrap();
        let error = within(TIMING.call, only.get("/a")).await.unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.99:2379: no"), "{error}");
        assert!(error.to_string().contains("a firewall drops the packets"), "{error}");

        let endpoints = vec!["http://127.0.0.99:2379".parse().unwrap(), endpoint(&server)];
        let client = Client::new(Config { timing: TIMING, ..Config::new(endpoints) }).unwrap();
        let start = Instant::now();
        client.put(Put::new("/a", "1")).await.unwrap();
        let first = start.elapsed();
        assert!(first >= TIMING.connect && first < TIMING.connect + Duration::from_secs(1), "{first:?}");
        let start = Instant::now();
        client.put(Put::new("/a", "2")).await.unwrap();
        assert!(start.elapsed() < TIMING.connect / 2, "{:?}", start.elapsed());

        // A connection that is there already, and is cut off.
        let mut watch = client.watch(&Span::key("/a"), None).await.unwrap();
        command("nft", &["add rule ip t c ip daddr 127.0.0.11 drop"]);
        let error = within(TIMING.ping + TIMING.pong + TIMING.connect, watch.next()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer a ping"), "{error}");
    });
}

#[test]
fn calls_and_a_mirror_survive_a_leader_that_is_killed() {
    run(async || {
        let (mut leader, others) = Server::split(Server::three());
        let client = client([&leader, &others[0], &others[1]]);
        client.put(Put::new("/n/0", "0")).await.unwrap();
        let mut mirror = mirror(&client).await;
        leader.kill();
        // A read tells that the connection has ended; then a write goes to another member, and waits for the election.
        within(BOUND, client.get("/n/0")).await.unwrap().unwrap();
        within(BOUND, client.put(Put::new("/n/1", "1"))).await.unwrap();
        let seen = within(BOUND, changes(&mut mirror, |change| short(change) == "put /n/1=1")).await;
        let seen: Vec<String> = seen.iter().map(short).filter(|change| change != "lost").collect();
        assert_eq!(seen, ["resumed", "put /n/1=1"]);
        assert_eq!(others[0].etcdctl(&["get", "/n/1"]), "/n/1\n1\n");
    });
}

#[test]
fn calls_and_a_mirror_survive_a_member_that_is_stopped() {
    run(async || {
        let (leader, others) = Server::split(Server::three());
        let stopped = &others[0];
        let client = client([stopped, &leader, &others[1]]);
        client.put(Put::new("/n/0", "0")).await.unwrap();
        let mut mirror = mirror(&client).await;
        stopped.stop();
        let start = Instant::now();
        within(BOUND, client.get("/n/0")).await.unwrap().unwrap();
        assert!(start.elapsed() >= TIMING.ping.min(TIMING.answer), "{:?}", start.elapsed());
        within(BOUND, client.put(Put::new("/n/1", "1"))).await.unwrap();
        let seen = within(BOUND, changes(&mut mirror, |change| short(change) == "put /n/1=1")).await;
        assert!(seen.iter().any(|change| short(change) == "resumed"), "{seen:?}");
        stopped.resume();
    });
}

#[test]
fn a_member_without_leader_says_so_and_another_serves() {
    run(async || {
        // The first member is on another host.
        let host = Host::new();
        command("ip", &["address", "add", "192.0.2.3/24", "dev", "uplink"]);
        let hosts = [OUTSIDE_V4, UPLINK_V4, "192.0.2.3"];
        let begin = |index| Server::begin(index, &hosts, &[], "http");
        let servers = [host.outside.enter(|| begin(0)), begin(1), begin(2)];
        servers.iter().for_each(Server::await_health);
        let client = client(&servers);
        client.put(Put::new("/n/0", "0")).await.unwrap();
        let mut watch = client.watch(&Span::prefix("/n/"), None).await.unwrap();
        // It does not hear from the other members any more, and the client still reaches it.
        command("nft", &["add table ip t; add chain ip t c { type filter hook output priority 0; }"]);
        for port in ["sport", "dport"] {
            command(
                "nft",
                &["add", "rule", "ip", "t", "c", "ip", "daddr", OUTSIDE_V4, "tcp", port, "2380", "drop"],
            );
        }
        // A watch that asks for a member with a leader ends; without that it would just be silent.
        let error = within(PATIENCE, watch.next()).await.unwrap_err();
        assert!(error.to_string().contains("no leader"), "{error}");
        let timing = Timing { call: Duration::from_secs(1), ..TIMING };
        let alone = Client::new(Config { timing, ..config([&servers[0]]) }).unwrap();
        let error = within(2 * timing.call, alone.put(Put::new("/n/1", "1"))).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
        assert!(error.to_string().contains("no leader"), "{error}");
        // The client begins with that member as well.
        let all = crate::server::client(&servers);
        within(BOUND, all.put(Put::new("/n/2", "2"))).await.unwrap();
        assert_eq!(within(BOUND, client.get("/n/2")).await.unwrap().unwrap().value, b"2");
    });
}
