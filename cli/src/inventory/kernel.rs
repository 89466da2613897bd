//! What the kernel tells of attachments, whatever any cache says: which links of the host lead to an interface in a
//! namespace that lives. A veth pair goes with either of its namespaces, so one that is there is in use, whether or not its
//! runtime is known here. All links and all processes are read: for `gc`, and where a container seems to have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cni::{Attachment, NetworkList};
use netlink::{FoundNamespace, Link, Mac, Namespace, Socket};

use super::attached::Attached;
use crate::container_id::attachment;
use crate::error::Error;
use crate::netns::Life;
use crate::network::leases;

/// How long the kernel may take to remove a namespace that no process is in, and that is mounted nowhere.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(20);

/// Interfaces in living namespaces that links of this host lead to.
#[derive(Debug, Default)]
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

/// Why an interface is in use.
fn leads_to(ifname: &str, outer: &Link) -> String {
    format!("link {} leads to {ifname} in a namespace that lives", outer.name)
}

fn pairs(socket: &mut Socket) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    for outer in socket.links()? {
        if outer.kind.as_deref() != Some("veth") || outer.peer_netns.is_none() {
            continue;
        }
        match socket.far_end(&outer) {
            Ok(None) => {}
            // One that we may not look at lives all the same.
            far_end => pairs.push(Pair { outer, inner: far_end.ok().flatten() }),
        }
    }
    Ok(pairs)
}

/// An attachment that is in use, though no cache here has it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// What identifies it.
    pub(crate) attachment: Attachment,
    /// Why it is kept.
    pub(crate) reason: String,
}

impl Kernel {
    /// Reads it once namespaces that have just ended are removed, which the kernel does after a while.
    pub(crate) fn at_rest() -> Result<Self, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kernel = Self::read()?;
            let is_at_rest = kernel.pairs.iter().all(|pair| pair.is_in(&kernel.used));
            // A namespace that is mounted elsewhere, or held open, stays.
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
        let mut kernel = Self { pairs: pairs(&mut socket)?, used, ..Self::default() };
        let numbers: BTreeSet<i32> = kernel.pairs.iter().filter_map(|pair| pair.outer.peer_netns).collect();
        for number in numbers {
            for (index, address) in socket.addresses_in(number).unwrap_or_default() {
                let is_it = |pair: &&Pair| {
                    pair.outer.peer_netns == Some(number) && pair.outer.peer_index == Some(index)
                };
                if let Some(pair) = kernel.pairs.iter().find(is_it) {
                    kernel.addresses.insert(address.network.ip(), leads_to("it", &pair.outer));
                }
            }
        }
        for one in &found {
            // Where one cannot be entered, the links to it have been found above.
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

    /// An attachment that seems to be gone is of unknown namespace where the kernel shows that it lives.
    pub(super) fn correct(&self, attached: &mut Attached) {
        if attached.life == Life::Gone
            && let Some(evidence) = self.evidence_of(attached)
        {
            let place = attached.netns.display();
            attached.life = Life::Unknown(format!("nothing is at {place} any more, but {evidence}"));
            attached.netns = PathBuf::new();
        }
    }

    /// Why an attachment lives whose namespace is not at its path any more: a process is in it, or it is mounted. A namespace
    /// that is only held open does not count, as its own runtime has ended it.
    fn evidence_of(&self, attached: &Attached) -> Option<String> {
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
            return Some(leads_to(ifname.as_str(), &pair.outer));
        }
        let other = self.others.iter().find(|inner| is_inner(inner))?;
        Some(format!("interface {} is in a namespace that lives", other.name))
    }

    /// The attachments of a network that live and are not among the known ones.
    ///
    /// # Errors
    /// A link of the network leads to a living namespace, and its attachment is unknown: nothing may be removed there.
    pub(super) fn survivors(
        &self,
        known: &BTreeSet<&Attachment>,
        list: &NetworkList,
    ) -> Result<Vec<Kept>, Error> {
        let network = &list.name;
        let mut kept: BTreeMap<Attachment, String> = BTreeMap::new();
        for pair in &self.pairs {
            if let Some(attachment) = bridge::attachment_of(network, &pair.outer) {
                let reason = leads_to(attachment.ifname.as_str(), &pair.outer);
                kept.insert(attachment, reason);
            }
        }
        let inner = self.pairs.iter().filter_map(|pair| Some(pair.inner.as_ref()?.name.as_str()));
        let inner: BTreeSet<&str> = inner.collect();
        for lease in leases(list)?.into_iter().flat_map(|set| set.used) {
            // Leases of old programs do not name the interface.
            let names = lease.ifname.as_deref().map_or_else(|| inner.clone(), |name| BTreeSet::from([name]));
            for ifname in names {
                let Ok(attachment) = attachment(network.as_str(), &lease.container_id, ifname) else {
                    continue;
                };
                let reason = self.outer(&attachment.host_interface()).map(|outer| leads_to(ifname, outer));
                // Or else some living namespace has the address.
                let has_address =
                    || Some(format!("{}: {}", lease.address, self.addresses.get(&lease.address)?));
                if let Some(reason) = reason.or_else(has_address) {
                    kept.entry(attachment).or_insert(reason);
                }
            }
        }
        for published in self.published.iter().filter(|published| published.network == network.as_str()) {
            if let Ok(attachment) = attachment(network.as_str(), &published.container_id, &published.ifname)
                && attachment.token() == published.owner
                && let Some(outer) = self.outer(&published.interface)
            {
                kept.entry(attachment).or_insert_with(|| leads_to(&published.ifname, outer));
            }
        }
        let names: BTreeSet<String> =
            known.iter().copied().chain(kept.keys()).map(Attachment::host_interface).collect();
        let is_nobodys =
            |pair: &&Pair| bridge::is_of_network(network, &pair.outer) && !names.contains(&pair.outer.name);
        if let Some(pair) = self.pairs.iter().find(is_nobodys) {
            return Err(Error::refused(
                format!("collect what is left on network {network}"),
                leads_to("an interface", &pair.outer) + ", and nothing tells the whole ID of its container",
                "nothing of the network was removed; name the cache of its runtime with --cache-dir",
            ));
        }
        kept.retain(|attachment, _| !known.contains(attachment));
        Ok(kept.into_iter().map(|(attachment, reason)| Kept { attachment, reason }).collect())
    }

    /// A link of the host that leads to a living namespace.
    fn outer(&self, name: &str) -> Option<&Link> {
        self.pairs.iter().map(|pair| &pair.outer).find(|outer| outer.name == name)
    }
}
