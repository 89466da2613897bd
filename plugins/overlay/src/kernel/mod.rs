//! The kernel's part of a network: the device, its addresses, and an entry of each kind for each other node.
//!
//! ```text
//! vxlan device             nolearning, one outer family, MAC address and MTU given
//! ├─ own addresses         the network's own address of each own block, as a host address
//! ├─ forwarding database   MAC dst OUTER                                          one a peer
//! ├─ neighbours            NETWORKADDRESS lladdr MAC nud permanent                one a block
//! └─ routes                BLOCK via NETWORKADDRESS dev DEV onlink proto 76       one a block
//! blackhole PREFIX metric 4294967295 proto 76                                     one a prefix
//!
//! wireguard device         UDP port, key, MTU given
//! ├─ own addresses, blackholes                                                    as above
//! ├─ peers                 KEY endpoint OUTER:PORT, allowed IPs BLOCK...          one a peer
//! └─ routes                BLOCK dev DEV proto 76                                 one a block
//! ```
//!
//! [`Kernel::apply`] compares all of it with what there is, and writes only differences. What others made stays: routes without
//! the agent's protocol, blackholes of other networks, addresses outside of the network's prefixes. The device's permanent
//! entries are the agent's.

mod apply;
mod device;
mod dump;
mod entries;
mod error;
mod event;
mod generic;
mod message;
mod peer;
mod read;
mod route;
mod socket;
#[cfg(test)]
mod tests;
mod tunnel;
mod underlay;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnetwork::IpNetwork;

use crate::key::{PrivateKey, PublicKey};
use crate::record::Mac;
use crate::wanted::Identity;
use entries::Entries;
pub(crate) use error::Error;
use generic::Wireguard;
use socket::{Events, Requests};

/// The kernel, in the network namespace in which it was opened.
pub(crate) struct Kernel {
    requests: Requests,
    events: Events,
    /// An event said that the device is not as it was made; it is to be looked at.
    is_device_suspect: bool,
    known: Mutex<Known>,
    /// A third socket, from the first network with WireGuard on.
    wireguard: Mutex<Option<Arc<Wireguard>>>,
}

/// What the kernel has, as far as this program knows: an event that says the same is none.
#[derive(Default)]
struct Known {
    device: Option<Made>,
    entries: Entries,
    underlay: Seen,
}

/// The device as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    name: String,
    index: u32,
    identity: Identity,
    /// None with WireGuard.
    mac: Option<Mac>,
    mtu: u32,
}

/// The underlay as the last event said.
#[derive(Debug, Default)]
struct Seen {
    index: u32,
    /// Up, with a carrier, and the MTU.
    link: Option<(bool, bool, u32)>,
    /// Whether an address can be used.
    addresses: BTreeMap<IpAddr, bool>,
}

/// The interface that leads to the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Underlay {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Addresses to send from: at most one a family.
    pub(crate) addresses: Vec<IpAddr>,
    /// In bytes.
    pub(crate) mtu: u32,
}

/// What [`Kernel::apply`] did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// How many entries were added or changed, and the device's attributes.
    pub(crate) made: usize,
    /// How many were removed.
    pub(crate) removed: usize,
    /// The device's public key, with WireGuard: what the other nodes have to know.
    pub(crate) key: Option<PublicKey>,
    /// The peers, or objects, that could not be had, and why.
    pub(crate) refused: Vec<(String, Error)>,
}

/// What happened that concerns a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The device is gone, down or changed.
    Device,
    /// The interface to the other nodes, its addresses or the default route changed.
    Underlay,
    /// An entry was removed, changed or added by another program.
    Entries,
    /// Anything: the kernel had more to tell than the socket could hold.
    Missed,
}

impl Kernel {
    /// Opens the sockets in the current network namespace.
    ///
    /// It must be called in a tokio runtime, in which two tasks then read the sockets.
    pub(crate) fn open() -> Result<Self, Error> {
        let (requests, events) = (Requests::open()?, Events::open()?);
        Ok(Self {
            requests,
            events,
            is_device_suspect: false,
            known: Mutex::default(),
            wireguard: Mutex::default(),
        })
    }

    /// A panic elsewhere leaves nothing here half done.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// WireGuard's socket, which is opened when it is first needed.
    async fn wireguard(&self) -> Result<Arc<Wireguard>, Error> {
        let opened = self.wireguard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match opened {
            Some(wireguard) => Ok(wireguard),
            None => self.open_wireguard().await,
        }
    }

    async fn open_wireguard(&self) -> Result<Arc<Wireguard>, Error> {
        let wireguard = Arc::new(Wireguard::open().await?);
        *self.wireguard.lock().unwrap_or_else(PoisonError::into_inner) = Some(wireguard.clone());
        Ok(wireguard)
    }

    /// Takes a network off the node: the agent's routes by the device, its blackholes for the prefixes, and the device. What is
    /// gone already is no error. A WireGuard device goes if it has this key, or none.
    pub(crate) async fn remove(
        &self,
        device: &str,
        prefixes: &[IpNetwork],
        key: Option<&PrivateKey>,
    ) -> Result<(), Error> {
        let link = self.requests.link(device).await?;
        *self.known() = Known::default();
        for route in self.requests.own_routes().await? {
            let is_by_device = link.as_ref().is_some_and(|link| route.index == Some(link.index));
            if is_by_device || route.is_blackhole_in(prefixes) {
                let removal = message::remove_route(&route.message, &route.text(Some(device)).to_string());
                apply::unless_gone(self.requests.send_one(removal).await)?;
            }
        }
        let Some(link) = link else { return Ok(()) };
        let is_ours = match link.kind.as_str() {
            "vxlan" => true,
            "wireguard" => {
                let found = self.open_wireguard().await?.read(link.index, device).await?.private;
                found.is_none() || found.as_ref() == key
            }
            _ => false,
        };
        if !is_ours {
            return Err(Error::NotOurs { name: device.to_owned(), is: device::describe(&link) });
        }
        apply::unless_gone(self.requests.send_one(message::remove_link(device, link.index)).await)
    }
}
