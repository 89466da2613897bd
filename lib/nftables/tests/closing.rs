//! Dropping a socket that deleted something takes no time, and the kernel closes the socket soon after.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nftables::{Batch, Element, Family, Field, Set, Socket, Table, Type};

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
        Batch::new()
            .create_table(&TABLE)
            .create_set(&ADDRESSES)
            .commit(&mut Socket::open().unwrap())
            .unwrap();
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
