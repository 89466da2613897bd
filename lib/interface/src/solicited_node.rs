//! When a new IPv6 address begins to answer. Linux does two things from work queues: some time after the address was added
//! it joins the group that neighbour solicitations are sent to (RFC 4291, solicited-node address), and some time after the link
//! got a carrier it gives it the route to groups (`ff00::/8`). A solicitation that comes before is lost, and the next one
//! comes a second later. Without the route it is taken for a packet to be forwarded by the default route.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink::Socket;

use crate::error::Result;

/// How long to wait; afterwards the address will work by itself a little later.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until a link of the calling thread's namespace listens to solicitations for all of its IPv6 addresses given.
pub fn await_solicitable(link: &str, addresses: impl Iterator<Item = IpNetwork>) {
    let groups: Vec<String> = addresses
        .filter_map(|address| match address.ip() {
            IpAddr::V6(address) => Some(group(address)),
            IpAddr::V4(_) => None,
        })
        .collect();
    if groups.is_empty() {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    // A kernel without IPv6 has no such file, and nothing to wait for.
    while let Ok(text) = fs::read_to_string("/proc/thread-self/net/igmp6") {
        if groups.iter().all(|group| is_member(&text, link, group)) || Instant::now() >= deadline {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until a link with a carrier has its route to groups. The kernel adds it in the moment in which the
/// link becomes operational (`linkwatch_do_dev`, `addrconf_notify`). Since Linux 6.8 being asked about a link makes it catch up.
pub fn await_group_route(socket: &mut Socket, link: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !socket.get_link_by_index(link)?.is_none_or(|link| link.operational) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The solicited-node address in the kernel's spelling: `ff02::1:ff00:0/104` with the address's last 24 bits.
fn group(address: Ipv6Addr) -> String {
    let [.., a, b, c] = address.octets();
    format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}")
}

/// Each line: interface index, its name, the group, and counters.
fn is_member(text: &str, link: &str, group: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(link) && words.next() == Some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_read_from_the_kernels_list() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    2    eth0            ff0200000000000000000001ff00ab05     1 00000004 0\n";
        let group = group("fd00:1::ab05".parse().unwrap());
        assert!(is_member(text, "eth0", &group));
        assert!(!is_member(text, "lo", &group));
        assert!(!is_member(text, "eth0", "ff0200000000000000000001ff000002"));
    }
}
