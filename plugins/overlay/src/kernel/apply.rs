//! Compares a network with what the kernel has, and writes the differences.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::device::Ready;
use super::entries::{Entries, first};
use super::error::Error;
use super::message;
use super::read::{Address, Fdb, Neighbour};
use super::route::Route;
use super::socket::{BATCH, Message, Request, Requests};
use super::tunnel::Tunnel;
use super::{Applied, Kernel, Made};
use crate::key::PublicKey;
use crate::record::Mac;
use crate::wanted::{Identity, Wanted};

/// A change, and the name of the peer or object that it is for. Its message is made when it is sent: the messages for thousands
/// of peers together would take most of the program's memory.
type Change<T = RouteNetlinkMessage> = (Arc<str>, Box<dyn FnOnce() -> Request<T> + Send>);

/// What is to be written.
#[derive(Default)]
struct Changes {
    /// Entries that stand in the way of one that is wanted.
    before: Vec<Change>,
    made: Vec<Change>,
    stale: Vec<Change>,
}

fn change<T>(owner: &str, request: impl FnOnce() -> Request<T> + Send + 'static) -> Change<T> {
    (owner.into(), Box::new(request))
}

impl Kernel {
    /// Has all of a network in the kernel: adds what is missing, mends what differs, removes what is no longer wanted. Where
    /// nothing differs nothing is written.
    ///
    /// A peer or an entry that cannot be had does not stop the others. It is an error if there can be no device.
    pub(crate) async fn apply(&self, wanted: &Wanted) -> Result<Applied, Error> {
        self.compare(wanted, true).await
    }

    /// The same, but the entries of other peers stay: whose they are is not known yet.
    pub(crate) async fn complete(&self, wanted: &Wanted) -> Result<Applied, Error> {
        self.compare(wanted, false).await
    }

