//! Where a published port has its elements: the map or set, and the key in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cni::Protocol;
use nftables::{Data, Element, Field, Set, key};

use super::owner::Owner;
use super::table::{AT4, HAIR4, HAIR6, HOST4, HOST6, LOCAL4, LOCAL6, PORT4, PORT6, SPARE4, SPARE6, STAND_IN};
use crate::port::Port;

/// An element's place: the map, and the key in it.
pub(crate) type Place = (&'static Set<'static>, Vec<Field>);

impl Port {
    /// The map that has it.
    pub(crate) fn map(&self) -> &'static Set<'static> {
        map(self.host_ip, self.container.is_ipv4())
    }

    /// Its key there.
    pub(crate) fn key(&self) -> Vec<Field> {
        key_of(self.host_ip, self.protocol, self.host_port)
    }

    /// The place by which 127.0.0.1 or `[::1]` leads to it, where that is to lead anywhere.
    pub(crate) fn localhost(&self) -> Option<Place> {
        localhost_of(&(self.map(), self.key()))
    }

    /// Its element there.
    pub(crate) fn element(&self, comment: &str) -> Element {
        Element::new(&self.key())
            .data(&[self.container.ip().into(), Field::Port(self.container.port())])
            .comment(comment)
    }

    /// Reads an element of `map`; `None` where it holds anything that this plugin does not write.
    pub(crate) fn read(map: &Set<'_>, element: &Element) -> Option<Self> {
        let Some(Data::Value(data)) = &element.data else {
            return None;
        };
        let key = key::decode(map.key, &element.key).ok()?;
        let (host_ip, rest) = match key.split_first()? {
            (Field::Ipv4(address), rest) => (Some(IpAddr::from(*address)), rest),
            (&Field::Ipv6(STAND_IN), rest) => (Some(IpAddr::from(Ipv6Addr::LOCALHOST)), rest),
            (Field::Ipv6(address), rest) => (Some(IpAddr::from(*address)), rest),
            _ => (None, key.as_slice()),
        };
        let &[Field::Proto(number), Field::Port(host_port)] = rest else {
            return None;
        };
        let container = match key::decode(map.data?, data).ok()?[..] {
            [Field::Ipv4(address), Field::Port(port)] => SocketAddr::from((address, port)),
            [Field::Ipv6(address), Field::Port(port)] => SocketAddr::from((address, port)),
            _ => return None,
        };
        Some(Self {
            host_ip,
            host_port,
            protocol: Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)?,
            container,
        })
    }
}

/// The map for a host address, or for every address of a family.
pub(crate) fn map(host_ip: Option<IpAddr>, is_ipv4: bool) -> &'static Set<'static> {
    match (host_ip, is_ipv4) {
        (None, true) => &PORT4,
        (None, false) => &PORT6,
        (Some(_), true) => &HOST4,
        (Some(_), false) => &HOST6,
    }
}

/// The place by which localhost leads to the port of such a place; `None` where it does not.
pub(crate) fn localhost_of((map, key): &Place) -> Option<Place> {
    match (map, &key[..]) {
        (map, _) if **map == PORT4 => Some((&LOCAL4, key.clone())),
        (map, [Field::Ipv4(address), ..]) if **map == HOST4 && address.is_loopback() => {
            Some((&AT4, key.clone()))
        }
        (map, _) if **map == PORT6 => Some((&LOCAL6, key.clone())),
        (map, [Field::Ipv6(STAND_IN), port @ ..]) if **map == HOST6 => Some((&LOCAL6, port.to_vec())),
        _ => None,
    }
}

/// The key in that map. `::1` is under its stand-in: the rules see no other address.
pub(crate) fn key_of(host_ip: Option<IpAddr>, protocol: Protocol, host_port: u16) -> Vec<Field> {
    let seen = |ip: IpAddr| if ip == Ipv6Addr::LOCALHOST { STAND_IN.into() } else { ip };
    let address = host_ip.map(|ip| Field::from(seen(ip)));
    address.into_iter().chain([Field::Proto(protocol.number()), Field::Port(host_port)]).collect()
}

/// Where a container's address leads to its network's chain.
pub(crate) fn hair_place(address: IpAddr) -> Place {
    let map = if address.is_ipv4() { &HAIR4 } else { &HAIR6 };
    (map, vec![address.into()])
}

/// Where an attachment that has a port by iptables waits for the place of localhost, which another of the container's networks
/// has: no packet of 127.0.0.1 goes to the container's own address.
pub(crate) fn waiting_place(port: &Port) -> Place {
    (&AT4, key_of(Some(port.container.ip()), port.protocol, port.host_port))
}

/// Where an owner has the port of a place on standby; `None` where the place is not a port's.
pub(crate) fn standby_of(owner: &Owner, (map, key): &Place) -> Option<Place> {
    let any4 = || Field::Ipv4(Ipv4Addr::UNSPECIFIED);
    let any6 = || Field::Ipv6(Ipv6Addr::UNSPECIFIED);
    let (map, any) = match map {
        map if **map == PORT4 => (&SPARE4, Some(any4())),
        map if **map == HOST4 => (&SPARE4, None),
        map if **map == PORT6 => (&SPARE6, Some(any6())),
        map if **map == HOST6 => (&SPARE6, None),
        _ => return None,
    };
    let owner = owner.key().ok()?;
    Some((map, [owner].into_iter().chain(any).chain(key.iter().copied()).collect()))
}

/// The same for a port, with its element there.
pub(crate) fn standby_element(owner: &Owner, port: &Port, comment: &str) -> Option<(Place, Element)> {
    let (map, key) = standby_of(owner, &(port.map(), port.key()))?;
    let data = [port.container.ip().into(), Field::Port(port.container.port())];
    let element = Element::new(&key).data(&data).comment(comment);
    Some(((map, key), element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        for (host_ip, container) in [
            (None, "10.1.0.11:80"),
            (Some("127.0.0.1"), "10.1.0.11:80"),
            (None, "[fd00:1::11]:80"),
            (Some("2001:db8::1"), "[fd00:1::11]:80"),
            (Some("::1"), "[fd00:1::11]:80"),
        ] {
            let port = Port {
                host_ip: host_ip.map(|text| text.parse().unwrap()),
                host_port: 8080,
                protocol: Protocol::Sctp,
                container: container.parse().unwrap(),
            };
            assert_eq!(Port::read(port.map(), &port.element("web")), Some(port));
        }
    }
}
