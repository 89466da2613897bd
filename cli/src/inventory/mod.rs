//! All attachments: the runtimes' result cache, the registry of names and the kernel, joined into one list.
//!
//! The cache says that an attachment was made, and with what; the registry, by which names it is known; the kernel,
//! whether its namespace still lives and which ports really lead to it. None of them is believed about what another one
//! knows better.

mod attached;
mod caller;
mod chosen;
mod kernel;
mod ports;
mod served;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cni::cache::Damaged;
use cni::{Attachment, ContainerId, NetworkList, case_blind};
use registry::{DEFAULT_STATE_DIR, Link, Member, Network, Registry};
use serde_json::Value;

pub(crate) use attached::Attached;
use caller::Evidence;
pub(crate) use chosen::keep_ports;
pub(crate) use kernel::{Kept, Kernel};
pub(crate) use ports::PortView;
use served::Inhabited;

use crate::container_id::attachment;
use crate::endpoint::{LINK_ENV, plugin};
use crate::error::Error;
use crate::output;
use crate::runs;
use crate::runtime::Runtime;

/// All networks and all attachments that are known on this host.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// The networks that the folder of configurations has, each name once.
    pub(crate) networks: Vec<NetworkList>,
    /// The attachments, by network, container and interface.
    pub(crate) attachments: Vec<Attached>,
    /// Files of the cache that cannot be read, or are no entries.
    pub(crate) damaged: Vec<Damaged>,
    /// What could not be looked at, so that more may be attached than is known.
    faults: Vec<Error>,
    registries: Vec<Registry>,
    /// Links that lead nowhere, by whose they are.
    loose: BTreeMap<Attachment, Vec<String>>,
    /// Which namespaces have containers, looked up once where that matters.
    inhabited: OnceCell<Inhabited>,
}

impl Inventory {
    /// Looks at the cache, the registries that configurations name, and the kernel.
    pub(crate) fn read(runtime: &Runtime<'_>) -> Result<Self, Error> {
        let networks = runtime.networks();
        let registries = registries(&networks);
        let mut faults = Vec::new();
        let (mut members, loose) = members(&registries, &mut faults);
        let mut ports = ports::published().unwrap_or_else(|error| {
            output::tell(&format!("cleat: {error}\n"));
            BTreeMap::new()
        });
        let published: BTreeSet<String> = ports.keys().cloned().collect();
        let evidence = Evidence::read()?;
        let mut attachments = Vec::new();
        let (entries, damaged) = runtime.cache.all().unwrap_or_else(|error| {
            faults.push(Error::contract("read the result cache")(error));
            (Vec::new(), Vec::new())
        });
        for entry in entries {
            let Ok(attachment) = attachment(&entry.network, &entry.container_id, &entry.ifname) else {
                continue;
            };
            let member = members.remove(&attachment);
            let ports = ports.remove(&attachment.token());
            let since = runtime.cache.written(&attachment);
            attachments.push(Attached::of_entry(attachment, entry, member, ports, since, &evidence));
        }
        for file in &damaged {
            let Some(attachment) = likeliest(file, &networks, &members) else { continue };
            let (member, ports) = (members.remove(&attachment), ports.remove(&attachment.token()));
            attachments.push(Attached::of_damaged(attachment, &file.reason, member, ports));
        }
        // What another runtime with a cache of its own has attached is known by its names.
        for (attachment, member) in members {
            let ports = ports.remove(&attachment.token());
            attachments.push(Attached::of_member(attachment, member, ports));
        }
        // What seems to be over is only where the kernel does not show that it lives.
        if attachments.iter().any(Attached::is_gone) {
            let kernel = Kernel::read()?;
            for attached in &mut attachments {
                kernel.doubt(attached);
            }
        }
        attachments.sort_by(|one, other| one.attachment.cmp(&other.attachment));
        leave_ports_to_their_publisher(&mut attachments, &published);
        for fault in &faults {
            output::tell(&format!("cleat: {fault}: what it knows is missing here\n"));
        }
        Ok(Self { networks, attachments, damaged, faults, registries, loose, inhabited: OnceCell::new() })
    }

    /// Refuses to go on where more may be attached than is known.
    pub(crate) fn expect_whole(&self, doing: &str) -> Result<(), Error> {
        match self.faults.first() {
            None => Ok(()),
            Some(fault) => Err(Error::refused(
                doing,
                format!("what is attached is not known in full: {fault}"),
                "nothing was removed; what cannot be read comes first",
            )),
        }
    }

    /// What a container was not given: by the runtime's `cleat-nri`, by its network, or by links that lead nowhere.
    pub(crate) fn notes(&self, attached: &Attached) -> Vec<String> {
        let container = attached.attachment.container_id.as_str();
        let mut notes = Vec::new();
        for registry in &self.registries {
            match registry.notes(container) {
                Ok(found) => notes.extend(found),
                Err(error) => notes.push(format!("read notes: {error}")),
            }
            let inhabited = || self.inhabited.get_or_init(Inhabited::read).clone();
            notes.extend(served::note(registry, attached, inhabited));
        }
        notes.extend(self.loose.get(&attached.attachment).into_iter().flatten().cloned());
        notes
    }

    /// The network of a name.
    pub(crate) fn network(&self, name: &str) -> Option<&NetworkList> {
        self.networks.iter().find(|list| list.name.as_str() == name)
    }

    /// The attachments of a network.
    pub(crate) fn members_of<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Attached> {
        self.attachments.iter().filter(move |attached| attached.attachment.network.as_str() == network)
    }

