//! Masquerading: what leaves a network takes the address of the host's interface.
//!
//! In a `table` of the suite's own or, where the configuration asks for it, in the `chains` that the reference makes with
//! iptables. Removal looks for both, and for what the `reference`'s own nftables backend left, whatever the
//! configuration says by now. Where there is nothing, that costs a few questions to the kernel and no program.

mod chains;
mod reference;
mod table;

use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName};
use ipnetwork::IpNetwork;
use nftables::Socket;

use crate::conf::{Conf, MasqueradeBackend};
use crate::error::Error;
use crate::names;
use crate::plan::Plan;

/// What masquerades one attachment.
#[derive(Debug)]
pub(crate) struct Masquerade<'a> {
    attachment: &'a Attachment,
    /// Whose packets take the host's address.
    pub addresses: Vec<IpAddr>,
    /// The host's interface by which they keep their own: the bridge, or the VLAN device on it.
    home: &'a str,
    /// Where they keep their own with iptables, as in the reference.
    subnets: Vec<IpNetwork>,
    /// Where they keep their own all the same.
    except: &'a [IpNetwork],
}

impl<'a> Masquerade<'a> {
    /// What masquerades an attachment that is set up by a plan.
    pub(crate) fn new(attachment: &'a Attachment, conf: &'a Conf, plan: &Plan) -> Self {
        let addresses = plan.ips.iter().map(|ip| ip.address.ip()).collect();
        let (home, except) = (conf.host_link().as_str(), &conf.masquerade_except);
        Self { attachment, addresses, home, subnets: plan.subnets(), except }
    }

    /// Sets it up; each backend does so in one transaction a table.
    pub(crate) fn add(&self, backend: Option<MasqueradeBackend>) -> Result<(), Error> {
        match choose(backend)? {
            Chosen::Nftables(mut socket) => table::Members::new(self).add(&mut socket),
            Chosen::Iptables => chains::add(self),
        }
    }

    /// Names what differs from what [`Masquerade::add`] set up. What another program, or another configuration, made
    /// counts as well: it is looked for where that is missing.
    pub(crate) fn check(&self, backend: Option<MasqueradeBackend>) -> Result<(), Error> {
        let chosen = choose(backend).and_then(|chosen| match chosen {
            Chosen::Nftables(mut socket) => table::Members::new(self).check(&mut socket),
            Chosen::Iptables => chains::check(self),
        });
        match chosen {
            Err(_) if self.is_made_otherwise()? => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether each address is masqueraded by one thing or another.
    fn is_made_otherwise(&self) -> Result<bool, Error> {
        // Nothing else knows of exceptions.
        if !self.except.is_empty() {
            return Ok(false);
        }
        let mut left = self.addresses.clone();
        if let Some(mut socket) = Socket::open_if_supported()? {
            left.retain(|address| {
                let alone = Self { addresses: vec![*address], subnets: self.subnets.clone(), ..*self };
                table::Members::new(&alone).check(&mut socket).is_err()
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
    pub(crate) fn restore(&self, backend: Option<MasqueradeBackend>) -> Result<(), Error> {
        if self.check(backend).is_ok() {
            return Ok(());
        }
        let (chain, addresses) = (self.chain(), &self.addresses);
        match choose(backend)? {
            Chosen::Nftables(mut socket) => {
                table::Members::new(self).restore(&mut socket)?;
                chains::del(&mut socket, &chain, addresses)?;
                reference::del(&mut socket, self.attachment)?;
                chains::del_legacy(&chain, addresses)
            }
            Chosen::Iptables => {
                let is_legacy = chains::add_and_tell_legacy(self)?;
                if let Some(mut socket) = Socket::open_if_supported()? {
                    table::del(&mut socket, &names::host_interface(self.attachment), addresses)?;
                    reference::del(&mut socket, self.attachment)?;
                    if is_legacy {
                        chains::del(&mut socket, &chain, addresses)?;
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
fn choose(backend: Option<MasqueradeBackend>) -> Result<Chosen, Error> {
    Ok(match backend {
        Some(MasqueradeBackend::Iptables) => Chosen::Iptables,
        Some(MasqueradeBackend::Nftables) => Chosen::Nftables(Socket::open()?),
        None => Socket::open_if_supported()?.map_or(Chosen::Iptables, Chosen::Nftables),
    })
}

/// Says why no attachment could be masqueraded at present.
pub(crate) fn status(backend: Option<MasqueradeBackend>) -> Result<(), Error> {
    match choose(backend)? {
        Chosen::Nftables(mut socket) => Ok(socket.generation().map(|_| ())?),
        Chosen::Iptables => chains::status(),
    }
}

/// Removes whatever masquerades an attachment, past errors. `addresses` tells its rules from those of the same
/// container's other interfaces in chains that they share; without, all of them go. `socket` is missing where the
/// kernel has no nftables.
pub(crate) fn del(
    socket: Option<&mut Socket>,
    attachment: &Attachment,
    addresses: &[IpAddr],
) -> Result<(), Error> {
    let chain = chains::name(&attachment.network, &attachment.container_id);
    let Some(socket) = socket else {
        return chains::del_legacy(&chain, addresses);
    };
    let own = table::del(socket, &names::host_interface(attachment), addresses);
    let chains = chains::del(socket, &chain, addresses);
    let reference = reference::del(socket, attachment);
    // What has been masqueraded by the table was not by legacy chains: only here would a program be started.
    let legacy = match own {
        Ok(true) => Ok(()),
        _ => chains::del_legacy(&chain, addresses),
    };
    legacy.and(reference).and(chains).and(own.map(|_| ()))
}

/// Removes what masquerades attachments of a network that are not valid any more.
pub(crate) fn gc(
    mut socket: Option<&mut Socket>,
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<(), Error> {
    let ids: Vec<&ContainerId> = valid.iter().map(|(id, _)| id).collect();
    if let Some(socket) = &mut socket {
        let ports: Vec<String> = valid
            .iter()
            .map(|(id, ifname)| {
                let (network, container_id, ifname) = (network.clone(), id.clone(), ifname.clone());
                names::host_interface(&Attachment { network, container_id, ifname })
            })
            .collect();
        for owner in table::owners(socket, network)?.iter().filter(|owner| !ports.contains(owner)) {
            table::del(socket, owner, &[])?;
        }
        reference::gc(socket, network, valid)?;
        chains::gc(socket, network, &ids)?;
    }
    chains::gc_legacy(network, &ids)
}
