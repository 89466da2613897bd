//! `macspoofchk` and `ipspoofchk`: a container sends only from its own hardware address, and uses only its own addresses.
//!
//! Each has its sets and chains in one table, `bridge cleat_bridge`: see [`macspoofchk`] and [`ipspoofchk`]. They go with the last
//! port that they hold, and the table goes with both.

mod ipspoofchk;
mod macspoofchk;
pub(crate) mod reference;

use cni::Attachment;
use netlink::Mac;
use nftables::ledger::{Change, Entry};
use nftables::{Chain, Socket, Table};

use super::owner::interface;
use crate::error::{Error, Result, differs};
use crate::parts::veth::Port;

pub(super) use ipspoofchk::BOUND;
pub(crate) use ipspoofchk::Given;
pub(super) use macspoofchk::GUARDED;

/// What an attachment's port is to be held to. What an earlier ADD of the same attachment left is replaced.
#[derive(Debug)]
pub(super) struct Put<'a> {
    attachment: &'a Attachment,
    /// `macspoofchk`: the hardware address.
    mac: Option<Mac>,
    /// `ipspoofchk`: the addresses.
    given: Option<Given>,
}

impl<'a> Put<'a> {
    /// None where the port is to be held to nothing.
    pub(super) fn new(attachment: &'a Attachment, mac: Option<Mac>, given: Option<Given>) -> Option<Self> {
        (mac.is_some() || given.is_some()).then_some(Self { attachment, mac, given })
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        macspoofchk::TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        let port = interface(&self.attachment.host_interface())?;
        if let Some(mac) = self.mac {
            macspoofchk::skeleton().ensure(socket, &mut change.batch)?;
            macspoofchk::leave(socket, &mut change.batch, port)?;
            macspoofchk::enter(&mut change.batch, port, self.attachment, mac);
        }
        if let Some(given) = &self.given {
            ipspoofchk::skeleton().ensure(socket, &mut change.batch)?;
            // Where another program has flushed the map alone, the other elements are there, and in the way.
            if !ipspoofchk::leave(socket, &mut change.batch, port)? && change.is_blocked {
                ipspoofchk::leave_elements(socket, &mut change.batch, port, given)?;
            }
            ipspoofchk::enter(&mut change.batch, port, self.attachment, given);
        }
        Ok(())
    }
}

/// The removal of whatever holds a port.
#[derive(Debug)]
pub(super) struct Take<'a> {
    port: &'a str,
    has_left: bool,
    /// The chains of what other ports seemed to need.
    kept: Vec<Chain<'static>>,
}

impl<'a> Take<'a> {
    /// Where nothing is there, nothing is done.
    pub(super) fn new(port: &'a str) -> Self {
        Self { port, has_left: false, kept: Vec::new() }
    }
}

impl Entry<Error> for Take<'_> {
    fn table(&self) -> Table<'static> {
        macspoofchk::TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        self.kept.clear();
        // One question where there is no table.
        if !socket.has_table(&macspoofchk::TABLE)? {
            return Ok(());
        }
        let port = interface(self.port)?;
        let batch = &mut change.batch;
        let checks = [
            (macspoofchk::leave(socket, batch, port)?, macspoofchk::OWN_ADDRESS, macspoofchk::skeleton()),
            (ipspoofchk::leave(socket, batch, port)?, ipspoofchk::OWN_NETWORK, ipspoofchk::skeleton()),
        ];
        self.has_left |= checks.iter().any(|(left, ..)| *left);
        if !self.has_left {
            return Ok(());
        }
        let mut unused = Vec::new();
        for (left, chain, skeleton) in checks {
            match socket.references(&chain)? {
                Some(owners) if owners == usize::from(left) => unused.push((chain, skeleton)),
                Some(_) => self.kept.push(chain),
                None => {}
            }
        }
        // In one transaction: the process may be killed between two, and the table would stay.
        for (chain, skeleton) in &unused {
            if self.kept.is_empty() {
                batch.del_chain(chain);
            } else {
                skeleton.remove(batch);
            }
        }
        if self.kept.is_empty() && !unused.is_empty() {
            batch.del_table(&macspoofchk::TABLE);
        }
        Ok(())
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        for chain in &self.kept {
            if socket.references(chain)? == Some(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Names what differs from what a port is to be held to. `mac` is compared with the reference's chains where the reference
/// made the port.
pub(super) fn check(
    socket: &mut Socket,
    attachment: &Attachment,
    port: &Port,
    (mac, given): (Option<Mac>, Option<&Given>),
) -> Result<()> {
    let name = &port.link.name;
    if let Some(mac) = mac {
        let is_held = if port.is_ours {
            macspoofchk::is_held(socket, interface(name)?, mac)?
        } else {
            reference::is_guarded(socket, attachment, name, mac)?
        };
        if !is_held {
            return differs(format!("port {name} is not held to MAC address {mac}"));
        }
    }
    given.map_or(Ok(()), |given| ipspoofchk::check(socket, name, given))
}

/// The entry that puts back what [`check`] misses, where anything is. Chains of the reference's are made at once.
pub(super) fn restore<'a>(
    socket: &mut Socket,
    attachment: &'a Attachment,
    port: &Port,
    (mac, given): (Option<Mac>, Option<Given>),
) -> Result<Option<Put<'a>>> {
    let mut mac = mac.filter(|mac| check(socket, attachment, port, (Some(*mac), None)).is_err());
    if !port.is_ours
        && let Some(mac) = mac.take()
    {
        reference::add(socket, attachment, &port.link.name, mac)?;
    }
    let given = match check(socket, attachment, port, (None, given.as_ref())) {
        Err(Error::Differs(_)) if port.is_ours => given,
        Err(Error::Differs(said)) => return differs(format!("{said}: DEL and ADD")),
        outcome => outcome.map(|()| None)?,
    };
    Ok(Put::new(attachment, mac, given))
}
