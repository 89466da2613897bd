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
    /// Its place in the maps of ports.
    pub(crate) fn place(&self) -> Place {
        place_of(self.host_ip, self.container.is_ipv4(), self.protocol, self.host_port)
    }

    /// The place by which 127.0.0.1 or `[::1]` leads to it, where that is to lead anywhere.
    pub(crate) fn localhost(&self) -> Option<Place> {
        localhost_of(&self.place())
    }

    /// Its element in a map of ports.
    pub(crate) fn element(&self, key: &[Field], comment: &str) -> Element {
        let to = [self.container.ip().into(), Field::Port(self.container.port())];
        Element::new(key).data(&to).comment(comment)
    }

    /// The port by which an attachment that has it by iptables waits for the place of localhost, which another of the container's
    /// networks has: no packet of 127.0.0.1 goes to the container's own address.
    pub(crate) fn waiting(&self) -> Self {
        Self { host_ip: Some(self.container.ip()), ..*self }
    }

    /// Reads an element of `map`; `None` where it holds anything that this plugin does not write.
    pub(crate) fn read(map: &Set<'_>, element: &Element) -> Option<Self> {
        let Some(Data::Value(data)) = &element.data else {
            return None;
        };
        let key = key::decode(map.key, &element.key).ok()?;
        let (host_ip, number, host_port) = match key[..] {
            [Field::Proto(number), Field::Port(port)] => (None, number, port),
            [address, Field::Proto(number), Field::Port(port)] => (Some(ip(address)?), number, port),
            _ => return None,
        };
        let [address, Field::Port(port)] = key::decode(map.data?, data).ok()?[..] else {
            return None;
        };
        Some(Self {
            host_ip: host_ip.map(|ip| if ip == STAND_IN { Ipv6Addr::LOCALHOST.into() } else { ip }),
            host_port,
            protocol: Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)?,
            container: SocketAddr::new(ip(address)?, port),
        })
    }
}

/// The address of a field that is one.
pub(crate) fn ip(field: Field) -> Option<IpAddr> {
    match field {
        Field::Ipv4(address) => Some(address.into()),
        Field::Ipv6(address) => Some(address.into()),
        _ => None,
    }
}

/// The place of a port on a host address, or on every address of a family. `::1` is under its stand-in: the rules see no other
/// address.
pub(crate) fn place_of(host_ip: Option<IpAddr>, is_ipv4: bool, protocol: Protocol, port: u16) -> Place {
    let map = match (host_ip, is_ipv4) {
        (None, true) => &PORT4,
        (None, false) => &PORT6,
        (Some(_), true) => &HOST4,
        (Some(_), false) => &HOST6,
    };
    let address = host_ip.map(|ip| if ip == Ipv6Addr::LOCALHOST { STAND_IN.into() } else { ip });
    let port = [Field::Proto(protocol.number()), Field::Port(port)];
    (map, address.map(Field::from).into_iter().chain(port).collect())
}

/// The place by which localhost leads to the port of such a place; `None` where it does not.
pub(crate) fn localhost_of((map, key): &Place) -> Option<Place> {
    match (**map, &key[..]) {
        (PORT4, _) => Some((&LOCAL4, key.clone())),
        (HOST4, [Field::Ipv4(address), ..]) if address.is_loopback() => Some((&AT4, key.clone())),
        (PORT6, _) => Some((&LOCAL6, key.clone())),
        (HOST6, [Field::Ipv6(STAND_IN), port @ ..]) => Some((&LOCAL6, port.to_vec())),
        _ => None,
    }
}

/// Where a container's address leads to its network's chain.
pub(crate) fn hair_place(address: IpAddr) -> Place {
    let map = if address.is_ipv4() { &HAIR4 } else { &HAIR6 };
    (map, vec![address.into()])
}

/// Where an owner has the port of a place on standby; `None` where the place is not a port's.
pub(crate) fn standby_of(owner: &Owner, (map, key): &Place) -> Option<Place> {
    let (map, any) = match **map {
        PORT4 => (&SPARE4, Some(Field::Ipv4(Ipv4Addr::UNSPECIFIED))),
        HOST4 => (&SPARE4, None),
        PORT6 => (&SPARE6, Some(Field::Ipv6(Ipv6Addr::UNSPECIFIED))),
        HOST6 => (&SPARE6, None),
        _ => return None,
    };
    let owner = owner.key().ok()?;
    Some((map, [owner].into_iter().chain(any).chain(key.iter().copied()).collect()))
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
            let (map, key) = port.place();
            assert_eq!(Port::read(map, &port.element(&key, "web")), Some(port));
        }
    }
}
