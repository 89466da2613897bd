//! What the kernel tells of attachments, whatever any cache says: which links of the host lead to an interface in a
//! namespace that lives. A pair of interfaces goes with either of its namespaces, so that one which is there is in use,
//! be its runtime known here or not. Reading it walks all links and all processes: for `gc`, and where something seems
//! to be over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cni::{Attachment, NetworkList};
use host_local::Lease;
use netlink::{FoundNamespace, Link, Mac, Namespace, Socket};

use super::attached::Attached;
use crate::container_id::attachment;
use crate::error::Error;
use crate::netns::Life;
use crate::network::leases;

/// How long a namespace that no process is in, and that is mounted nowhere, may take to go.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(20);

/// Interfaces in living namespaces that links of this host lead to.
#[derive(Debug)]
pub(crate) struct Kernel {
    pairs: Vec<Pair>,
    /// Those without an end on the host, such as macvlan's.
    others: Vec<Link>,
    /// The numbers of the namespaces that a process is in, or that are mounted where we see it.
    used: BTreeSet<i32>,
    /// Where each of their addresses is, as text.
    addresses: BTreeMap<IpAddr, String>,
    /// The token of each attachment with published ports, and what the kernel remembers of it.
    published: Vec<host_port::Published>,
}

#[derive(Debug)]
struct Pair {
    outer: Link,
    /// Nothing where the kernel does not let us look.
    inner: Option<Link>,
}

impl Pair {
    fn is_in(&self, namespaces: &BTreeSet<i32>) -> bool {
        self.outer.peer_netns.is_some_and(|number| namespaces.contains(&number))
    }
}

fn pairs(socket: &mut Socket) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    for outer in socket.links()? {
        if outer.kind.as_deref() != Some("veth") || outer.peer_netns.is_none() {
            continue;
        }
        match socket.far_end(&outer) {
            Ok(None) => {}
            Ok(Some(inner)) => pairs.push(Pair { outer, inner: Some(inner) }),
            // It lives, but is not ours to look at.
            Err(_) => pairs.push(Pair { outer, inner: None }),
        }
    }
    Ok(pairs)
}

/// An attachment that somebody uses, though no cache here has it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// What identifies it.
    pub(crate) attachment: Attachment,
    /// Why it is kept.
    pub(crate) reason: String,
}

