//! The sandbox's network: this host, an outside host at its uplink, and namespaces for containers.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Address, AddressFlags, IpNetwork, Namespace, Peer, Route, Socket, Veth, sysctl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// This host's address on its uplink (documentation range, RFC 5737).
pub const UPLINK_V4: &str = "192.0.2.1";
/// The outside host's address.
pub const OUTSIDE_V4: &str = "192.0.2.2";
/// This host's IPv6 address on its uplink (documentation range, RFC 3849).
pub const UPLINK_V6: &str = "2001:db8::1";
/// The outside host's IPv6 address.
pub const OUTSIDE_V6: &str = "2001:db8::2";

const NETNS: &str = "/run/netns";

/// A named network namespace, as `ip netns add` makes them; removed on drop.
#[derive(Debug)]
pub struct Namespaced {
    name: String,
    path: PathBuf,
}

impl Namespaced {
    /// Makes a namespace at `/run/netns/<name>`, with its loopback up.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = Path::new(NETNS).join(name);
        fs::create_dir_all(NETNS).unwrap();
        fs::File::create_new(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        let target = path.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
            mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .expect("bind the network namespace to its name");
            up("lo");
        })
        .join()
        .unwrap();
        Self { name: name.to_owned(), path }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path, for `CNI_NETNS`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a function in the namespace.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        Namespace::open(&self.path).unwrap().enter(function).unwrap()
    }
}

impl Drop for Namespaced {
    fn drop(&mut self) {
        // A test may have removed it already.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}

/// This host, with an outside host at the other end of its uplink.
#[derive(Debug)]
pub struct Host {
    /// The outside host. It has no routes to containers: it reaches this host's own addresses only.
    pub outside: Namespaced,
}

impl Host {
    /// Builds it in the current namespace.
    #[must_use]
    pub fn new() -> Self {
        Self::with_outside("outside")
    }

    /// The same with a name for the outside host's namespace, for tests with several hosts.
    #[must_use]
    pub fn with_outside(name: &str) -> Self {
        up("lo");
        let outside = Namespaced::new(name);
        let namespace = Namespace::open(outside.path()).unwrap();
        let veth = Veth {
            name: "uplink",
            mac: None,
            mtu: None,
            master: None,
            alias: None,
            peer: Peer { name: "eth0", mac: None, namespace: namespace.as_fd() },
        };
        Socket::open().unwrap().add_veth(&veth).unwrap();
        outside.enter(|| address("eth0", &[OUTSIDE_V4, OUTSIDE_V6]));
        sysctl::set("net/ipv6/conf/uplink/accept_dad", "0").unwrap();
        address("uplink", &[UPLINK_V4, UPLINK_V6]);
        await_link_local("uplink");
        let mut socket = Socket::open().unwrap();
        let uplink = socket.get_link("uplink").unwrap().unwrap().index;
        for (dst, gateway) in [("0.0.0.0/0", OUTSIDE_V4), ("::/0", OUTSIDE_V6)] {
            let gateway = gateway.parse().ok();
            socket
                .add_route(&Route { gateway, oif: Some(uplink), ..Route::new(dst.parse().unwrap()) })
                .unwrap();
        }
        Self { outside }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

fn up(name: &str) {
    let mut socket = Socket::open().unwrap();
    let link = socket.get_link(name).unwrap().unwrap();
    socket.set_up(link.index).unwrap();
}

/// Waits for the link-local address, which the kernel adds some time after the link has a carrier. A snapshot that was taken
/// earlier would differ from later ones.
fn await_link_local(link: &str) {
    let mut socket = Socket::open().unwrap();
    let index = socket.get_link(link).unwrap().unwrap().index;
    let deadline = Instant::now() + Duration::from_secs(10);
    let is_ready = |address: &Address| {
        !address.tentative && matches!(address.network, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local())
    };
    while !socket.addresses(index).unwrap().iter().any(is_ready) {
        assert!(Instant::now() < deadline, "{link} has no link-local address");
        thread::sleep(Duration::from_millis(5));
    }
}

fn address(link: &str, addresses: &[&str]) {
    let mut socket = Socket::open().unwrap();
    let index = socket.get_link(link).unwrap().unwrap().index;
    for address in addresses {
        let length = if address.contains(':') { 64 } else { 24 };
        let network = format!("{address}/{length}").parse().unwrap();
        socket.add_address(index, network, AddressFlags { nodad: true, ..AddressFlags::default() }).unwrap();
    }
    socket.set_up(index).unwrap();
}