    async fn compare(&self, wanted: &Wanted, are_all_peers: bool) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let ready = self.have_device(&wanted.device, &mut applied).await;
        if ready.is_err() && !wanted.device.blocks.is_empty() {
            // Else packets for the other nodes leave by the default route, and not encrypted.
            self.have_blackholes(&wanted.prefixes).await?;
        }
        let Ready { made, tunnel } = ready?;
        applied.key = tunnel.as_ref().and_then(|tunnel| tunnel.public);
        let (entries, refused) = Entries::new(wanted, made.identity);
        applied.refused.extend(refused);
        {
            // Before anything is written, so that no event of this program's own is taken for another's.
            let mut known = self.known();
            (known.device, known.entries) = (Some(made.clone()), entries.clone());
        }
        let index = made.index;
        self.events.of_neighbours_at(index)?;
        let mut changes = Changes::default();
        changes.addresses(&made, &entries, &self.requests.addresses(Some(index)).await?);
        let addresses = std::mem::take(&mut changes.stale);
        if let Some(tunnel) = &tunnel {
            self.apply_peers(wanted, index, &entries, tunnel, &mut applied, are_all_peers).await?;
        } else {
            changes.fdb(index, &entries, &self.requests.fdb(index).await?);
            changes.neighbours(index, &entries, &self.requests.neighbours(index).await?);
        }
        changes.routes(wanted, &made, &entries, &self.requests.own_routes().await?);
        let Changes { before, made, stale } = changes;
        applied.removed += self.write(&self.requests, before, &mut applied.refused, true).await?;
        applied.made += self.write(&self.requests, made, &mut applied.refused, false).await?;
        let mut gone = if are_all_peers { stale } else { Vec::new() };
        gone.extend(addresses);
        applied.removed += self.write(&self.requests, gone, &mut applied.refused, true).await?;
        Ok(applied)
    }

    async fn have_blackholes(&self, prefixes: &[IpNetwork]) -> Result<(), Error> {
        let found = self.requests.own_routes().await?;
        let is_there =
            |prefix: IpNetwork| found.iter().any(|route| route.is_last_blackhole() && route.to == prefix);
        for prefix in prefixes.iter().copied().map(first).filter(|prefix| !is_there(*prefix)) {
            self.requests.send_one(message::add_blackhole(prefix)).await?;
        }
        Ok(())
    }

    /// Has the peers of a WireGuard device. What they have in place of others' comes before what others no longer have, so that
    /// a block that moves is always somebody's.
    async fn apply_peers(
        &self,
        wanted: &Wanted,
        index: u32,
        entries: &Entries,
        found: &Tunnel,
        applied: &mut Applied,
        are_all_peers: bool,
    ) -> Result<(), Error> {
        let wireguard = self.wireguard().await?;
        let port = wanted.device.port;
        let mut blocks: BTreeMap<Identity, BTreeSet<IpNetwork>> = BTreeMap::new();
        for (block, identity, _) in entries.blocks.values() {
            blocks.entry(*identity).or_default().insert(*block);
        }
        let (mut made, mut greetings, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_wanted: BTreeSet<PublicKey> = BTreeSet::new();
        for (identity, (address, owner)) in &entries.peers {
            let Identity::Key(key) = identity else { continue };
            is_wanted.insert(*key);
            let blocks = blocks.remove(identity).unwrap_or_default();
            let hop = found.peers.get(key);
            if hop.is_some_and(|hop| hop.leads_to(*address, port) && hop.blocks == blocks) {
                continue;
            }
            let is_all = hop.is_some_and(|hop| !hop.blocks.is_subset(&blocks));
            let blocks: Vec<IpNetwork> = blocks.into_iter().collect();
            let request = wireguard.put_peer(index, *key, (*address, port).into(), &blocks, is_all);
            made.push(change(owner, || request));
            if hop.is_none() {
                let greeting = wireguard.greet(index, *key);
                greetings.push(change(owner, || greeting));
            }
        }
        for key in found.peers.keys().filter(|key| are_all_peers && !is_wanted.contains(key)) {
            let removal = wireguard.remove_peer(index, *key);
            stale.push(change(&Identity::Key(*key).to_string(), || removal));
        }
        applied.made += self.write(&wireguard.requests, made, &mut applied.refused, false).await?;
        self.write(&wireguard.requests, greetings, &mut applied.refused, false).await?;
        applied.removed += self.write(&wireguard.requests, stale, &mut applied.refused, true).await?;
        Ok(())
    }

    /// Sends changes, and returns how many were made.
    async fn write<T: Message>(
        &self,
        socket: &Requests<T>,
        changes: Vec<Change<T>>,
        refused: &mut Vec<(String, Error)>,
        are_removals: bool,
    ) -> Result<usize, Error> {
        let mut changes = changes.into_iter().peekable();
        let (mut count, mut in_the_way) = (0, None);
        while changes.peek().is_some() {
            let part = changes.by_ref().take(BATCH).map(|(owner, make)| (owner, make()));
            let (owners, requests): (Vec<_>, Vec<_>) =
                part.map(|(owner, request)| ((owner, request.route), request)).unzip();
            let answers = socket.send(requests).await?;
            for ((owner, route), answer) in owners.into_iter().zip(answers) {
                match if are_removals { unless_gone(answer) } else { answer } {
                    Ok(()) => count += 1,
                    Err(error) => {
                        refused.push((owner.to_string(), self.explain(error, route, &mut in_the_way).await));
                    }
                }
            }
        }
        Ok(count)
    }

    /// Says which route of another is in the way of a new one. The host's routes are asked for once.
    pub(super) async fn explain(
        &self,
        error: Error,
        to: Option<IpNetwork>,
        routes: &mut Option<BTreeMap<IpNetwork, String>>,
    ) -> Error {
        let Some(to) = to.filter(|_| error.errno() == Some(nix::libc::EEXIST)) else { return error };
        let routes = match routes {
            Some(routes) => routes,
            None => routes.insert(self.texts_of_routes().await.unwrap_or_default()),
        };
        routes.get(&to).map_or(error, |route| Error::RouteInTheWay { route: route.clone() })
    }

    async fn texts_of_routes(&self) -> Result<BTreeMap<IpNetwork, String>, Error> {
        let (routes, links) = (self.requests.main_routes().await?, self.requests.links().await?);
        let name = |route: &Route| links.iter().find(|link| Some(link.index) == route.index);
        let text = |route: &Route| route.text(name(route).map(|link| link.name.as_str())).to_string();
        Ok(routes.iter().map(|route| (route.to, text(route))).collect())
    }
}

impl Changes {
    fn addresses(&mut self, device: &Made, wanted: &Entries, found: &[Address]) {
        let name = &device.name;
        let is_host = |address: &Address| address.length == if address.ip.is_ipv4() { 32 } else { 128 };
        let is_there = |own: IpAddr| found.iter().any(|address| address.ip == own && is_host(address));
        for own in &wanted.addresses {
            if !is_there(*own) {
                let (index, own, name) = (device.index, *own, name.clone());
                self.made.push(change(&device.name, move || message::add_address(index, own, &name)));
            }
        }
        for address in found {
            let is_in_network = wanted.prefixes.iter().any(|prefix| prefix.contains(address.ip));
            let is_stale = is_host(address) && is_in_network && !wanted.addresses.contains(&address.ip);
            if is_stale || is_link_local(address.ip) {
                let removal = message::remove_address(device.index, address.ip, address.length, name);
                self.stale.push(change(name, || removal));
            }
        }
    }