impl Kernel {
    /// As things are once what has just ended is gone: the kernel lets go of a namespace after a while.
    pub(crate) fn at_rest() -> Result<Self, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kernel = Self::read()?;
            let is_at_rest = kernel.pairs.iter().all(|pair| pair.is_in(&kernel.used));
            // One that is mounted elsewhere, or held open, stays.
            if is_at_rest || Instant::now() >= deadline {
                return Ok(kernel);
            }
            thread::sleep(PAUSE);
        }
    }

    pub(super) fn read() -> Result<Self, Error> {
        let mut socket = Socket::open()?;
        let own = Namespace::current()?;
        let found = FoundNamespace::all()?;
        let mut used = BTreeSet::new();
        for one in &found {
            used.extend(socket.number_of(&one.namespace)?);
        }
        let mut kernel = Self {
            pairs: pairs(&mut socket)?,
            others: Vec::new(),
            used,
            addresses: BTreeMap::new(),
            published: Vec::new(),
        };
        let numbers: BTreeSet<i32> = kernel.pairs.iter().filter_map(|pair| pair.outer.peer_netns).collect();
        for number in numbers {
            for (index, address) in socket.addresses_in(number).unwrap_or_default() {
                let is_it = |pair: &&Pair| {
                    pair.outer.peer_netns == Some(number) && pair.outer.peer_index == Some(index)
                };
                if let Some(pair) = kernel.pairs.iter().find(is_it) {
                    let place = format!("link {} leads to it in a namespace that lives", pair.outer.name);
                    kernel.addresses.insert(address.network.ip(), place);
                }
            }
        }
        for one in &found {
            // Where it cannot be entered, what leads to it from here has been found above.
            let _ = kernel.look_into(one, &own);
        }
        kernel.published = nftables::Socket::open_if_supported()
            .ok()
            .flatten()
            .and_then(|mut rules| host_port::published(&mut rules).ok())
            .unwrap_or_default();
        Ok(kernel)
    }

    /// Interfaces that are on one of the host, without being a veth's end: macvlan, ipvlan, a VLAN's.
    fn look_into(&mut self, found: &FoundNamespace, own: &Namespace) -> Result<(), netlink::Error> {
        let mut socket = found.namespace.socket()?;
        let Some(here) = socket.number_of(own)? else { return Ok(()) };
        let links = socket.links()?;
        let is_on_host = |link: &&Link| link.peer_netns == Some(here) && link.kind.as_deref() != Some("veth");
        for link in links.iter().filter(is_on_host) {
            for address in socket.addresses(link.index)? {
                let place = format!("interface {} of {} has it", link.name, found.path.display());
                self.addresses.insert(address.network.ip(), place);
            }
            self.others.push(link.clone());
        }
        Ok(())
    }

    /// Takes back that an attachment is gone where the kernel shows that it lives. Where its namespace is, nothing tells.
    pub(super) fn doubt(&self, attached: &mut Attached) {
        if attached.life == Life::Gone
            && let Some(evidence) = self.finds(attached)
        {
            let place = attached.netns.display();
            attached.life = Life::Unknown(format!("nothing is at {place} any more, but {evidence}"));
            attached.netns = PathBuf::new();
        }
    }

    /// Why an attachment lives whose namespace is not where it was told to be: a process is in it, or it is mounted. That
    /// somebody holds it open is not enough against what its own runtime said.
    fn finds(&self, attached: &Attached) -> Option<String> {
        let Attachment { network, ifname, .. } = &attached.attachment;
        let (own, told) = (attached.attachment.host_interface(), attached.host_interface());
        let mac: Option<Mac> = attached.mac().parse().ok();
        let is_inner = |inner: &Link| inner.name == ifname.as_str() && inner.mac == mac && mac.is_some();
        let is_it = |pair: &&Pair| {
            let is_ours = pair.outer.name == own
                && (bridge::is_of_network(network, &pair.outer)
                    || pair.inner.as_ref().is_none_or(|inner| inner.name == ifname.as_str()));
            let is_told = Some(pair.outer.name.as_str()) == told
                && pair.inner.as_ref().is_none_or(|inner| mac.is_none_or(|mac| inner.mac == Some(mac)));
            is_ours || is_told || pair.inner.as_ref().is_some_and(is_inner)
        };
        if let Some(pair) = self.pairs.iter().filter(|pair| pair.is_in(&self.used)).find(is_it) {
            return Some(format!("link {} leads to {ifname} in a namespace that lives", pair.outer.name));
        }
        let other = self.others.iter().find(|inner| is_inner(inner))?;
        Some(format!("interface {} is in a namespace that lives", other.name))
    }

    /// The attachments of a network that live and are not among the known ones.
    ///
    /// # Errors
    /// A link of the network lives, and nothing tells whose it is, so that nothing may be removed there.
    pub(super) fn survivors(
        &self,
        known: &BTreeSet<&Attachment>,
        list: &NetworkList,
    ) -> Result<Vec<Kept>, Error> {
        let network = &list.name;
        let mut kept: BTreeMap<Attachment, String> = BTreeMap::new();
        let told = |outer: &Link, ifname: &str| {
            format!("link {} leads to {ifname} in a namespace that lives", outer.name)
        };
        for pair in &self.pairs {
            if let Some(attachment) = bridge::attachment_of(network, &pair.outer) {
                let reason = told(&pair.outer, attachment.ifname.as_str());
                kept.insert(attachment, reason);
            }
        }
        for lease in leases(list)?.into_iter().flat_map(|set| set.used) {
            // Leases of old programs do not name the interface.
            let names = match &lease.ifname {
                Some(name) => vec![name.clone()],
                None => self.inner_names(),
            };
            for ifname in names {
                let Ok(attachment) = attachment(network.as_str(), &lease.container_id, &ifname) else {
                    continue;
                };
                let reason = self.leads_to(&attachment).map(|outer| told(outer, attachment.ifname.as_str()));
                if let Some(reason) = reason.or_else(|| self.holds(&lease)) {
                    kept.entry(attachment).or_insert(reason);
                }
            }
        }
        for published in self.published.iter().filter(|published| published.network == network.as_str()) {
            let Ok(attachment) = attachment(network.as_str(), &published.container_id, &published.ifname)
            else {
                continue;
            };
            let outer = self.pairs.iter().find(|pair| pair.outer.name == published.interface);
            if let (true, Some(pair)) = (attachment.token() == published.owner, outer) {
                let reason = told(&pair.outer, attachment.ifname.as_str());
                kept.entry(attachment).or_insert(reason);
            }
        }
        let names: BTreeSet<String> =
            known.iter().copied().chain(kept.keys()).map(Attachment::host_interface).collect();
        let is_nobodys =
            |pair: &&Pair| bridge::is_of_network(network, &pair.outer) && !names.contains(&pair.outer.name);
        if let Some(pair) = self.pairs.iter().find(is_nobodys) {
            return Err(Error::refused(
                format!("collect what is left on network {network}"),
                format!(
                    "{}, and nothing tells the whole ID of its container",
                    told(&pair.outer, "an interface")
                ),
                "nothing of the network was removed; name the cache of its runtime with --cache-dir",
            ));
        }
        kept.retain(|attachment, _| !known.contains(attachment));
        Ok(kept.into_iter().map(|(attachment, reason)| Kept { attachment, reason }).collect())
    }

    fn inner_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> =
            self.pairs.iter().filter_map(|pair| Some(&pair.inner.as_ref()?.name)).collect();
        names.into_iter().cloned().collect()
    }

    /// The host's end of an attachment, where the other one lives.
    fn leads_to(&self, attachment: &Attachment) -> Option<&Link> {
        let name = attachment.host_interface();
        self.pairs.iter().map(|pair| &pair.outer).find(|outer| outer.name == name)
    }

    /// Why a lease is in use: somebody living has the address.
    fn holds(&self, lease: &Lease) -> Option<String> {
        Some(format!("{}: {}", lease.address, self.addresses.get(&lease.address)?))
    }
}
