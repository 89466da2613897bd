//! Dropping a socket takes no time, whether it deleted something or another one did just before.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::{Duration, Instant};

use nftables::{Batch, Element, Family, Field, Keeper, Set, Socket, Table, Type};

const TABLE: Table = Table::new(Family::Inet, "cleat");
const ADDRESSES: Set = Set::new(TABLE, "addresses", &[Type::Ipv4Addr]);

/// How many netfilter sockets this namespace has.
fn open() -> usize {
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    sockets.lines().filter(|line| line.split_whitespace().nth(1) == Some("12")).count()
}

/// Since Linux 6.10 the garbage collector for files in flight has a kernel thread of its own.
fn collects_by_itself() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 10)
}

#[test]
fn nobody_waits_for_a_socket_that_deleted() {
    inside::run(|| {
        prepare();
        let before = open();
        let mut times: Vec<Duration> = (0..25)
            .map(|number| {
                let mut socket = Socket::open().unwrap();
                let key = [Field::Ipv4([10, 0, 0, number].into())];
                Batch::new().create_element(&ADDRESSES, &Element::new(&key)).commit(&mut socket).unwrap();
                Batch::new().del_element(&ADDRESSES, &key).commit(&mut socket).unwrap();
                let start = Instant::now();
                drop(socket);
                let took = start.elapsed();
                // Time for the kernel to close this socket: until then the next transaction would wait.
                thread::sleep(Duration::from_millis(40));
                took
            })
            .collect();
        times.sort();
        // A grace period takes 4 to 20 ms.
        assert!(!collects_by_itself() || times[12] < Duration::from_millis(3), "{times:?}");
        let deadline = Instant::now() + Duration::from_secs(3);
        while open() != before {
            assert!(Instant::now() < deadline, "{} sockets are still open", open() - before);
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Makes table and set.
fn prepare() {
    let mut socket = Socket::open().unwrap();
    Batch::new().create_table(&TABLE).create_set(&ADDRESSES).commit(&mut socket).unwrap();
}

/// How long an addition takes behind a deletion, each with a socket of its own: the median of many.
fn addition_behind_a_deletion() -> Duration {
    let mut times: Vec<Duration> = (0..20)
        .map(|number| {
            let key = [Field::Ipv4([10, 0, 0, number].into())];
            let start = Instant::now();
            let mut socket = Socket::open().unwrap();
            Batch::new().create_element(&ADDRESSES, &Element::new(&key)).commit(&mut socket).unwrap();
            drop(socket);
            let took = start.elapsed();
            Batch::new().del_element(&ADDRESSES, &key).commit(&mut Socket::open().unwrap()).unwrap();
            took
        })
        .collect();
    times.sort();
    times[10]
}

#[test]
fn a_keeper_closes_what_it_was_sent_when_nothing_is_pending() {
    inside::run(|| {
        prepare();
        let before = open();
        // Each waits for the deletion before it.
        let without = addition_behind_a_deletion();
        thread::sleep(Duration::from_millis(100));
        let keeper = Keeper::claim().unwrap();
        assert!(Keeper::claim().is_none(), "the name is taken");
        let keeps = thread::spawn(|| keeper.keep());
        let with = addition_behind_a_deletion();
        assert!(open() > before, "the sockets are kept");
        assert!(with < without / 2, "{with:?} with a keeper, {without:?} without");
        let start = Instant::now();
        keeps.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "it stays for {:?}", start.elapsed());
        assert_eq!(open(), before);
        // The name is free again, and nobody has to be there.
        assert!(Keeper::claim().is_some());
        addition_behind_a_deletion();
    });
}

#[test]
fn who_takes_the_name_of_the_keeper_stops_nobody() {
    inside::run(|| {
        prepare();
        let name = SocketAddr::from_abstract_name("cleat/netfilter-sockets").unwrap();
        // It never accepts: the queue of connections is full at some time.
        let squatter = UnixListener::bind_addr(&name).unwrap();
        assert!(Keeper::claim().is_none());
        for _ in 0..5_000 {
            let mut socket = Socket::open().unwrap();
            socket.generation().unwrap();
        }
        drop(squatter);
        assert!(Keeper::claim().is_some());
    });
}