    /// The attachments of a network that live according to the kernel, though nothing else knows of them.
    ///
    /// # Errors
    /// A link of the network lives, and nothing tells whose it is, so that nothing may be removed there.
    pub(crate) fn survivors(&self, kernel: &Kernel, list: &NetworkList) -> Result<Vec<Kept>, Error> {
        let known = self.members_of(list.name.as_str()).map(|attached| &attached.attachment).collect();
        kernel.survivors(&known, list)
    }

    /// The attachments of one container, which is given by its name, its ID, or the beginning of its ID. What is given
    /// in full goes before what merely begins so.
    pub(crate) fn container(&self, container: &str) -> Result<Vec<&Attached>, Error> {
        let found = |matches: &dyn Fn(&Attached) -> bool| -> Vec<&Attached> {
            self.attachments.iter().filter(|attached| matches(attached)).collect()
        };
        let mut all = found(&|attached| attached.is_called(container));
        if all.is_empty()
            && let Some(run) = runs::called(container)?
        {
            // It may be on no network, or on one that knows no names: still it is not another one whose ID begins so.
            let id = run.record.container_id;
            all = found(&|attached| attached.attachment.container_id.as_str() == id);
            if all.is_empty() {
                return Err(Error::NoContainer { container: container.to_owned() });
            }
        }
        if all.is_empty() {
            all = found(&|attached| {
                attached.attachment.container_id.as_str().starts_with(container)
                    || attached.short_id().starts_with(container)
            });
        }
        let ids: BTreeSet<&str> =
            all.iter().map(|attached| attached.attachment.container_id.as_str()).collect();
        match ids.len() {
            0 => Err(Error::NoContainer { container: container.to_owned() }),
            1 => {
                // One of its attachments may lack the name.
                let id = ids.into_iter().collect::<String>();
                Ok(found(&|attached| attached.attachment.container_id.as_str() == id))
            }
            _ => Err(Error::SeveralContainers {
                container: container.to_owned(),
                ids: ids.into_iter().map(str::to_owned).collect(),
            }),
        }
    }
}

/// A runtime offers a container's ports to each of its networks. Where the kernel has them of one, it is not asked for on
/// the others.
fn leave_ports_to_their_publisher(attachments: &mut [Attached], published: &BTreeSet<String>) {
    let is_publisher = |attached: &Attached| published.contains(&attached.attachment.token());
    let publishers: BTreeSet<ContainerId> = attachments
        .iter()
        .filter(|attached| is_publisher(attached))
        .map(|attached| attached.attachment.container_id.clone())
        .collect();
    for attached in attachments {
        if publishers.contains(&attached.attachment.container_id) && !is_publisher(attached) {
            attached.ports.clear();
        }
    }
}

/// The registries that configurations name, and the one of those that name none.
fn registries(networks: &[NetworkList]) -> Vec<Registry> {
    let mut folders = BTreeSet::from([DEFAULT_STATE_DIR.to_owned()]);
    for list in networks {
        let state = plugin(list, LINK_ENV).and_then(|conf| case_blind::get(conf, "stateDir"));
        folders.extend(state.and_then(Value::as_str).map(str::to_owned));
    }
    folders.into_iter().map(Registry::at).collect()
}

/// The members of all registries, and their links that lead nowhere.
fn members(
    registries: &[Registry],
    faults: &mut Vec<Error>,
) -> (BTreeMap<Attachment, Member>, BTreeMap<Attachment, Vec<String>>) {
    let (mut members, mut loose) = (BTreeMap::new(), BTreeMap::new());
    for registry in registries {
        let networks: Vec<Network> = registry.networks().unwrap_or_else(|error| {
            faults.push(Error::io("read the registry", io::Error::other(error)));
            Vec::new()
        });
        for network in networks {
            for member in &network.members {
                if let Ok(known) = attachment(&network.name, &member.container_id, &member.ifname) {
                    let links = loose_links(&network, member);
                    if !links.is_empty() {
                        loose.insert(known.clone(), links);
                    }
                    members.insert(known, member.clone());
                }
            }
        }
    }
    (members, loose)
}

/// What is told of links whose source is not there, or does not let the member link to it: which of both, is not ours to say.
fn loose_links(network: &Network, member: &Member) -> Vec<String> {
    let is_loose = |link: &&Link| network.find(member, &link.source).is_none();
    let tell = |link: &Link| {
        let foreign = link
            .source
            .rsplit_once('.')
            .filter(|(_, namespace)| !member.tenant().is_empty() && *namespace != member.tenant());
        match foreign {
            Some(_) => format!(
                "link to {}: nobody of that name allows namespace {} by link-env.cni/allow-from",
                link.source,
                member.tenant()
            ),
            None => format!("link to {}: nobody of that name is there", link.source),
        }
    };
    member.links.iter().filter(is_loose).map(tell).collect()
}

/// Whose a damaged file of the cache is: a member's of whom the registry knows, or else by its name alone.
fn likeliest(
    file: &Damaged,
    networks: &[NetworkList],
    members: &BTreeMap<Attachment, Member>,
) -> Option<Attachment> {
    let mut candidates: Vec<Attachment> =
        networks.iter().flat_map(|list| file.candidates(&list.name)).collect();
    if let Some(known) = candidates.iter().position(|candidate| members.contains_key(candidate)) {
        return Some(candidates.swap_remove(known));
    }
    // The longest of several networks' names that it may begin with.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.network.as_str().len()));
    candidates.into_iter().next()
}
