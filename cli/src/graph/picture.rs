//! What is drawn, as the inventory has it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::iter;
use std::net::IpAddr;

use cni::NetworkList;
use registry::{Member, Network};

use crate::agent::Peer;
use crate::inventory::{Attached, Inventory, PortView};
use crate::network::Described;

/// Everything that is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(super) lanes: Vec<Lane>,
}

/// A network with its containers.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) name: String,
    /// The bridge's name, where the network has one.
    pub(super) bridge: Option<String>,
    pub(super) subnets: Vec<String>,
    /// How it is closed: `internal`, `ingress published`, `icc false`.
    pub(super) tags: Vec<&'static str>,
    pub(super) cards: Vec<Card>,
}

/// A container's interface on a network.
#[derive(Debug, Default)]
pub(super) struct Card {
    pub(super) short_id: String,
    pub(super) name: String,
    pub(super) ifname: String,
    pub(super) addresses: Vec<String>,
    /// Ports that it serves on without being published, such as `5432/tcp`.
    pub(super) exposed: Vec<String>,
    pub(super) ports: Vec<Port>,
    pub(super) links: Vec<Link>,
    /// The other networks that the same container is on.
    pub(super) elsewhere: Vec<String>,
    /// Whether its namespace has gone.
    pub(super) gone: bool,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port {
    /// The host's side: `:8080`, with the address where it is a certain one.
    pub(super) host: String,
    /// The container's side: `80/tcp`.
    pub(super) inner: String,
}

/// A link from a card to another one of its lane.
#[derive(Debug)]
pub(super) struct Link {
    /// The place of the source in the lane.
    pub(super) source: usize,
    pub(super) alias: String,
}

impl Picture {
    /// What an inventory has to show: all of it, or the networks named.
    ///
    /// `peers` are the other nodes of overlay networks, by the name of the network.
    pub(crate) fn of(inventory: &Inventory, only: &[String], peers: &HashMap<String, Vec<Peer>>) -> Self {
        let mut lanes: Vec<Lane> = inventory.networks.iter().map(Lane::of).collect();
        for attached in &inventory.attachments {
            let name = attached.attachment.network.as_str();
            if !lanes.iter().any(|lane| lane.name == name) {
                lanes.push(Lane { name: name.to_owned(), ..Lane::default() });
            }
        }
        lanes.retain(|lane| only.is_empty() || only.contains(&lane.name));
        for lane in &mut lanes {
            lane.cards = cards(&lane.name, inventory);
            // Links lead to cards by their place, so these come last.
            lane.cards.extend(peers.get(&lane.name).into_iter().flatten().map(Card::of_peer));
        }
        Self { lanes }
    }
}

impl Lane {
    fn of(list: &NetworkList) -> Self {
        let network = Described::of(list);
        let published_only = network.ingress.as_deref() == Some("published");
        let tags = [
            (network.internal, "internal"),
            (published_only && !network.internal, "ingress published"),
            (!network.icc, "icc false"),
        ];
        let mut subnets: Vec<String> = network.pools.iter().map(|pool| pool.subnet.to_string()).collect();
        // Several ranges of a subnet may be leased.
        subnets.dedup();
        Self {
            name: network.name,
            bridge: network.bridge,
            subnets,
            tags: tags.into_iter().filter_map(|(is_so, tag)| is_so.then_some(tag)).collect(),
            cards: Vec::new(),
        }
    }

    /// Name, subnets and tags.
    pub(super) fn title(&self, separator: &str) -> String {
        let about = self.subnets.iter().map(String::as_str).chain(self.tags.iter().copied());
        iter::once(self.name.as_str()).chain(about).collect::<Vec<_>>().join(separator)
    }
}

fn cards(network: &str, inventory: &Inventory) -> Vec<Card> {
    let mut members: Vec<&Attached> = inventory.members_of(network).collect();
    members.sort_by_key(|attached| attached.called());
    let names = members.iter().filter_map(|attached| attached.member.clone()).collect();
    let names = Network { members: names, ..Network::new(network) };
    let place = |member: Option<&Member>, source: &str| {
        let found = names.find(member?, source)?;
        members.iter().position(|attached| attached.attachment.container_id.as_str() == found.container_id)
    };
    let card = |attached: &&Attached| {
        let member = attached.member.as_ref();
        let links = member.into_iter().flat_map(|member| &member.links);
        let link = |link: &registry::Link| {
            Some(Link { source: place(member, &link.source)?, alias: link.alias.clone() })
        };
        let mut seen = HashSet::new();
        // Both families have the same port.
        let ports: Vec<Port> =
            attached.ports.iter().map(Port::of).filter(|port| seen.insert(port.clone())).collect();
        let exposed = member.into_iter().flat_map(|member| &member.expose).map(|range| String::from(*range));
        Card {
            short_id: attached.short_id(),
            name: attached.called(),
            ifname: attached.attachment.ifname.to_string(),
            addresses: attached.addresses(),
            exposed: exposed.filter(|exposed| !ports.iter().any(|port| port.inner == *exposed)).collect(),
            links: links.filter_map(link).collect(),
            ports,
            elsewhere: inventory
                .attachments
                .iter()
                .map(|other| &other.attachment)
                .filter(|other| other.container_id == attached.attachment.container_id)
                .map(|other| other.network.to_string())
                .filter(|other| other != network)
                .collect(),
            gone: attached.is_gone(),
        }
    };
    members.iter().map(card).collect()
}

impl Card {
    /// Another node of an overlay network, which the tunnel leads to.
    fn of_peer(peer: &Peer) -> Self {
        Self {
            short_id: "node".to_owned(),
            name: peer.name.clone(),
            ifname: "via".to_owned(),
            addresses: peer.address.iter().chain(&peer.blocks).cloned().collect(),
            gone: !peer.is_ok(),
            ..Self::default()
        }
    }

    /// Name, addresses, notes and whether it is gone, a line each.
    pub(super) fn label(&self) -> String {
        let lines = iter::once(self.name.clone()).chain(self.addresses.iter().cloned()).chain(self.notes());
        lines.chain(self.gone.then(|| "gone".to_owned())).collect::<Vec<_>>().join("\n")
    }

    /// Ports that are only exposed, and other networks.
    pub(super) fn notes(&self) -> Option<String> {
        let both = [("exposes", &self.exposed), ("also on", &self.elsewhere)];
        let known = both.into_iter().filter(|(_, all)| !all.is_empty());
        let notes: Vec<String> = known.map(|(what, all)| format!("{what} {}", all.join(", "))).collect();
        (!notes.is_empty()).then(|| notes.join(" · "))
    }
}

impl Port {
    fn of(port: &PortView) -> Self {
        let address = match port.host_ip {
            any if any.is_unspecified() => String::new(),
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Self { host: format!("{address}:{}", port.host_port), inner: port.inner() }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.host, self.inner)
    }
}
