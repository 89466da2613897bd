//! Packets that are lost while agents, etcd and both are killed and started again, and while etcd loses its data.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, V4};
use crate::host::until;
use crate::ping::Ping;

const PACE: Duration = Duration::from_millis(10);
/// How long packets go on after each restart.
const AFTER: Duration = Duration::from_secs(2);

/// Ends something, and starts it again.
type Restart = fn(&mut Cluster);

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let rounds = if is_quick { 1 } else { 4 };
    let mut cluster = Cluster::new(V4);
    let containers = cluster.containers();
    println!("\n  Packets between the containers of three hosts, each way every {} ms", PACE.as_millis());
    let kinds: [(&str, Restart); 5] = [
        ("agents killed and started again", agents),
        ("agents ended and started again", agents_end),
        ("etcd killed and started again", engine),
        ("agents and etcd killed and started again", both),
        ("etcd started again without its data", data),
    ];
    for (what, restart) in kinds {
        let mut pings = Vec::new();
        for one in &containers {
            for other in &containers {
                if !std::ptr::eq(one, other) {
                    pings.push(Ping::at_pace(&one.netns, &other.at(7)[0], PACE));
                }
            }
        }
        for _ in 0..rounds {
            restart(&mut cluster);
            for host in &cluster.hosts {
                host.is("watching");
                host.has_peers(2);
            }
            thread::sleep(AFTER);
        }
        let (mut sent, mut lost) = (0, 0);
        for mut ping in pings {
            let (of, missing) = ping.stop();
            sent += of;
            lost += missing.len();
        }
        assert!(sent > 600, "only {sent} packets");
        bars.judge(&format!("lost of {sent} packets, {what}"), lost as f64, "", Bound::AtMost(0.0));
    }
}

fn agents(cluster: &mut Cluster) {
    cluster.hosts.iter().for_each(|host| host.kill());
    thread::sleep(Duration::from_millis(300));
    cluster.hosts.iter().for_each(|host| host.start());
}

fn agents_end(cluster: &mut Cluster) {
    for host in &cluster.hosts {
        host.signal(Signal::SIGTERM);
        until("it has ended", || !host.is_running());
        host.kill();
        host.start();
    }
}

fn engine(cluster: &mut Cluster) {
    cluster.engine.kill();
    thread::sleep(Duration::from_secs(1));
    cluster.engine.restart();
    cluster.engine.await_health();
}

fn both(cluster: &mut Cluster) {
    cluster.engine.kill();
    agents(cluster);
    thread::sleep(Duration::from_secs(1));
    cluster.engine.restart();
    cluster.engine.await_health();
}

fn data(cluster: &mut Cluster) {
    cluster.engine.kill();
    cluster.engine.wipe();
    cluster.engine.restart();
    cluster.engine.await_health();
    until("all records are there again", || {
        (0..3).all(|place| cluster.get(&format!("nodes/{}", cluster.hosts[place].name())).is_some())
    });
}
