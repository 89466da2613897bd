//! Three hosts among a thousand nodes, of which a hundred join and a hundred leave in a second.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::isolated;
use serde_json::json;

use crate::cluster::{Cluster, V4};
use crate::host::until;
use crate::ping::none_is_lost;
use crate::simulated::{self, Simulated, WIDE, block_on, change, client, found, routes, wanted};

/// All nodes but the three hosts.
const OTHERS: usize = 997;
/// Joins in a second, and as many leave.
const RATE: u32 = 100;
const SECONDS: u32 = 4;

#[test]
fn three_hosts_follow_a_thousand_nodes_that_come_and_go() {
    isolated(|| {
        let cluster = Cluster::created_with(V4, &json!({"prefixes": [WIDE]}));
        let start = |place: usize| {
            cluster.hosts[place].configure(&cluster.conf());
            cluster.hosts[place].start();
            cluster.hosts[place].is("watching");
        };
        start(0);
        start(1);
        let nodes = simulated::of(&cluster, OTHERS + usize::try_from(RATE * SECONDS).unwrap());
        let (first, later) = nodes.split_at(OTHERS);
        simulated::join(&cluster, first);
        // The last host is a new one among a thousand.
        start(2);
        for host in &cluster.hosts {
            until("all are there", || routes(host) == OTHERS + 2);
        }
        let containers = cluster.containers();
        let [one, two, three] = &containers;
        let pings = [one.pings(three), two.pings(one), three.pings(two)];
        let joined = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(&cluster.engine_host, async || come_and_go(&cluster, first, later, &joined).await);
            });
            // Each host has the newest one soon, while the next ones come.
            for round in 1..SECONDS {
                until("the next ones are there", || joined.load(Ordering::Relaxed) >= RATE * round);
                let newest = later[usize::try_from(RATE * round).unwrap() - 1];
                for host in &cluster.hosts {
                    until("a host has the newest", || host.sh("ip -4 route").contains(&newest.block()));
                }
            }
        });
        for host in &cluster.hosts {
            let wanted = wanted(&cluster, host);
            assert_eq!(wanted.len(), OTHERS + 2);
            until("the kernel is as the engine says", || found(host).is_ok_and(|found| found == wanted));
            let health = host.health();
            assert!(health["state"] == "watching" && health["held"] == json!([]), "{health:#}");
        }
        let kernel = cluster.hosts[2].kernel();
        cluster.hosts[2].terminate();
        start(2);
        assert_eq!(cluster.hosts[2].kernel(), kernel);
        none_is_lost(pings);
        one.reaches(three);
    });
}

/// At each step one joins and one leaves; each tenth comes back at once, as an agent does that was installed anew.
async fn come_and_go(cluster: &Cluster, first: &[Simulated], later: &[Simulated], joined: &AtomicU32) {
    let client = client(&cluster.engine);
    let begin = Instant::now();
    for (step, (leaving, joining)) in (0..).zip(first.iter().zip(later)) {
        change(&client, &[*joining], &[*leaving]).await;
        joined.store(step + 1, Ordering::Relaxed);
        if step % 10 == 9 {
            let back = first[first.len() - 1 - usize::try_from(step).unwrap()];
            change(&client, &[], &[back]).await;
            change(&client, &[back], &[]).await;
        }
        let next = begin + Duration::from_secs(1) * (step + 1) / RATE;
        tokio::time::sleep_until(next.into()).await;
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2) * SECONDS, "{RATE} a second were not to be had: {took:?}");
}
