//! A container that sends router advertisements.

use std::fs;
use std::net::Ipv6Addr;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use sandbox::{Namespaced, advertise};

const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0);

/// Whether router advertisements of a container add an address or a route: to another container, and to the host.
pub(super) fn follow(evil: &Namespaced, peer: &Namespaced) -> (bool, bool) {
    let look = || {
        let show = "ip -6 route show proto ra; ip -6 addr show scope global dynamic";
        !Command::new("sh").args(["-c", show]).output().unwrap().stdout.is_empty()
    };
    let mut sent = 0;
    while sent < 5 {
        sent += usize::from(advertise(Some(evil), "eth0", PREFIX));
        sleep(Duration::from_millis(100));
    }
    (peer.enter(look), look())
}

pub(super) fn set(parameter: &str, value: &str) {
    fs::write(format!("/proc/sys/net/ipv6/conf/{parameter}"), value).unwrap();
}
