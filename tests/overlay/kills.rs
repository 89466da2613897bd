//! The agent, or the engine, is killed at each call of the one to the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::isolated;
use serde_json::json;

use crate::cluster::{Cluster, ENGINE, V4, merge, until_reached};
use crate::containers::Container;
use crate::host::PATIENCE;
use crate::ping::none_is_lost;
use crate::relay::Relay;

/// More pieces than a start sends.
const MANY: usize = 60;

/// A third host whose agent talks to the engine by a relay, which kills a process.
struct Stage {
    cluster: Cluster,
    relay: Relay,
    victim: Arc<AtomicU32>,
}

impl Stage {
    fn new() -> Self {
        let cluster = Cluster::created(V4);
        cluster.start_two();
        let victim = Arc::new(AtomicU32::new(0));
        let killed = Arc::clone(&victim);
        let action = move || {
            let pid = i32::try_from(killed.swap(0, Ordering::SeqCst)).unwrap();
            if pid != 0 {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        };
        let relay = Relay::start(&cluster.hosts[2].netns, &cluster.engine_host, ENGINE, Box::new(action));
        let mut conf = cluster.conf();
        merge(&mut conf, &json!({"engine": {"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}}));
        cluster.hosts[2].configure(&conf);
        Self { cluster, relay, victim }
    }

    /// The third host as before its first start, but for what the kernel has.
    fn forget(&self) {
        let host = &self.cluster.hosts[2];
        let block = host.health()["blocks"][0].as_str().map(|block| block.replace('/', "-"));
        host.kill();
        host.sh("rm -rf /run/cleat/* /var/lib/cleat/*");
        self.cluster.delete("nodes/host3");
        if let Some(block) = block {
            self.cluster.delete(&format!("blocks/{block}"));
        }
    }

    /// Waits until the third host's agent has got through, or the kill has happened: whether it has.
    fn runs(&self, is_dead: impl Fn() -> bool) -> bool {
        let (host, begin) = (&self.cluster.hosts[2], Instant::now());
        loop {
            if self.relay.has_acted() && is_dead() {
                return true;
            }
            if host.health()["state"] == "watching" {
                // What is left to send, such as that it is alive, comes soon.
                thread::sleep(Duration::from_millis(100));
                return self.relay.has_acted();
            }
            assert!(begin.elapsed() < PATIENCE, "{:#}\n{}", host.health(), host.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// All is as it should be: one block, the record, and the way.
    fn is_well(&self, what: &str) {
        let host = &self.cluster.hosts[2];
        host.is("watching");
        host.has_peers(2);
        let claims: Vec<_> =
            self.cluster.keys().into_iter().filter(|key| key.starts_with("blocks/")).collect();
        assert_eq!(claims.len(), 3, "{what}: {claims:?}");
        let record = self.cluster.get("nodes/host3").unwrap_or_else(|| panic!("{what}: no record"));
        assert_eq!(record["blocks"][0], self.cluster.block(2), "{what}");
        // The first host's watch broke with the engine, too.
        self.cluster.hosts[0].says(what, |health| {
            let peers = health["peers"].as_array();
            peers.is_some_and(|peers| peers.iter().any(|peer| peer["blocks"] == record["blocks"]))
        });
    }
}

/// Whether a test takes its time.
fn is_full() -> bool {
    std::env::var_os("FULL").is_some_and(|value| value != "0")
}

#[test]
fn the_agent_is_killed_at_each_call() {
    isolated(|| {
        let stage = Stage::new();
        let [first, second, third] = &stage.cluster.hosts;
        let (one, two) = (Container::add(first, V4, "one"), Container::add(second, V4, "two"));
        let ping = one.pings(&two);
        let mut kills = 0;
        'pieces: for piece in 0..MANY {
            // `FULL=1`: each piece, both ways.
            let ways: &[bool] = if is_full() { &[false, true] } else { &[[false, true][piece % 2]] };
            for &is_after in ways {
                stage.forget();
                stage.relay.act_at(piece, is_after);
                third.spawn(&third.path("none"));
                stage.victim.store(third.pid(), Ordering::SeqCst);
                let was_killed = stage.runs(|| !third.is_running());
                if was_killed {
                    kills += 1;
                    third.kill();
                    stage.relay.act_at(usize::MAX, false);
                    third.start();
                }
                stage.is_well(&format!("killed at piece {piece}, after: {is_after}"));
                if !was_killed {
                    break 'pieces;
                }
            }
        }
        println!("killed {kills} times");
        assert!(kills >= 8, "only {kills} kills");
        let three = Container::add(third, V4, "three");
        until_reached(&one, &three);
        none_is_lost([ping]);
    });
}

#[test]
fn the_engine_is_killed_at_each_call() {
    isolated(|| {
        let mut stage = Stage::new();
        let mut kills = 0;
        for piece in (0..MANY).step_by(if is_full() { 1 } else { 2 }) {
            stage.forget();
            stage.victim.store(stage.cluster.engine.pid(), Ordering::SeqCst);
            stage.relay.act_at(piece, piece % 4 < 2);
            stage.cluster.hosts[2].spawn(&stage.cluster.hosts[2].path("none"));
            let was_killed = stage.runs(|| stage.victim.load(Ordering::SeqCst) == 0);
            if was_killed {
                kills += 1;
                stage.relay.act_at(usize::MAX, false);
                stage.cluster.engine.kill();
                stage.cluster.engine.restart();
                stage.cluster.engine.await_health();
            }
            stage.is_well(&format!("killed at piece {piece}"));
            if !was_killed {
                break;
            }
        }
        println!("killed {kills} times");
        assert!(kills >= 4, "only {kills} kills");
    });
}

#[test]
fn agents_and_engine_are_killed_in_any_order_and_no_packet_is_lost() {
    isolated(|| {
        let mut cluster = Cluster::new(V4);
        let mut number: u32 = 0x2545_f491;
        let mut any = |below: u32| {
            // Xorshift: the same order every time.
            number ^= number << 13;
            number ^= number >> 17;
            number ^= number << 5;
            number % below
        };
        let [one, two, three] = cluster.containers();
        let pings = [one.pings(&two), two.pings(&three), three.pings(&one)];
        for _ in 0..12 {
            match any(4) {
                3 => {
                    cluster.engine.kill();
                    thread::sleep(Duration::from_millis(u64::from(any(200))));
                    cluster.engine.restart();
                }
                host => {
                    let host = &cluster.hosts[host as usize];
                    host.kill();
                    thread::sleep(Duration::from_millis(u64::from(any(200))));
                    // It may be killed again before it is ready.
                    host.spawn(&host.path("none"));
                }
            }
            thread::sleep(Duration::from_millis(u64::from(any(300))));
        }
        cluster.engine.await_health();
        for host in &cluster.hosts {
            host.is("watching");
            host.has_peers(2);
        }
        none_is_lost(pings);
        assert_eq!(cluster.keys().iter().filter(|key| key.starts_with("blocks/")).count(), 3);
    });
}
