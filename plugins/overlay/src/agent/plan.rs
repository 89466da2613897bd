//! From a node's record to its entries in this node's kernel.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::status::PeerState;
use crate::record::{Backend, Claim, Record};
use crate::wanted::{Device, Identity, Peer};

/// Why packets do not get to a peer, or not to all of it.
pub(super) type Fault = (PeerState, String);

/// What a record leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// None if there can be no entry.
    pub(super) peer: Option<Peer>,
    /// What is wrong with it.
    pub(super) fault: Option<Fault>,
    /// Peers that have a block that is this one's.
    pub(super) losers: Vec<String>,
}

/// The entries for a node, beside those of the other peers.
///
/// Of two with one MAC address or public key, the first that was known keeps it. Of two with one block, the one that claimed it has it.
pub(super) fn plan(
    name: &str,
    record: &Record,
    device: &Device,
    claims: &BTreeMap<IpNetwork, Claim>,
    peers: &BTreeMap<String, Peer>,
) -> Planned {
    let none = |state, why: String| Planned { peer: None, fault: Some((state, why)), losers: Vec::new() };
    let is_common = |address: &&std::net::IpAddr| address.is_ipv4() == device.local.is_ipv4();
    let Some(address) = record.addresses.iter().find(is_common) else {
        let family = if device.local.is_ipv4() { "IPv4" } else { "IPv6" };
        return none(PeerState::NoCommonFamily, format!("it has no {family} address to send to"));
    };
    let identity = match device.backend {
        Backend::Vxlan => record.mac.map(Identity::Mac).ok_or("its record has no MAC address"),
        Backend::Wireguard => {
            let key = record.key.as_ref().and_then(|key| key.parse().ok());
            key.map(Identity::Key).ok_or("its record has no public key, and the network is encrypted")
        }
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(why) => return none(PeerState::Refused, why.to_owned()),
    };
    let others = || peers.iter().filter(|(other, _)| *other != name);
    if let Some((other, _)) = others().find(|(_, peer)| peer.identity == identity) {
        return none(PeerState::Conflict, format!("its {identity} is that of node {other}"));
    }
    let (mut blocks, mut losers, mut fault) = (Vec::new(), Vec::new(), None);
    for block in &record.blocks {
        let has_it = |peer: &Peer| peer.blocks.iter().any(|other| meets(*other, *block));
        let mut holders = others().filter(|(_, peer)| has_it(peer)).map(|(other, _)| other).peekable();
        let is_claimed = claims.get(block).is_some_and(|claim| claim.node == name);
        match holders.peek() {
            Some(holder) if !is_claimed => {
                let why = format!("its block {block} is that of node {holder}");
                fault = Some((PeerState::Conflict, why));
            }
            _ => {
                losers.extend(holders.cloned());
                blocks.push(*block);
            }
        }
    }
    Planned { peer: Some(Peer { address: *address, identity, blocks }), fault, losers }
}

/// Whether two networks have addresses in common.
pub(super) fn meets(one: IpNetwork, other: IpNetwork) -> bool {
    let is_in =
        |part: IpNetwork, whole: IpNetwork| part.prefix() >= whole.prefix() && whole.contains(part.network());
    is_in(one, other) || is_in(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Mac;

    fn record(number: u8, addresses: &[&str], block: &str) -> Record {
        Record {
            machine: format!("{number}"),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            mac: Some(Mac([2, 0, 0, 0, 0, number])),
            key: None,
            blocks: vec![block.parse().unwrap()],
            mtu: 1450,
            version: "0".to_owned(),
            incarnation: 1,
        }
    }

    #[test]
    fn each_record_leads_to_entries_or_to_a_reason() {
        let device = Device {
            name: "vx1".to_owned(),
            backend: Backend::Vxlan,
            vni: 1,
            port: 4789,
            local: "192.0.2.1".parse().unwrap(),
            underlay: 2,
            mac: Mac([2; 6]),
            key: None,
            mtu: 1450,
            blocks: Vec::new(),
        };
        let mut claims = BTreeMap::new();
        let two = record(2, &["2001:db8::2", "192.0.2.2"], "10.201.2.0/24");
        let planned = plan("two", &two, &device, &claims, &BTreeMap::new());
        assert_eq!((planned.fault, planned.losers), (None, Vec::new()));
        let peer = planned.peer.unwrap();
        assert_eq!(
            (peer.address.to_string(), peer.identity),
            ("192.0.2.2".to_owned(), Identity::Mac(Mac([2, 0, 0, 0, 0, 2])))
        );
        let mut peers = BTreeMap::from([("two".to_owned(), peer)]);
        assert_eq!(plan("two", &two, &device, &claims, &peers).fault, None, "it does not meet itself");

        let mut keyless = record(3, &["192.0.2.3"], "10.201.3.0/24");
        keyless.mac = None;
        for (record, state, words) in [
            (record(3, &["2001:db8::3"], "10.201.3.0/24"), PeerState::NoCommonFamily, "no IPv4 address"),
            (keyless, PeerState::Refused, "no MAC address"),
            (record(2, &["192.0.2.3"], "10.201.3.0/24"), PeerState::Conflict, "that of node two"),
        ] {
            let planned = plan("three", &record, &device, &claims, &peers);
            let (found, why) = planned.fault.unwrap();
            assert!(planned.peer.is_none() && found == state && why.contains(words), "{found:?}: {why}");
        }

        // An encrypted network.
        let encrypted = Device { backend: Backend::Wireguard, ..device.clone() };
        let mut three = record(3, &["192.0.2.3"], "10.201.3.0/24");
        let (state, why) = plan("three", &three, &encrypted, &claims, &peers).fault.unwrap();
        assert!(state == PeerState::Refused && why.contains("no public key"), "{why}");
        let key = crate::key::PublicKey([7; 32]);
        three.key = Some(key.to_string());
        let peer = plan("three", &three, &encrypted, &claims, &peers).peer.unwrap();
        assert_eq!(peer.identity, Identity::Key(key));
        let same_key = BTreeMap::from([("other".to_owned(), Peer { blocks: Vec::new(), ..peer })]);
        let (state, why) = plan("three", &three, &encrypted, &claims, &same_key).fault.unwrap();
        assert!(
            state == PeerState::Conflict && why.contains("its public key BwcH") && why.contains("node other"),
            "{why}"
        );

        // A part of another's block: whose it is, the claim says.
        let three = record(3, &["192.0.2.3"], "10.201.2.128/25");
        let planned = plan("three", &three, &device, &claims, &peers);
        assert_eq!((planned.peer.unwrap().blocks.len(), planned.fault.unwrap().0), (0, PeerState::Conflict));
        claims.insert(three.blocks[0], Claim { node: "three".to_owned(), machine: "3".to_owned() });
        let planned = plan("three", &three, &device, &claims, &peers);
        assert_eq!((planned.losers, planned.fault), (vec!["two".to_owned()], None));
        peers.insert("three".to_owned(), planned.peer.unwrap());
        let planned = plan("two", &two, &device, &claims, &peers);
        assert_eq!((planned.peer.unwrap().blocks.len(), planned.fault.unwrap().0), (0, PeerState::Conflict));
    }
}
