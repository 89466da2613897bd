//! What there is to draw, as the inventory has it.

use std::net::IpAddr;

use cni::{NetworkList, case_blind};
use registry::{Member, Network};
use serde_json::{Map, Value};

use crate::inventory::{Attached, Inventory, PortView};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub(crate) fn of(inventory: &Inventory, only: &[String]) -> Self {
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
        }
        Self { lanes }
    }
}

impl Lane {
    fn of(list: &NetworkList) -> Self {
        let bridge = list.plugins.iter().find(|plugin| text(plugin, "type") == "bridge");
        let is = |key: &str| bridge.and_then(|plugin| case_blind::get(plugin, key));
        let mut tags = Vec::new();
        if is("internal") == Some(&Value::Bool(true)) {
            tags.push("internal");
        } else if is("ingress") == Some(&Value::from("published")) {
            tags.push("ingress published");
        }
        if is("icc") == Some(&Value::Bool(false)) {
            tags.push("icc false");
        }
        Self {
            name: list.name.to_string(),
            bridge: bridge.map(|plugin| match text(plugin, "bridge") {
                "" => "cni0".to_owned(),
                name => name.to_owned(),
            }),
            subnets: list.plugins.iter().flat_map(subnets).collect(),
            tags,
            cards: Vec::new(),
        }
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    case_blind::get(object, key).and_then(Value::as_str).unwrap_or_default()
}

/// The subnets that a plugin's IPAM gives addresses of, as they are written.
fn subnets(plugin: &Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(ipam)) = case_blind::get(plugin, "ipam") else { return Vec::new() };
    let sets = case_blind::get(ipam, "ranges").and_then(Value::as_array).into_iter().flatten();
    let ranges = sets.filter_map(Value::as_array).flatten().filter_map(Value::as_object);
    let mut subnets: Vec<String> = Vec::new();
    for subnet in std::iter::once(ipam).chain(ranges).map(|range| text(range, "subnet")) {
        if !subnet.is_empty() && !subnets.iter().any(|known| known == subnet) {
            subnets.push(subnet.to_owned());
        }
    }
    subnets
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
        let mut ports: Vec<Port> = Vec::new();
        for port in attached.ports.iter().map(Port::of) {
            // Both families have the same port.
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let exposed = member.into_iter().flat_map(|member| &member.expose).map(|range| String::from(*range));
        Card {
            short_id: attached.short_id(),
            name: attached.called(),
            ifname: attached.attachment.ifname.to_string(),
            addresses: attached.addresses(),
            exposed: exposed.filter(|exposed| !ports.iter().any(|port| port.inner == *exposed)).collect(),
            links: links
                .filter_map(|link| {
                    Some(Link { source: place(member, &link.source)?, alias: link.alias.clone() })
                })
                .collect(),
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
    /// What there is to say of it besides its addresses and published ports.
    pub(super) fn notes(&self) -> Option<String> {
        let exposed = (!self.exposed.is_empty()).then(|| format!("exposes {}", self.exposed.join(", ")));
        let elsewhere =
            (!self.elsewhere.is_empty()).then(|| format!("also on {}", self.elsewhere.join(", ")));
        let notes: Vec<String> = exposed.into_iter().chain(elsewhere).collect();
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
