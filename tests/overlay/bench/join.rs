//! How soon a node that joins is reached by all others: from the start of its agent until a packet of each other host is answered,
//! and until each node that is a record alone has seen the new record.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use etcd::{Event, Put, Span};
use sandbox::Namespaced;
use serde_json::json;

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, NET, V4};
use crate::figures::{median, quantile};
use crate::host::{Host, PATIENCE, until};
use crate::ping::echo;
use crate::simulated::{self, WIDE, block_on, client, routes};
use crate::start::begin as start;

/// Nodes that are records alone, with a connection and a watch each, all of one process.
const OTHERS: usize = 997;
/// Puts of which the median is one round trip.
const PUTS: usize = 50;
/// Where each host's process answers.
const PORT: u16 = 7;

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let rounds = if is_quick { 5 } else { 15 };
    let cluster = Cluster::created_with(V4, &json!({"prefixes": [WIDE]}));
    for host in &cluster.hosts {
        echo(&host.netns, PORT);
    }
    let [first, second, _] = &cluster.hosts;
    for host in [first, second] {
        host.configure(&cluster.conf());
        host.start();
    }
    for host in [first, second] {
        host.is("watching");
        host.has_peers(1);
    }
    println!(
        "\n  From the start of a new node's agent until all others reach it: device, claim, record and entries are between"
    );
    report(&cluster, rounds, 50.0, None, bars);

    simulated::join(&cluster, &simulated::of(&cluster, OTHERS));
    for host in [first, second] {
        until("all are there", || routes(host) == OTHERS + 1);
    }
    let (tells, told) = channel();
    thread::scope(|scope| {
        let (ends, end) = tokio::sync::oneshot::channel::<()>();
        let cluster = &cluster;
        scope.spawn(move || block_on(&cluster.engine_host, async || watches(cluster, tells, end).await));
        // Each watch says that it began.
        all(&told);
        report(cluster, rounds, 200.0, Some(&told), bars);
        drop(ends);
    });
}

/// Measures joins of the third host, and judges them.
fn report(
    cluster: &Cluster,
    rounds: usize,
    milliseconds: f64,
    told: Option<&Receiver<Instant>>,
    bars: &mut Bars,
) {
    let trip = round_trip(cluster);
    let (mut reached, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (real, others) = join(cluster, told);
        reached.push(real.max(others.unwrap_or_default()));
        seen.extend(others);
    }
    let nodes = if told.is_some() { OTHERS + 3 } else { 3 };
    let (middle, worst) = (median(&reached), quantile(&reached, 100));
    println!(
        "  {nodes} nodes: median {middle:.1} ms, slowest of {rounds} {worst:.1} ms; a put in etcd takes {trip:.2} ms"
    );
    if !seen.is_empty() {
        println!("  of {OTHERS} other watches the last one saw it after {:.1} ms", median(&seen));
    }
    let what = format!("join until reached by all, {nodes} nodes");
    bars.judge(&what, middle, " ms", Bound::AtMost(2.0 * trip + milliseconds));
}

/// What a put by a node takes, in milliseconds.
fn round_trip(cluster: &Cluster) -> f64 {
    let times = block_on(&cluster.hosts[2].netns, async || {
        let client = client(&cluster.engine);
        let mut times = Vec::new();
        for _ in 0..=PUTS {
            let begin = Instant::now();
            client.put(Put::new("/bench/put", "value")).await.unwrap();
            times.push(begin.elapsed());
        }
        // The first one connects.
        times.split_off(1)
    });
    median(&times)
}

/// The third host joins and leaves. Returns when the other hosts reached it, and when the last watch saw its record.
fn join(cluster: &Cluster, told: Option<&Receiver<Instant>>) -> (Duration, Option<Duration>) {
    let [first, second, third] = &cluster.hosts;
    third.configure(&cluster.conf());
    let begin = start(third);
    let block = loop {
        if let Some(node) = third.run_file() {
            break node["blocks"][0]["subnet"].as_str().unwrap().split('/').next().unwrap().to_owned();
        }
        assert!(begin.elapsed() < PATIENCE, "no block: {}", third.log());
        thread::sleep(Duration::from_micros(500));
    };
    let to = format!("{block}:{PORT}");
    let times = thread::scope(|scope| {
        let threads = [first, second].map(|host| scope.spawn(|| answered(&host.netns, &to, begin)));
        threads.map(|thread| thread.join().unwrap())
    });
    let others = told.map(|told| all(told).into_iter().max().unwrap().duration_since(begin));
    third.is("watching");
    leave(third, [first, second]);
    (times.into_iter().max().unwrap(), others)
}

/// When the first packet of a host was answered.
fn answered(from: &Namespaced, to: &str, begin: Instant) -> Duration {
    let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while begin.elapsed() < PATIENCE {
        // Before there is a route, nothing is sent at all.
        let sent = from.enter(|| socket.send_to(b"?", to));
        if sent.is_err() {
            thread::sleep(Duration::from_micros(500));
        } else if socket.recv(&mut [0]).is_ok() {
            return begin.elapsed();
        }
    }
    panic!("{} does not reach {to}", from.name());
}

fn leave(host: &Host, others: [&std::sync::Arc<Host>; 2]) {
    let before = routes(others[0]);
    host.overlay(&["remove", NET], "");
    host.terminate();
    for other in others {
        until("it is gone", || routes(other) == before - 1);
    }
}

/// One time of each watch.
fn all(told: &Receiver<Instant>) -> Vec<Instant> {
    let time = |number| match told.recv_timeout(PATIENCE) {
        Ok(time) => time,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            panic!("only {number} watches told")
        }
    };
    (0..OTHERS).map(time).collect()
}

/// A connection and a watch for each node, which tells when it began, and each time that it saw the third host's record.
async fn watches(cluster: &Cluster, tells: Sender<Instant>, end: tokio::sync::oneshot::Receiver<()>) {
    let prefix = format!("/cleat/v1/{NET}/");
    let span = Span::range(format!("{prefix}blocks/"), format!("{prefix}nodes0"));
    for _ in 0..OTHERS {
        let (client, span, tells) = (client(&cluster.engine), span.clone(), tells.clone());
        tokio::spawn(async move {
            let mut watch = client.watch(&span, None).await.unwrap();
            let _ = tells.send(Instant::now());
            loop {
                match watch.next().await.unwrap() {
                    Event::Put(kv) if kv.key.ends_with(b"/nodes/host3") => {
                        let _ = tells.send(Instant::now());
                    }
                    _ => {}
                }
            }
        });
    }
    let _ = end.await;
}
