//! IP addresses of links (`struct ifaddrmsg`).

mod add;
mod del;
mod get;

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use nix::libc::{
    IFA_ADDRESS, IFA_F_DADFAILED, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_SECONDARY, IFA_F_TENTATIVE,
    IFA_FLAGS, IFA_LOCAL,
};

use wire::Writer;
use wire::attribute::{attributes, u32_at};

use crate::ip::{self, Family};

/// `sizeof(struct ifaddrmsg)`.
const HEADER: usize = 8;

/// How an address is added, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags {
    /// IPv6: usable at once, without duplicate address detection (`IFA_F_NODAD`).
    pub nodad: bool,
    /// Without the route to its network (`IFA_F_NOPREFIXROUTE`).
    pub noprefixroute: bool,
}

/// An IP address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address with the length of its network's prefix; host bits are kept.
    pub network: IpNetwork,
    /// What it was added with.
    pub flags: AddressFlags,
    /// IPv4: another address of the same network comes before it on the link (`IFA_F_SECONDARY`), and it goes with that one
    /// unless [secondaries are promoted](crate::Socket::promote_secondaries).
    pub secondary: bool,
    /// IPv6: duplicate address detection has not finished, and it cannot be used yet (`IFA_F_TENTATIVE`).
    pub tentative: bool,
    /// IPv6: another node has it (`IFA_F_DADFAILED`).
    pub dadfailed: bool,
}

impl Address {
    /// Reads the body of an `RTM_NEWADDR` message about link `index`; `None` where it is about another.
    pub(crate) fn parse(body: &[u8], index: u32) -> Option<Self> {
        Self::parse_any(body).filter(|(found, _)| *found == index).map(|(_, address)| address)
    }

    /// Reads the body of an `RTM_NEWADDR` message, with the link that it is about.
    pub(crate) fn parse_any(body: &[u8]) -> Option<(u32, Self)> {
        let &[_, prefix, flags, _] = body.first_chunk()?;
        let index = u32_at(body, 4)?;
        let mut flags = u32::from(flags);
        let (mut local, mut address) = (None, None);
        for (kind, value) in attributes(body.get(HEADER..)?) {
            match kind {
                IFA_LOCAL => local = ip::read(value),
                IFA_ADDRESS => address = ip::read(value),
                // The header has room for the lower eight flags only.
                IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
                _ => {}
            }
        }
        let network = IpNetwork::new(local.or(address)?, prefix).ok()?;
        let address = Self {
            // On point-to-point links IFA_ADDRESS is the far end's; IPv6 otherwise has no IFA_LOCAL.
            network,
            flags: AddressFlags {
                nodad: flags & IFA_F_NODAD != 0,
                noprefixroute: flags & IFA_F_NOPREFIXROUTE != 0,
            },
            // The same bit marks temporary addresses of IPv6.
            secondary: network.is_ipv4() && flags & IFA_F_SECONDARY != 0,
            tentative: flags & IFA_F_TENTATIVE != 0,
            dadfailed: flags & IFA_F_DADFAILED != 0,
        };
        Some((index, address))
    }
}

/// `struct ifaddrmsg`; a family or an index of 0 is any.
fn header(family: u8, prefix: u8, scope: u8, index: u32) -> [u8; HEADER] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family, prefix, 0, scope, a, b, c, d]
}

/// Appends what names one address of one link.
fn write(request: &mut Writer, index: u32, network: IpNetwork, scope: u8) {
    request.raw(&header(Family::of(network.ip()).number(), network.prefix(), scope, index));
    ip::write(request, IFA_LOCAL, network.ip());
    ip::write(request, IFA_ADDRESS, network.ip());
}

/// The broadcast address of an IPv4 network; those of two addresses or one (RFC 3021) have none.
fn broadcast(network: IpNetwork) -> Option<Ipv4Addr> {
    match network.broadcast() {
        IpAddr::V4(address) if network.prefix() < 31 => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nix::libc::RT_SCOPE_UNIVERSE;

    use super::*;

    fn body(network: &str) -> Writer {
        let mut body = Writer::default();
        write(&mut body, 4, network.parse().unwrap(), RT_SCOPE_UNIVERSE);
        body
    }

    #[test]
    fn reads_flags_from_the_attribute() {
        let mut body = body("fd00::2/64");
        body.u32(IFA_FLAGS, IFA_F_TENTATIVE | IFA_F_NOPREFIXROUTE);
        let address = Address::parse(body.as_bytes(), 4).unwrap();
        assert_eq!(address.network.to_string(), "fd00::2/64");
        assert!(
            address.tentative && address.flags.noprefixroute && !address.flags.nodad && !address.dadfailed
        );
    }

    #[test]
    fn requests_are_what_another_library_writes() {
        use netlink_packet_core::Emitable;
        use netlink_packet_route::AddressFamily;
        use netlink_packet_route::address::{AddressAttribute, AddressMessage};

        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.prefix_len = 64;
        message.header.index = 4;
        let address = "fd00::2".parse().unwrap();
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        let mut expected = vec![0; message.buffer_len()];
        message.emit(&mut expected);
        assert_eq!(body("fd00::2/64").as_bytes(), expected);
    }

    #[test]
    fn other_links_and_short_messages_are_left_out() {
        let body = body("10.0.0.2/24").into_bytes();
        assert!(Address::parse(&body, 4).is_some());
        assert_eq!(Address::parse(&body, 5), None);
        for length in 0..body.len() {
            let _ = Address::parse(&body[..length], 4);
        }
        assert_eq!(Address::parse(&body[..HEADER], 4), None);
    }

    #[test]
    fn broadcast_of_networks_that_have_one() {
        let of = |text: &str| broadcast(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("10.1.2.3/16").as_deref(), Some("10.1.255.255"));
        assert_eq!(of("10.1.2.3/30").as_deref(), Some("10.1.2.3"));
        assert_eq!(of("10.1.2.3/31"), None);
        assert_eq!(of("10.1.2.3/32"), None);
        assert_eq!(of("fd00::1/64"), None);
    }
}
