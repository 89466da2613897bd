//! `hostAccess`: a macvlan of the host's own on the master, by which host and containers reach each other.
//!
//! The kernel hands nothing from a master to the macvlan interfaces on it, but from one of these to another. So the host gets one
//! for each network, without an address, with a route to each container and the master's address as source: containers know the
//! host by the address that it has on the network anyway. The interface goes with the last container.
//!
//! IPv4 alone: neighbour discovery asks for an address on the interface that has it.

use std::net::IpAddr;
use std::path::PathBuf;

use cni::{NetworkName, token};
use interface::with_length;
use ipnetwork::IpNetwork;
use lock::{LockFile, Mode};
use netlink::{Link, MacvlanMode, Namespace, Route, Socket, Upper, UpperKind, sysctl};

use crate::error::{Error, Result, differs};

/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;

/// The host's interface on a network.
pub(crate) struct HostAccess {
    name: String,
}

impl HostAccess {
    pub(crate) fn of(network: &NetworkName) -> Self {
        Self { name: format!("mvhost{}", &token(&[network.as_str()])[..9]) }
    }

    /// Adds what leads to a container with these addresses.
    pub(crate) fn add(
        &self,
        socket: &mut Socket,
        master: &Link,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<()> {
        let own = socket.addresses(master.index)?.into_iter().map(|address| address.network);
        let own: Vec<IpNetwork> = own.filter(IpNetwork::is_ipv4).collect();
        let _lock = self.lock()?;
        let link = self.ensure(socket, master)?;
        for address in addresses.filter(IpAddr::is_ipv4) {
            let of_subnet = own.iter().find(|network| network.contains(address)).or(own.first());
            let source = of_subnet.ok_or_else(|| Error::NoAddress(master.name.clone()))?.ip();
            socket.add_route(&Route { src: Some(source), ..route(&link, address) })?;
        }
        Ok(())
    }

    fn ensure(&self, socket: &mut Socket, master: &Link) -> Result<Link> {
        let gone = || Error::Transient(format!("link {} went away while it was set up", self.name));
        if let Some(link) = socket.get_link(&self.name)? {
            if link.peer_index == Some(master.index) {
                return Ok(link);
            }
            // The network has another master by now.
            socket.del_link(link.index)?;
        }
        let kind = UpperKind::Macvlan { mode: MacvlanMode::Bridge, mac: None, bc_queue_len: None };
        let upper = Upper { name: &self.name, link: master.index, mtu: None, kind, namespace: None };
        socket.add_upper(&upper)?;
        // It would take addresses of router advertisements, beside the master's. Without IPv6 there is nothing to switch off.
        let _ = sysctl::write(&format!("net/ipv6/conf/{}/disable_ipv6", self.name), "1");
        let link = socket.get_link(&self.name)?.ok_or_else(gone)?;
        socket.set_up(link.index)?;
        Ok(link)
    }

    /// Removes what leads to these addresses, and the interface with the last of them.
    pub(crate) fn remove(&self, socket: &mut Socket, addresses: &[IpAddr]) -> Result<()> {
        self.retain(socket, |address| !addresses.contains(&address))
    }

    /// Removes what leads to any other address than those that are to stay.
    pub(crate) fn retain(&self, socket: &mut Socket, stays: impl Fn(IpAddr) -> bool) -> Result<()> {
        if socket.get_link(&self.name)?.is_none() {
            // What an ADD or DEL that was killed has left of an interface that is gone.
            self.forget();
            return Ok(());
        }
        let lock = self.lock()?;
        let Some(link) = socket.get_link(&self.name)? else { return Ok(()) };
        let mut left = 0;
        // Where IPv6 could not be switched off, it has routes of the kernel's as well.
        for there in socket.routes(link.index)?.into_iter().filter(|route| route.dst.is_ipv4()) {
            if stays(there.dst.ip()) {
                left += 1;
            } else {
                socket.del_route(&route(&link, there.dst.ip()))?;
            }
        }
        if left == 0 {
            socket.del_link(link.index)?;
            match lock {
                Some(lock) => {
                    // What stays does no harm.
                    let _ = lock.remove();
                }
                None => self.forget(),
            }
        }
        Ok(())
    }

    /// Names what is missing of what [`HostAccess::add`] set up.
    pub(crate) fn check(
        &self,
        socket: &mut Socket,
        master: &Link,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<()> {
        let name = &self.name;
        let Some(link) = socket.get_link(name)?.filter(|link| link.peer_index == Some(master.index)) else {
            return differs(format!("the host's own interface {name} on {} does not exist", master.name));
        };
        if !link.up {
            return differs(format!("link {name} is down"));
        }
        let routes = socket.routes(link.index)?;
        let mut wanted = addresses.filter(IpAddr::is_ipv4);
        match wanted.find(|address| !routes.iter().any(|route| route.dst.ip() == *address)) {
            Some(address) => differs(format!("the host has no route to {address} by {name}")),
            None => Ok(()),
        }
    }

    /// Removes the lock file, unless somebody is at it.
    fn forget(&self) {
        let left = LockFile::try_take(&self.path(), Mode::Exclusive, false).ok().flatten();
        let _ = left.map(LockFile::remove);
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/run/cleat.{}.lock", self.name))
    }

    /// Waits until no other ADD or DEL is at it. Where no lock file can be made, as in a user namespace without a `/run`, goes
    /// on without.
    fn lock(&self) -> Result<Option<LockFile>> {
        match LockFile::take(&self.path(), Mode::Exclusive) {
            Ok(file) => Ok(Some(file)),
            Err(lock::Error::Busy(busy)) => Err(busy.into()),
            Err(_) => Ok(None),
        }
    }
}

/// The addresses of a container's interface, of which nothing else is known.
pub(crate) fn addresses_of(container: &Namespace, link: &Link) -> Result<Vec<IpAddr>> {
    let addresses = container.socket()?.addresses(link.index)?;
    Ok(addresses.into_iter().map(|address| address.network.ip()).collect())
}

fn route(link: &Link, address: IpAddr) -> Route {
    let scope = Some(SCOPE_LINK);
    Route { oif: Some(link.index), scope, ..Route::new(with_length(address, 32)) }
}
