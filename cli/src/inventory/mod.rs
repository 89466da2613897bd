//! All attachments: the runtimes' result cache, the registry of names and the kernel, joined into one list.
//!
//! The cache says that an attachment was made, and with what; the registry, by which names it is known; the kernel,
//! whether its namespace still lives and which ports lead to it. Each is asked only what it knows best.

mod attached;
mod caller;
mod chosen;
mod kernel;
mod ports;
mod served;

use std::cell::LazyCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cni::cache::Damaged;
use cni::{Attachment, ContainerId, NamespacesWithProcesses, NetworkList};
use registry::{DEFAULT_STATE_DIR, Link, Member, Network, Registry};

pub(crate) use attached::{Attached, kept_result};
use caller::Evidence;
pub(crate) use chosen::keep_ports;
pub(crate) use kernel::{Kept, Kernel};
pub(crate) use ports::PortView;

use crate::container_id::attachment;
use crate::error::Error;
use crate::network::state_dir;
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
    /// What could not be read, so that more may be attached than is known.
    faults: Vec<Error>,
    registries: Vec<Registry>,
    /// Notes on links without a source, by the attachment that has them.
    link_notes: BTreeMap<Attachment, Vec<String>>,
    /// Which namespaces have containers; read once, where that matters.
    inhabited: LazyCell<NamespacesWithProcesses>,
}

impl Inventory {
    /// Looks at the cache, the registries that configurations name, and the kernel.
    pub(crate) fn read(runtime: &Runtime<'_>) -> Result<Self, Error> {
        let networks = runtime.networks();
        let registries = registries(&networks);
        let mut faults = Vec::new();
        let (mut members, link_notes) = members(&registries, &mut faults);
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
            attachments.push(Attached::of_damaged(attachment, file, member, ports));
        }
        // The attachments of a runtime with a cache of its own are known by the registry alone.
        for (attachment, member) in members {
            let ports = ports.remove(&attachment.token());
            attachments.push(Attached::of_member(attachment, member, ports));
        }
        // The kernel may show that one lives which seems to have gone.
        if attachments.iter().any(Attached::is_gone) {
            let kernel = Kernel::read()?;
            for attached in &mut attachments {
                kernel.correct(attached);
            }
        }
        attachments.sort_by(|one, other| one.attachment.cmp(&other.attachment));
        leave_ports_to_their_publisher(&mut attachments, &published);
        for fault in &faults {
            output::tell(&format!("cleat: {fault}: what it knows is missing here\n"));
        }
        Ok(Self {
            networks,
            attachments,
            damaged,
            faults,
            registries,
            link_notes,
            inhabited: LazyCell::new(served::inhabited),
        })
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

    /// What a container was not given: by the runtime's `cleat-nri`, by its network, or by links without a source.
    pub(crate) fn notes(&self, attached: &Attached) -> Vec<String> {
        let mut notes = Vec::new();
        for registry in &self.registries {
            match registry.notes(attached.container_id()) {
                Ok(found) => notes.extend(found),
                Err(error) => notes.push(format!("read notes: {error}")),
            }
            notes.extend(served::note(registry, attached, &self.inhabited));
        }
        notes.extend(self.link_notes.get(&attached.attachment).cloned().unwrap_or_default());
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
    /// A link of the network leads to a living namespace, and its attachment is unknown: nothing may be removed there.
    pub(crate) fn survivors(&self, kernel: &Kernel, list: &NetworkList) -> Result<Vec<Kept>, Error> {
        let known = self.members_of(list.name.as_str()).map(|attached| &attached.attachment).collect();
        kernel.survivors(&known, list)
    }

    /// The attachments of one container, which is given by its name, its ID, or the beginning of its ID. A whole name or ID
    /// comes before a beginning.
    pub(crate) fn container(&self, container: &str) -> Result<Vec<&Attached>, Error> {
        let ids_of = |matches: &dyn Fn(&Attached) -> bool| -> BTreeSet<&str> {
            self.attachments.iter().filter(|attached| matches(attached)).map(Attached::container_id).collect()
        };
        let mut ids = ids_of(&|attached| attached.is_called(container));
        if ids.is_empty()
            && let Some(run) = runs::called(container)?
        {
            // It has no attachment, or its network knows no names. One whose ID begins so is not meant.
            ids = ids_of(&|attached| attached.container_id() == run.record.container_id);
        } else if ids.is_empty() {
            ids = ids_of(&|attached| {
                attached.container_id().starts_with(container) || attached.short_id().starts_with(container)
            });
        }
        match ids.len() {
            0 => Err(Error::NoContainer { container: container.to_owned() }),
            // One of its attachments may lack the name.
            1 => Ok(self.attachments.iter().filter(|one| ids.contains(one.container_id())).collect()),
            _ => Err(Error::SeveralContainers {
                container: container.to_owned(),
                ids: ids.into_iter().map(str::to_owned).collect(),
            }),
        }
    }
}

/// A runtime offers a container's ports to each of its networks. Where the kernel has them of one network, the others do not
/// publish them.
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
    let mut folders = BTreeSet::from([DEFAULT_STATE_DIR]);
    folders.extend(networks.iter().filter_map(state_dir));
    folders.into_iter().map(Registry::at).collect()
}

/// The members of all registries, and notes on their links without a source.
fn members(
    registries: &[Registry],
    faults: &mut Vec<Error>,
) -> (BTreeMap<Attachment, Member>, BTreeMap<Attachment, Vec<String>>) {
    let (mut members, mut notes) = (BTreeMap::new(), BTreeMap::new());
    for registry in registries {
        let networks: Vec<Network> = registry.networks().unwrap_or_else(|error| {
            faults.push(Error::io("read the registry", io::Error::other(error)));
            Vec::new()
        });
        for network in networks {
            for member in &network.members {
                if let Ok(known) = attachment(&network.name, &member.container_id, &member.ifname) {
                    notes.insert(known.clone(), link_notes(&network, member));
                    members.insert(known, member.clone());
                }
            }
        }
    }
    (members, notes)
}

/// Notes on links whose source is not there, or does not let the member link to it. Which of both must not be disclosed.
fn link_notes(network: &Network, member: &Member) -> Vec<String> {
    let tenant = member.tenant();
    let note = |link: &Link| {
        let namespace = link.source.rsplit_once('.').map_or(tenant, |(_, namespace)| namespace);
        let lack = if tenant.is_empty() || namespace == tenant {
            "is there".to_owned()
        } else {
            format!("allows namespace {tenant} by link-env.cni/allow-from")
        };
        format!("link to {}: nobody of that name {lack}", link.source)
    };
    member.links.iter().filter(|link| network.find(member, &link.source).is_none()).map(note).collect()
}

/// The attachment of a damaged file of the cache: one that the registry knows, if any, and of several networks' names that the
/// file's may begin with the longest.
fn likeliest(
    file: &Damaged,
    networks: &[NetworkList],
    members: &BTreeMap<Attachment, Member>,
) -> Option<Attachment> {
    let candidates = networks.iter().flat_map(|list| file.candidates(&list.name));
    candidates.min_by_key(|one| (!members.contains_key(one), Reverse(one.network.as_str().len())))
}
