//! Masquerading: what leaves a network takes the address of the host's interface.
//!
//! In a `table` of the suite's own or, where the configuration asks for it, in the `chains` that the reference makes with
//! iptables. Removal looks for both, and for what the `reference`'s own nftables backend left, whatever the
//! configuration says by now. Where there is nothing, that costs a few questions to the kernel and no program.

mod chains;
mod reference;
mod table;
mod wanted;

use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName};
use nftables::Socket;
use nftables::ledger;

use crate::conf::MasqueradeBackend;
use crate::error::Result;

pub(super) use chains::{add as add_chains, name as chain_name, take as take_chains};
pub(super) use reference::take as take_reference;
pub(super) use table::{Members, Put, Take, owners};
pub(super) use wanted::Masquerade;

impl Masquerade<'_> {
    /// Names what differs from what an ADD set up. What another program, or another configuration, made
    /// counts as well: it is looked for where that is missing.
    pub(in crate::filter) fn check(&self, backend: Option<MasqueradeBackend>) -> Result<()> {
        let chosen = choose(backend).and_then(|chosen| match chosen {
            Chosen::Nftables(mut socket) => Members::new(self).check(&mut socket),
            Chosen::Iptables => chains::check(self),
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
        let mut left = self.addresses.clone();
        if let Some(mut socket) = Socket::open_if_supported()? {
            left.retain(|address| {
                let alone = Self { addresses: vec![*address], subnets: self.subnets.clone(), ..*self };
                Members::new(&alone).check(&mut socket).is_err()
            });
            left = reference::not_masqueraded(&mut socket, self.attachment, left)?;
            left = chains::not_masqueraded(&mut socket, &self.chain(), left)?;
        }
        if !left.is_empty() {
            left = chains::not_masqueraded_by_legacy(&self.chain(), left)?;
        }
        Ok(left.is_empty())
    }

    /// Puts back what [`Masquerade::check`] misses: all of it, in place of what may be there of another kind.
    pub(in crate::filter) fn restore(&self, backend: Option<MasqueradeBackend>) -> Result<()> {
        if self.check(backend).is_ok() {
            return Ok(());
        }
        let (chain, addresses) = (self.chain(), &self.addresses);
        match choose(backend)? {
            Chosen::Nftables(mut socket) => {
                Members::new(self).restore(&mut socket)?;
                let (mut chains, mut reference) =
                    (chains::take(&chain, addresses), reference::take(self.attachment));
                ledger::put(&mut socket, &mut [&mut chains, &mut reference])?;
                chains::del_legacy(&chain, addresses)
            }
            Chosen::Iptables => {
                let is_legacy = chains::add_and_tell_legacy(self)?;
                if let Some(mut socket) = Socket::open_if_supported()? {
                    let owner = self.attachment.host_interface();
                    let (mut table, mut reference) =
                        (Take::new(&owner, addresses), reference::take(self.attachment));
                    ledger::put(&mut socket, &mut [&mut table, &mut reference])?;
                    if is_legacy {
                        ledger::put(&mut socket, &mut [&mut chains::take(&chain, addresses)])?;
                    }
                }
                if is_legacy { Ok(()) } else { chains::del_legacy(&chain, addresses) }
            }
        }
    }

    fn chain(&self) -> String {
        chains::name(&self.attachment.network, &self.attachment.container_id)
    }
}

enum Chosen {
    Nftables(Socket),
    Iptables,
}

/// The backend asked for; failing that nftables, where the kernel has it.
fn choose(backend: Option<MasqueradeBackend>) -> Result<Chosen> {
    Ok(match backend {
        Some(MasqueradeBackend::Iptables) => Chosen::Iptables,
        Some(MasqueradeBackend::Nftables) => Chosen::Nftables(Socket::open()?),
        None => Socket::open_if_supported()?.map_or(Chosen::Iptables, Chosen::Nftables),
    })
}

/// Says why no attachment could be masqueraded at present.
pub(crate) fn status(backend: Option<MasqueradeBackend>) -> Result<()> {
    match choose(backend)? {
        Chosen::Nftables(mut socket) => Ok(socket.generation().map(|_| ())?),
        Chosen::Iptables => chains::status(),
    }
}

/// Removes what the legacy variant of iptables has for an attachment. In chains that it shares with the same container's other
/// interfaces only the rules for these `addresses` go, where there are any.
pub(super) fn del_legacy(attachment: &Attachment, addresses: &[IpAddr]) -> Result<()> {
    chains::del_legacy(&chains::name(&attachment.network, &attachment.container_id), addresses)
}

/// Removes what other programs and backends have made for attachments of a network that are not valid any more. `socket` is
/// missing where the kernel has no nftables.
pub(super) fn gc(
    socket: Option<&mut Socket>,
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<()> {
    let ids: Vec<&ContainerId> = valid.iter().map(|(id, _)| id).collect();
    if let Some(socket) = socket {
        reference::gc(socket, network, valid)?;
        chains::gc(socket, network, &ids)?;
    }
    chains::gc_legacy(network, &ids)
}
