//! Events of the kernel, and which of them concern a network.
//!
//! An event that says what is known already is none: so neither this program's own changes nor those of other devices (each
//! container's) lead to work, and router advertisements that renew an address do not either.

use std::time::Duration;

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage::{
    self, DelAddress, DelLink, DelNeighbour, DelRoute, NewAddress, NewLink, NewNeighbour, NewRoute,
};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};

use super::read::{Address, Fdb, Link, Neighbour};
use super::route::Route;
use super::socket::Events;
use super::{Event, Kernel, Known, Made, Seen};
use crate::record::Backend;
use crate::wanted::{Identity, ROUTE_PROTOCOL};

/// How long to wait before another try where no socket can be opened.
const PAUSE: Duration = Duration::from_secs(1);

impl Kernel {
    /// Waits for what concerns the network of a device and the interface to the other nodes (0: not known, so that any new
    /// address or default route does). It can be dropped and called again without loss.
    pub(crate) async fn event(&mut self, device: &str, underlay: u32) -> Event {
        loop {
            if self.is_device_suspect {
                let is_as_made = self.is_as_made().await;
                self.is_device_suspect = false;
                if !is_as_made {
                    return Event::Device;
                }
            }
            match self.events.next().await {
                Some(NetlinkPayload::InnerMessage(message)) => {
                    let event = self.known().event(message, device, underlay);
                    match event {
                        Some(Event::Device) => self.is_device_suspect = true,
                        Some(event) => return event,
                        None => {}
                    }
                }
                Some(NetlinkPayload::Overrun(_)) => return Event::Missed,
                Some(_) => {}
                None => match Events::open() {
                    Ok(events) => {
                        self.events = events;
                        return Event::Missed;
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }

    /// Whether the device is there as it was made. An event can be older than that: it tells of each step of its making.
    async fn is_as_made(&self) -> bool {
        let Some(made) = self.known().device.clone() else { return true };
        let link = self.requests.link(&made.name).await;
        link.is_ok_and(|link| link.is_some_and(|link| link.index == made.index && made.is_same(&link)))
    }
}

impl Made {
    fn is_same(&self, link: &Link) -> bool {
        link.name == self.name && link.is_up && link.mac == self.mac && link.mtu == self.mtu
    }
}

impl Known {
    fn event(&mut self, message: RouteNetlinkMessage, device: &str, underlay: u32) -> Option<Event> {
        match message {
            // What a bridge tells of a port, also that it is no longer one, as if the interface were gone.
            NewLink(message) | DelLink(message)
                if message.header.interface_family == AddressFamily::Bridge =>
            {
                None
            }
            NewLink(message) => self.link(&Link::from(&message), true, device, underlay),
            DelLink(message) => self.link(&Link::from(&message), false, device, underlay),
            NewAddress(message) => self.address(&message, true, underlay),
            DelAddress(message) => self.address(&message, false, underlay),
            NewNeighbour(message) => self.neighbour(&message, true),
            DelNeighbour(message) => self.neighbour(&message, false),
            NewRoute(message) => self.route(message, true),
            DelRoute(message) => self.route(message, false),
            _ => None,
        }
    }

    fn link(&mut self, link: &Link, is_there: bool, device: &str, underlay: u32) -> Option<Event> {
        if underlay != 0 && link.index == underlay {
            let state = is_there.then_some((link.is_up, link.is_running, link.mtu));
            let seen = self.seen(underlay);
            let is_news = seen.link != state;
            seen.link = state;
            return is_news.then_some(Event::Underlay);
        }
        let made = self.device.as_ref().filter(|made| made.name == device)?;
        let is_news =
            if link.index == made.index { !is_there || !made.is_same(link) } else { link.name == device };
        is_news.then_some(Event::Device)
    }

    fn address(&mut self, message: &AddressMessage, is_there: bool, underlay: u32) -> Option<Event> {
        let address = Address::read(message)?;
        let made = self.device.as_ref();
        if made.is_some_and(|made| made.index == address.index) {
            let is_wanted = self.entries.addresses.contains(&address.ip);
            let is_in_network = self.entries.prefixes.iter().any(|prefix| prefix.contains(address.ip));
            return (is_in_network && is_wanted != is_there).then_some(Event::Entries);
        }
        if underlay == 0 || self.underlay.index == underlay && self.underlay.link.is_none() {
            return (is_there && address.is_usable).then_some(Event::Underlay);
        }
        if address.index != underlay {
            return None;
        }
        let seen = self.seen(underlay);
        let before = if is_there {
            seen.addresses.insert(address.ip, address.is_usable)
        } else {
            seen.addresses.remove(&address.ip)
        };
        let is_usable = is_there && address.is_usable;
        (before.unwrap_or(false) != is_usable).then_some(Event::Underlay)
    }

    fn neighbour(&self, message: &NeighbourMessage, is_there: bool) -> Option<Event> {
        let device = self.device.as_ref()?;
        // A WireGuard device needs no neighbours.
        if message.header.ifindex != device.index || self.entries.backend != Backend::Vxlan {
            return None;
        }
        let (is_wanted, is_permanent) = if message.header.family == AddressFamily::Bridge {
            let entry = Fdb::read(message)?;
            let wanted = self.entries.peers.get(&Identity::Mac(entry.mac));
            let wanted = wanted.is_some_and(|(to, _)| *to == entry.to);
            (wanted && entry.extras.is_empty(), entry.is_permanent)
        } else {
            let entry = Neighbour::read(message)?;
            let wanted = self.entries.blocks.get(&entry.address);
            match wanted {
                // Whatever becomes of the one that is wanted.
                Some((_, identity, _)) if is_there => {
                    (entry.is_permanent && entry.mac.map(Identity::Mac) == Some(*identity), true)
                }
                wanted => (wanted.is_some(), entry.is_permanent),
            }
        };
        let is_news = if is_there { !is_wanted && is_permanent } else { is_wanted };
        is_news.then_some(Event::Entries)
    }

    fn route(&self, message: RouteMessage, is_there: bool) -> Option<Event> {
        let header = &message.header;
        if header.destination_prefix_length == 0 && header.table == RouteHeader::RT_TABLE_MAIN {
            return Some(Event::Underlay);
        }
        let route = Route::read(message)?;
        let device = self.device.as_ref()?;
        let is_block = self.entries.blocks.get(&route.to.ip()).is_some_and(|(block, ..)| *block == route.to);
        let is_prefix = self.entries.prefixes.contains(&route.to);
        if route.protocol != ROUTE_PROTOCOL {
            // It replaced ours, of which nothing else tells, or is no longer in its way.
            return (route.is_main() && (is_block || is_prefix)).then_some(Event::Entries);
        }
        let is_by_device = route.index == Some(device.index);
        let is_wanted = route.leads_to_block(device.index, self.entries.backend) && is_block
            || route.is_last_blackhole() && is_prefix;
        let is_ours = is_by_device || route.is_blackhole_in(&self.entries.prefixes);
        (is_ours && is_wanted != is_there).then_some(Event::Entries)
    }

    /// What is known of the interface; nothing if it was another before.
    fn seen(&mut self, underlay: u32) -> &mut Seen {
        if self.underlay.index != underlay {
            self.underlay = Seen { index: underlay, ..Seen::default() };
        }
        &mut self.underlay
    }
}
