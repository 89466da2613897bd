//! `127.0.0.1`: the kernel routes packets from there to a container only with `route_localnet` on the interface that
//! leads to it.
//!
//! With it the neighbours behind that interface could reach what listens on the host's 127.0.0.1, which the table's
//! guard prevents. Therefore it is on only while the guard is there: the chain `local_<interface>` stands for "on, by
//! this plugin", `closing_<interface>` for "about to be switched off", and both keep the table. Where somebody else had
//! it on, it is left to them.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use ipnetwork::{IpNetwork, Ipv4Network};
use netlink::sysctl;
use nftables::{Batch, Chain, Expr, Socket};

use crate::error::Error;
use crate::names;
use crate::ruleset::{NETWORKS, TABLE};

/// 127.0.0.0/8 (RFC 1122, 3.2.1.3).
pub(crate) const LOOPBACK: IpNetwork = match Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(network) => IpNetwork::V4(network),
    None => unreachable!(),
};

fn path(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

/// Whether `route_localnet` is this plugin's to switch: off, or on by this plugin.
pub(crate) fn is_ours(socket: &mut Socket, interface: &str) -> Result<bool, Error> {
    Ok(sysctl::get(&path(interface))? != "1"
        || has_chain(socket, &names::local_chain(interface))?
        || has_chain(socket, &names::closing_chain(interface))?)
}

/// Whether 127.0.0.1 leads through the interface. A DEL that ends while an ADD begins may switch it off for a moment.
pub(crate) fn is_on(interface: &str) -> Result<bool, Error> {
    let is_on = || sysctl::get(&path(interface)).map(|value| value == "1");
    if is_on()? {
        return Ok(true);
    }
    sleep(Duration::from_millis(10));
    Ok(is_on()?)
}

/// Switches it on. The interface's chain must be there by then, and be referred to.
pub(crate) fn enable(interface: &str) -> Result<(), Error> {
    sysctl::set(&path(interface), "1")?;
    Ok(())
}

/// Switches it off and removes the interface's chains, unless something refers to them.
///
/// An ADD refers to the chain before it switches on. Whatever an ADD does in between is therefore seen afterwards, and
/// it ends up on.
pub(crate) fn release(socket: &mut Socket, interface: &str) -> Result<(), Error> {
    let (local, closing) = (names::local_chain(interface), names::closing_chain(interface));
    let (local_chain, closing_chain) = (Chain::new(TABLE, &local), Chain::new(TABLE, &closing));
    if socket.is_referenced(&local_chain)? {
        return Ok(());
    }
    let closed = Batch::new()
        .del_chain(&local_chain)
        .add_chain(&closing_chain)
        .add_rule(&closing_chain, &[Expr::jump(NETWORKS.name)], None)
        .commit(socket);
    match closed {
        Ok(()) => {}
        Err(error) if error.is_busy() => return Ok(()),
        // Somebody else is at it, or was killed at it.
        Err(error) if error.is_not_found() => {
            if !has_chain(socket, &closing)? {
                return Ok(());
            }
        }
        Err(error) => return Err(error.into()),
    }
    switch(interface, "0")?;
    if has_chain(socket, &local)? {
        switch(interface, "1")?;
    }
    socket.del_unused_chain(&closing_chain)?;
    Ok(())
}

/// An interface that has gone took the parameter with it.
fn switch(interface: &str, value: &str) -> Result<(), Error> {
    match sysctl::set(&path(interface), value) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

fn has_chain(socket: &mut Socket, name: &str) -> Result<bool, Error> {
    Ok(socket.has_chain(&Chain::new(TABLE, name))?)
}
