//! Who is attached where: the runtimes' result cache, the registry of names and the kernel, joined into one list.
//!
//! The cache says that an attachment was made, and with what; the registry, by which names it is known; the kernel,
//! whether its namespace still lives and which ports really lead to it. None of them is believed about what another one
//! knows better.

mod attached;
mod caller;
mod chosen;
mod ports;
mod served;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cni::{Attachment, ContainerId, IfName, NetworkList, NetworkName, case_blind};
use registry::{DEFAULT_STATE_DIR, Link, Member, Network, Registry};
use serde_json::Value;

pub(crate) use attached::Attached;
use caller::Evidence;
pub(crate) use chosen::keep_ports;
pub(crate) use ports::PortView;
use served::Inhabited;

use crate::endpoint::{LINK_ENV, plugin};
use crate::error::Error;
use crate::runs;
use crate::runtime::Runtime;

/// All networks and all attachments that are known on this host.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// The networks that the folder of configurations has, each name once.
    pub(crate) networks: Vec<NetworkList>,
    /// The attachments, by network, container and interface.
    pub(crate) attachments: Vec<Attached>,
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
        let (mut members, loose) = members(&registries)?;
        let mut ports = ports::published()?;
        let published: BTreeSet<String> = ports.keys().cloned().collect();
        let evidence = Evidence::read()?;
        let mut attachments = Vec::new();
        for entry in runtime.cache.entries().map_err(Error::contract("read the result cache"))? {
            let Some(attachment) = attachment(&entry.network, &entry.container_id, &entry.ifname) else {
                continue;
            };
            let member = members.remove(&attachment);
            let ports = ports.remove(&attachment.token());
            let since = runtime.cache.written(&attachment);
            attachments.push(Attached::of_entry(attachment, entry, member, ports, since, &evidence));
        }
        // What another runtime with a cache of its own has attached is known by its names.
        for (attachment, member) in members {
            let ports = ports.remove(&attachment.token());
            attachments.push(Attached::of_member(attachment, member, ports));
        }
        attachments.sort_by(|one, other| one.attachment.cmp(&other.attachment));
        leave_ports_to_their_publisher(&mut attachments, &published);
        Ok(Self { networks, attachments, registries, loose, inhabited: OnceCell::new() })
    }

    /// What a container was not given: by the runtime's `cleat-nri`, by its network, or by links that lead nowhere.
    pub(crate) fn notes(&self, attached: &Attached) -> Result<Vec<String>, Error> {
        let container = attached.attachment.container_id.as_str();
        let mut notes = Vec::new();
        for registry in &self.registries {
            let found = registry.notes(container);
            notes.extend(found.map_err(|error| Error::io("read notes", io::Error::other(error)))?);
            let inhabited = || self.inhabited.get_or_init(Inhabited::read).clone();
            notes.extend(served::note(registry, attached, inhabited));
        }
        notes.extend(self.loose.get(&attached.attachment).into_iter().flatten().cloned());
        Ok(notes)
    }

    /// The network of a name.
    pub(crate) fn network(&self, name: &str) -> Option<&NetworkList> {
        self.networks.iter().find(|list| list.name.as_str() == name)
    }

    /// The attachments of a network.
    pub(crate) fn members_of<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Attached> {
        self.attachments.iter().filter(move |attached| attached.attachment.network.as_str() == network)
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
#[expect(clippy::type_complexity, reason = "two tables by the same key")]
fn members(
    registries: &[Registry],
) -> Result<(BTreeMap<Attachment, Member>, BTreeMap<Attachment, Vec<String>>), Error> {
    let (mut members, mut loose) = (BTreeMap::new(), BTreeMap::new());
    for registry in registries {
        let networks: Vec<Network> =
            registry.networks().map_err(|error| Error::io("read the registry", io::Error::other(error)))?;
        for network in networks {
            for member in &network.members {
                if let Some(known) = attachment(&network.name, &member.container_id, &member.ifname) {
                    let links = loose_links(&network, member);
                    if !links.is_empty() {
                        loose.insert(known.clone(), links);
                    }
                    members.insert(known, member.clone());
                }
            }
        }
    }
    Ok((members, loose))
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

fn attachment(network: &str, container_id: &str, ifname: &str) -> Option<Attachment> {
    Some(Attachment {
        network: NetworkName::new(network).ok()?,
        container_id: ContainerId::new(container_id).ok()?,
        ifname: IfName::new(ifname).ok()?,
    })
}
