//! What goes on behind a call's back, in processes and in the kernel, and must not disturb the next measurement.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Namespace, Peer, Socket, Veth, sysctl};
use nix::sys::wait::wait;
use sandbox::Namespaced;

/// How long the kernel may still work in the background after many ADDs: in the first seconds it checks for duplicates of
/// the IPv6 addresses of the links on the host (DAD).
const SETTLING: Duration = Duration::from_secs(3);

/// Waits for processes that outlive the plugin that started them. They have become children of this process, because it is
/// the first of its PID namespace.
pub(crate) fn settle() {
    while wait().is_ok() {}
}

/// Waits until the kernel has come to rest after many ADDs.
pub(crate) fn rest() {
    thread::sleep(SETTLING);
}

/// A namespace without IPv6 for containers that exist throughout. The kernel sends the announcements of new IPv6 addresses
/// to all ports of the bridge for half a minute. Those of a thousand new containers would slow down every measured call.
pub(crate) fn quiet(name: &str) -> Namespaced {
    let netns = Namespaced::new(name);
    netns.enter(|| sysctl::set("net/ipv6/conf/default/disable_ipv6", "1").unwrap());
    netns
}

/// Waits until the kernel has removed all abandoned network namespaces, which it does in the background and in order. A
/// last namespace shows when that is done: with it goes its peer link in this namespace.
pub(crate) fn wait_for_namespaces() {
    const LINK: &str = "last";
    let last = Namespaced::new(LINK);
    let namespace = Namespace::open(last.path()).unwrap();
    let peer = Peer { name: "eth0", mac: None, namespace: namespace.as_fd() };
    let mut socket = Socket::open().unwrap();
    socket.add_veth(&Veth { name: LINK, mac: None, mtu: None, master: None, alias: None, peer }).unwrap();
    drop((namespace, last));
    let start = Instant::now();
    while socket.get_link(LINK).unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_mins(5), "the kernel does not clear namespaces away");
        thread::sleep(Duration::from_millis(10));
    }
}
