//! Masquerading: what leaves a network takes the address of the host's interface.
//!
//! In a `table` of the suite's own or, where the configuration asks for it, in the `chains` that the reference makes with
//! iptables. Removal looks for both, and for what the `reference`'s own nftables backend left, whatever the
//! configuration says by now. Where there is nothing, that costs a few questions to the kernel and no program.

mod chains;
mod reference;
mod table;

use std::net::IpAddr;
use std::slice::from_ref;

use cni::{Attachment, ContainerId, IfName, NetworkName};
use ipnetwork::IpNetwork;
use iptables::{Family, Iptables, Variant};
use nftables::Socket;
use nftables::ledger::{self, Entry};

use crate::conf::{Conf, MasqueradeBackend};
use crate::error::{Error, Result};
use crate::plan::Plan;

pub(super) use chains::{add as add_chains, del_legacy, take as take_chains};
pub(super) use reference::take as take_reference;
pub(super) use table::{OWNERS, Put, Take};

/// What masquerades one attachment.
#[derive(Debug)]
pub(crate) struct Masquerade<'a> {
    attachment: &'a Attachment,
    /// The attachment's port, by which the table knows it.
    owner: String,
    /// Whose packets take the host's address.
    addresses: Vec<IpAddr>,
    /// The host's interface by which they keep their own: the bridge, or the VLAN device on it.
    home: &'a str,
    /// Where they keep their own with iptables, as in the reference.
    subnets: Vec<IpNetwork>,
    /// Where they keep their own all the same; of the families that there are addresses of.
    except: Vec<IpNetwork>,
    /// Those of them that are the prefixes of an overlay network: for all of its members.
    overlay: Vec<IpNetwork>,
}

impl<'a> Masquerade<'a> {
    /// What masquerades an attachment that is set up by a plan; `None` where nothing is to.
    pub(super) fn new(attachment: &'a Attachment, conf: &'a Conf, plan: &Plan) -> Option<Self> {
        if !conf.keys.ip_masq || plan.ips.is_empty() {
            return None;
        }
        let addresses: Vec<IpAddr> = plan.addresses().collect();
        let has_family = |network: &IpNetwork| addresses.iter().any(|ip| ip.is_ipv4() == network.is_ipv4());
        let of_families = |all: &[IpNetwork]| all.iter().copied().filter(has_family).collect();
        let except = of_families(&conf.masquerade_except);
        let overlay = conf.node.as_ref().map_or_else(Vec::new, |node| of_families(&node.prefixes));
        let (owner, home) = (attachment.host_interface(), conf.host_link().as_str());
        Some(Self { attachment, owner, addresses, home, subnets: plan.subnets(), except, overlay })
    }

    /// Names what differs from what an ADD set up. Where that is missing, what another program or another configuration
    /// made is looked for, and counts as well.
    pub(super) fn check(&self, backend: Option<MasqueradeBackend>) -> Result<()> {
        let chosen = choose(backend).and_then(|nftables| match nftables {
            Some(mut socket) => self.check_table(&mut socket, &self.addresses),
            None => chains::check(self),
        });
        match chosen {
            Err(_) if self.is_made_otherwise()? => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether each address is masqueraded by one thing or another.
    fn is_made_otherwise(&self) -> Result<bool> {
        // Nothing else knows of exceptions.
        if !self.except.is_empty() {
            return Ok(false);
        }
        let (chain, mut left) = (chain_of(self.attachment), self.addresses.clone());
        if let Some(mut socket) = Socket::open_if_supported()? {
            left.retain(|address| self.check_table(&mut socket, from_ref(address)).is_err());
            left = reference::not_masqueraded(&mut socket, self.attachment, left)?;
            left = chains::not_masqueraded(&mut socket, &chain, left)?;
        }
        if !left.is_empty() {
            left = chains::not_masqueraded_by_legacy(&chain, left)?;
        }
        Ok(left.is_empty())
    }

    /// Puts back what [`Masquerade::check`] misses: all of it, in place of what may be there of another kind.
    pub(super) fn restore(&self, backend: Option<MasqueradeBackend>) -> Result<()> {
        if self.check(backend).is_ok() {
            return Ok(());
        }
        let (chain, addresses) = (chain_of(self.attachment), &self.addresses);
        let (mut chains, mut reference) = (chains::take(&chain, addresses), reference::take(self.attachment));
        if let Some(mut socket) = choose(backend)? {
            self.restore_table(&mut socket)?;
            ledger::put(&mut socket, &mut [&mut chains, &mut reference])?;
            return chains::del_legacy(&chain, addresses);
        }
        chains::add(self)?;
        let is_legacy = Iptables::find(Family::V4)?.variant()? == Variant::Legacy;
        if let Some(mut socket) = Socket::open_if_supported()? {
            let mut table = Take::new(&self.owner, addresses);
            let mut others: Vec<&mut dyn Entry<Error>> = vec![&mut table, &mut reference];
            if is_legacy {
                others.push(&mut chains);
            }
            ledger::put(&mut socket, &mut others)?;
        }
        if is_legacy { Ok(()) } else { chains::del_legacy(&chain, addresses) }
    }
}

/// The chain that an attachment has with iptables.
pub(super) fn chain_of(attachment: &Attachment) -> String {
    cni::reference::chain("", &attachment.network, &attachment.container_id)
}

/// The backend asked for; failing that nftables, where the kernel has it. Without a socket it is iptables.
fn choose(backend: Option<MasqueradeBackend>) -> Result<Option<Socket>> {
    Ok(match backend {
        Some(MasqueradeBackend::Iptables) => None,
        Some(MasqueradeBackend::Nftables) => Some(Socket::open()?),
        None => Socket::open_if_supported()?,
    })
}

/// Says why no attachment could be masqueraded at present.
pub(crate) fn status(backend: Option<MasqueradeBackend>) -> Result<()> {
    match choose(backend)? {
        Some(mut socket) => Ok(socket.generation().map(drop)?),
        None => chains::status(),
    }
}

/// Removes what other programs and backends have made for attachments of a network that are not valid any more. `socket` is
/// missing where the kernel has no nftables.
pub(super) fn gc(
    socket: Option<&mut Socket>,
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<()> {
    if let Some(socket) = socket {
        reference::gc(socket, network, valid)?;
        chains::gc(socket, network, valid)?;
    }
    chains::gc_legacy(network, valid)
}
