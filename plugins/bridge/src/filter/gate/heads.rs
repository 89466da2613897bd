//! What may stand before the rules of a bridge's gate: rules that let in the device of an overlay network, and the networks of
//! `ingressFrom`. Of the networks that share the bridge each has its own, so what is there stays, and each needs what it asks
//! for.
//!
//! The device's come first: a network of `ingressFrom` may have the addresses of members on other nodes, and they are no more
//! open to each other than those on this one.

use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Selector, WholeRule};

use super::table::TABLE;
use super::tunnel::Tunnel;
use crate::conf::Edge;
use crate::filter::owner::interface;

/// What the comment of a rule begins with that lets a network of `ingressFrom` in, before the network.
const FROM_NETWORK: &str = "from ";

/// What the comment of a rule begins with that is about the device of an overlay network, before the device.
const OVERLAY: &str = "overlay ";

/// The rules that a bridge's gate has before its own.
#[derive(Debug)]
pub(super) struct Heads<'a> {
    pub bridge: Field,
    pub edge: Edge,
    /// What is done with what goes from one member to another.
    pub members: Expr<'static>,
    /// Networks that have to be let in.
    pub from: &'a [IpNetwork],
    /// The way to members on other nodes, where there is one, or it is known.
    pub tunnel: Option<Tunnel<'a>>,
}

/// Those that are there.
#[derive(Debug, Default)]
pub(super) struct Found {
    device: Option<String>,
    networks: Vec<IpNetwork>,
}

impl Heads<'_> {
    /// What the first of some rules say, and the others.
    pub(super) fn read<'r>(&self, there: &'r [WholeRule]) -> (Found, &'r [WholeRule]) {
        let (device, rest) = self.device(there).map_or((None, there), |(device, rest)| (Some(device), rest));
        let networks: Vec<IpNetwork> = rest.iter().map_while(|rule| lets_in(rule, self.bridge)).collect();
        let rest = &rest[networks.len()..];
        (Found { device, networks }, rest)
    }

    /// The device that the first rules let in, where they are those, and the others.
    fn device<'r>(&self, there: &'r [WholeRule]) -> Option<(String, &'r [WholeRule])> {
        let device = there.first()?.rule.comment.as_deref()?.strip_prefix(OVERLAY)?;
        let wanted = self.joining(interface(device).ok()?);
        let (heads, rest) = there.split_at_checked(wanted.len())?;
        let is_whole = heads.iter().zip(&wanted).all(|(rule, wanted)| rule.consists_of(TABLE, wanted));
        is_whole.then(|| (device.to_owned(), rest))
    }

    /// What is asked for and not there.
    pub(super) fn missing(&self, found: &Found) -> Option<String> {
        let device = self.tunnel.map(|tunnel| tunnel.device);
        if let Some(device) = device.filter(|device| found.device.as_deref() != Some(*device)) {
            return Some(format!("overlay device {device}"));
        }
        let missing = self.from.iter().find(|network| !found.networks.contains(network));
        missing.map(ToString::to_string)
    }

    /// Adds those that are there and those that are asked for to a chain. Of devices that is one: an overlay network has got
    /// another, or it is not known at present.
    pub(super) fn add(&self, batch: &mut Batch, chain: &Chain, found: &Found) {
        let device = self.tunnel.map(|tunnel| tunnel.device).or(found.device.as_deref());
        if let Some((device, Ok(field))) = device.map(|device| (device, interface(device))) {
            for rule in self.joining(field) {
                batch.add_rule(chain, &rule, Some(&format!("{OVERLAY}{device}")));
            }
        }
        let more = self.from.iter().filter(|network| !found.networks.contains(network));
        for network in found.networks.iter().chain(more) {
            let comment = format!("{FROM_NETWORK}{network}");
            batch.add_rule(chain, &letting_in(self.bridge, *network), Some(&comment));
        }
    }

    /// What makes a device a part of the network: what comes in by it is another member's, as far as the guard lets it pass.
    fn joining(&self, device: Field) -> Vec<Vec<Expr<'static>>> {
        let by_device = Expr::eq(Selector::Iifname, device);
        match self.edge {
            Edge::Open | Edge::Published => vec![vec![by_device, self.members.clone()]],
            Edge::Internal => vec![
                vec![by_device, Expr::eq(Selector::Oifname, self.bridge), self.members.clone()],
                vec![
                    Expr::eq(Selector::Iifname, self.bridge),
                    Expr::eq(Selector::Oifname, device),
                    Expr::to_caller(),
                ],
            ],
        }
    }
}

/// What lets a network of `ingressFrom` in. Members are none of it, whatever their addresses.
fn letting_in(bridge: Field, network: IpNetwork) -> [Expr<'static>; 3] {
    let source = if network.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
    [Expr::ne(Selector::Iifname, bridge), Expr::within(source, network), Expr::to_caller()]
}

/// The network that a rule lets in, where it is one of those.
fn lets_in(rule: &WholeRule, bridge: Field) -> Option<IpNetwork> {
    let network = rule.rule.comment.as_deref()?.strip_prefix(FROM_NETWORK)?.parse().ok()?;
    rule.consists_of(TABLE, &letting_in(bridge, network)).then_some(network)
}