    /// A MAC address of a device has one entry; only groups can have more (`vxlan_fdb_update_existing`), and none is wanted.
    fn fdb(&mut self, index: u32, wanted: &Entries, found: &[Fdb]) {
        let by_mac: BTreeMap<Mac, &Fdb> = found.iter().map(|entry| (entry.mac, entry)).collect();
        for (identity, (to, owner)) in &wanted.peers {
            let Identity::Mac(mac) = identity else { continue };
            let is_right = |entry: &&Fdb| entry.to == *to && entry.extras.is_empty() && entry.is_permanent;
            if by_mac.get(mac).is_none_or(|entry| !is_right(entry)) {
                let (mac, to) = (*mac, *to);
                self.made.push((Arc::clone(owner), Box::new(move || message::put_fdb(index, mac, to))));
            }
        }
        for Fdb { mac, to, extras, is_permanent } in found {
            if *is_permanent && !wanted.peers.contains_key(&Identity::Mac(*mac)) {
                let removal = message::remove_fdb(index, *mac, *to, extras);
                self.stale.push(change(&mac.to_string(), || removal));
            }
        }
    }

    fn neighbours(&mut self, index: u32, wanted: &Entries, found: &[Neighbour]) {
        let found: BTreeMap<IpAddr, &Neighbour> =
            found.iter().map(|neighbour| (neighbour.address, neighbour)).collect();
        for (gateway, (_, identity, owner)) in &wanted.blocks {
            let Identity::Mac(mac) = identity else { continue };
            let is_right = |neighbour: &&Neighbour| neighbour.is_permanent && neighbour.mac == Some(*mac);
            if found.get(gateway).is_none_or(|neighbour| !is_right(neighbour)) {
                let (gateway, mac) = (*gateway, *mac);
                self.made
                    .push((Arc::clone(owner), Box::new(move || message::put_neighbour(index, gateway, mac))));
            }
        }
        for (address, neighbour) in found {
            if neighbour.is_permanent && !wanted.blocks.contains_key(&address) {
                self.stale
                    .push(change(&address.to_string(), move || message::remove_neighbour(index, address)));
            }
        }
    }

    fn routes(&mut self, network: &Wanted, device: &Made, wanted: &Entries, found: &[Route]) {
        let (mut blocks, mut blackholes) = (BTreeSet::new(), BTreeSet::new());
        let mut stale = Vec::new();
        for route in found {
            let is_wanted = |block: &IpNetwork| {
                wanted.blocks.get(&block.ip()).is_some_and(|(wanted, ..)| wanted == block)
            };
            if route.leads_to_block(device.index, wanted.backend) && is_wanted(&route.to) {
                blocks.insert(route.to);
            } else if route.is_last_blackhole() && wanted.prefixes.contains(&route.to) {
                blackholes.insert(route.to);
            } else if route.index == Some(device.index) || route.is_blackhole_in(&wanted.prefixes) {
                stale.push(route);
            }
        }
        for prefix in wanted.prefixes.iter().filter(|prefix| !blackholes.contains(prefix)) {
            let prefix = *prefix;
            self.made.push(change(&prefix.to_string(), move || message::add_blackhole(prefix)));
        }
        let (name, backend): (Arc<str>, _) = (device.name.as_str().into(), network.device.backend);
        for (block, _, owner) in wanted.blocks.values().filter(|(block, ..)| !blocks.contains(block)) {
            let (index, block, name) = (device.index, *block, Arc::clone(&name));
            let request = move || message::add_route(index, block, backend, &name);
            self.made.push((Arc::clone(owner), Box::new(request)));
        }
        // Routes go before the neighbours and forwarding entries that they need.
        let mut others = std::mem::take(&mut self.stale);
        for route in stale {
            let text = route.text(Some(&device.name)).to_string();
            let request = message::remove_route(&route.message, &text);
            let removal = change(&text, || request);
            let is_in_the_way = !blocks.contains(&route.to) && wanted.blocks.contains_key(&route.to.ip());
            if is_in_the_way { self.before.push(removal) } else { self.stale.push(removal) }
        }
        self.stale.append(&mut others);
    }
}

/// The kernel's own, of no use on the device: nobody would hear what is sent from it.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What is gone already need not be removed.
pub(super) fn unless_gone(answer: Result<(), Error>) -> Result<(), Error> {
    use nix::libc::{EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH};
    match answer {
        Err(error) if [ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL].map(Some).contains(&error.errno()) => Ok(()),
        answer => answer,
    }
}
