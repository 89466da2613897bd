//! A picture of the host: its networks, the containers on them, published ports and links.
//!
//! This module says what there is to draw; `svg` arranges and draws it, `dot` and `mermaid` hand it to programs that do.

mod dot;
mod mermaid;
mod svg;

use std::net::IpAddr;

use cni::{NetworkList, case_blind};
use registry::{Member, Network};
use serde_json::{Map, Value};

use crate::inventory::{Attached, Inventory, PortView};

/// How the picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A drawing, for browsers and documents
    Svg,
    /// For Graphviz
    Dot,
    /// For Mermaid, which forges draw from Markdown
    Mermaid,
}

/// Everything that is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    lanes: Vec<Lane>,
}

/// A network with its containers.
#[derive(Debug, Default)]
struct Lane {
    name: String,
    /// The bridge's name, where the network has one.
    bridge: Option<String>,
    subnets: Vec<String>,
    /// How it is closed: `internal`, `ingress published`, `icc false`.
    tags: Vec<&'static str>,
    cards: Vec<Card>,
}

/// A container's interface on a network.
#[derive(Debug, Default)]
struct Card {
    short_id: String,
    name: String,
    ifname: String,
    addresses: Vec<String>,
    /// Ports that it serves on without being published, such as `5432/tcp`.
    exposed: Vec<String>,
    ports: Vec<Port>,
    links: Vec<Link>,
    /// The other networks that the same container is on.
    elsewhere: Vec<String>,
    /// Whether its namespace has gone.
    gone: bool,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    /// The host's side: `:8080`, with the address where it is a certain one.
    host: String,
    /// The container's side: `80/tcp`.
    inner: String,
}

/// A link from a card to another one of its lane.
#[derive(Debug)]
struct Link {
    /// The place of the source in the lane.
    source: usize,
    alias: String,
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

    /// The picture as text.
    pub(crate) fn draw(&self, format: Format) -> String {
        match format {
            Format::Svg => svg::draw(self),
            Format::Dot => dot::draw(self),
            Format::Mermaid => mermaid::draw(self),
        }
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
    fn notes(&self) -> Option<String> {
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

#[cfg(test)]
mod tests;
