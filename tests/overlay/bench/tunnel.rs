//! What a TCP stream gets through from container to container on two hosts, in turn with one of namespaces on the same hosts
//! whose bridges and VXLAN devices were made with iproute2.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Namespaced;

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, V4};
use crate::figures::middle;

const PORT: u16 = 5001;
/// How long each stream is measured.
const STREAM: Duration = Duration::from_millis(700);

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let rounds = if is_quick { 8 } else { 30 };
    let cluster = Cluster::new(V4);
    let [one, two, _] = cluster.containers();
    let hand = [1, 2].map(|number| by_hand(&cluster, number));
    let ours = (&one.netns, &two.netns, format!("{}:{PORT}", two.ips()[0]));
    let theirs = (&hand[0], &hand[1], format!("10.202.2.2:{PORT}"));
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for place in [round % 2, 1 - round % 2] {
            let (from, to, address) = if place == 0 { &ours } else { &theirs };
            figures[place].push(stream(from, to, address));
        }
    }
    let [ours, theirs] = figures.each_ref().map(|figures| middle(figures));
    println!("\n  One TCP stream from a host's container to another host's");
    let what = format!("{ours:.2} Gbit/s; VXLAN made by hand {theirs:.2} Gbit/s");
    bars.judge(&what, ours / theirs, "x", Bound::AtLeast(0.95));
}

/// A namespace behind a bridge of a host, and a VXLAN device to the other host, as a person makes them.
fn by_hand(cluster: &Cluster, number: usize) -> Namespaced {
    let netns = Namespaced::new(&format!("hand{number}"));
    let (host, peer) = (&cluster.hosts[number - 1], 3 - number);
    let mtu = &host.health()["mtu"];
    host.sh(&format!(
        "ip link add vxh address 02:00:00:00:0a:0{number} type vxlan id 77 dstport 4790 nolearning \\
           local 198.51.100.{number} dev eth0
         ip link set vxh mtu {mtu} up; ip addr add 10.202.{number}.0/32 dev vxh
         ip link add brh type bridge; ip link set brh mtu {mtu} up; ip addr add 10.202.{number}.1/24 dev brh
         ip link add vethh mtu {mtu} type veth peer name eth0 mtu {mtu} netns hand{number}
         ip link set vethh master brh up
         bridge fdb add 02:00:00:00:0a:0{peer} dev vxh dst 198.51.100.{peer}
         ip neigh add 10.202.{peer}.0 lladdr 02:00:00:00:0a:0{peer} dev vxh nud permanent
         ip route add 10.202.{peer}.0/24 via 10.202.{peer}.0 dev vxh onlink
         ip -n hand{number} link set eth0 up
         ip -n hand{number} addr add 10.202.{number}.2/24 dev eth0
         ip -n hand{number} route add default via 10.202.{number}.1"
    ));
    netns
}

/// Gigabits in a second of one stream.
fn stream(from: &Namespaced, to: &Namespaced, address: &str) -> f64 {
    let listener = to.enter(|| TcpListener::bind(address).unwrap());
    let mut sender =
        from.enter(|| TcpStream::connect(address)).unwrap_or_else(|error| panic!("{address}: {error}"));
    let (mut receiver, _) = listener.accept().unwrap();
    let sends = thread::spawn(move || {
        let (buffer, begin) = (vec![0; 1 << 18], Instant::now());
        // The first part is TCP's slow start.
        while begin.elapsed() < STREAM + STREAM / 4 && sender.write_all(&buffer).is_ok() {}
    });
    let (mut buffer, begin) = (vec![0; 1 << 18], Instant::now());
    let (mut since, mut bytes) = (None::<Instant>, 0);
    loop {
        let count = receiver.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        match since {
            None if begin.elapsed() > STREAM / 4 => since = Some(Instant::now()),
            None => {}
            Some(_) => bytes += count,
        }
    }
    let took = since.unwrap().elapsed();
    sends.join().unwrap();
    bytes as f64 * 8.0 / 1e9 / took.as_secs_f64()
}
