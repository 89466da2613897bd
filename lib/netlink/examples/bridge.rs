//! Makes a bridge on a host and connects a container to it, as `ip link`, `ip address` and `ip route` would, and sends
//! something from one to the other.
//!
//! ```sh
//! cargo run -p netlink --example bridge
//! ```
//!
//! It needs no root and changes nothing of this host: host and container are network namespaces of its own, which end with it.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use netlink::{AddressFlags, Bridge, Namespace, Peer, Route, Socket, Veth};
use nix::sched::{CloneFlags, unshare};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    // In a user namespace of its own a process may do all this without root.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    let container = new_namespace()?;

    // A socket stays in the namespace that it was opened in.
    let mut host = Socket::open()?;
    let bridge = host.add_bridge(&Bridge { name: "demo0", ..Bridge::default() })?;
    host.add_address(bridge.index, "10.88.0.1/24".parse()?, AddressFlags::default())?;

    // One request makes both ends: this one a port of the bridge, the other in the container.
    host.add_veth(&Veth {
        name: "veth0",
        mac: None,
        mtu: None,
        master: Some(bridge.index),
        alias: Some("eth0 of the container"),
        peer: Peer { name: "eth0", mac: None, namespace: container.as_fd() },
    })?;

    let mut inside = container.socket()?;
    let eth0 = inside.get_link("eth0")?.ok_or("the container has no eth0")?;
    inside.add_address(eth0.index, "10.88.0.2/24".parse()?, AddressFlags::default())?;
    inside.set_up(eth0.index)?;
    inside.add_route(&Route {
        gateway: Some("10.88.0.1".parse()?),
        oif: Some(eth0.index),
        ..Route::new("0.0.0.0/0".parse()?)
    })?;

    show("host", &mut host)?;
    show("container", &mut inside)?;

    let listener = TcpListener::bind("10.88.0.1:8080")?;
    let _connection = container.enter(|| TcpStream::connect("10.88.0.1:8080"))??;
    println!("host: connection from {}", listener.accept()?.1.ip());

    // An error says what was being done to which object, and what kind of refusal it is.
    if let Err(error) = host.add_bridge(&Bridge { name: "demo0", ..Bridge::default() }) {
        println!("host: {error} (is_exists: {})", error.is_exists());
    }

    host.del_link_by_name("veth0")?;
    println!("container: eth0 is there: {}", inside.get_link("eth0")?.is_some());
    Ok(())
}

/// A new network namespace, which exists as long as the value. Only the thread that makes it is moved into it.
fn new_namespace() -> Result<Namespace> {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(Namespace::current()?)
    });
    made.join().map_err(|_| "the thread that makes a namespace panicked")?
}

/// Prints the links that are up, each with its kind, addresses and routes.
fn show(place: &str, socket: &mut Socket) -> Result<()> {
    for link in socket.links()?.iter().filter(|link| link.up) {
        let kind = link.kind.as_deref().unwrap_or("device");
        println!("{place}: {} ({kind})", link.name);
        for address in socket.addresses(link.index)?.iter().filter(|address| address.network.is_ipv4()) {
            println!("{place}: {} has {}", link.name, address.network);
        }
        for route in socket.routes(link.index)? {
            if let Some(gateway) = route.gateway {
                println!("{place}: {} by {gateway}", route.dst);
            }
        }
    }
    Ok(())
}
