//! IP addresses of links (`struct ifaddrmsg`).

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{
    IFA_ADDRESS, IFA_BROADCAST, IFA_F_DADFAILED, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_F_SECONDARY,
    IFA_F_TENTATIVE, IFA_FLAGS, IFA_LOCAL, RT_SCOPE_HOST, RT_SCOPE_UNIVERSE, RTM_DELADDR, RTM_GETADDR,
    RTM_NEWADDR,
};
use wire::Writer;
use wire::attribute::{self, attributes, u32_at};
use wire::message::{NLM_F_CREATE, NLM_F_EXCL};

use crate::error::{Error, unless};
use crate::ip::Family;
use crate::socket::Socket;

/// `sizeof(struct ifaddrmsg)`.
const HEADER: usize = 8;

/// `IFA_TARGET_NETNSID` (`if_addr.h`).
const TARGET_NETNSID: u16 = 10;

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
                IFA_LOCAL => local = attribute::address(value),
                IFA_ADDRESS => address = attribute::address(value),
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

impl Socket {
    /// Adds an address to a link, for IPv4 with its network's broadcast address; false where the link has it
    /// already.
    pub fn add_address(
        &mut self,
        index: u32,
        network: IpNetwork,
        flags: AddressFlags,
    ) -> Result<bool, Error> {
        let scope = if network.ip().is_loopback() { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE };
        let bit = |is_set, flag| if is_set { flag } else { 0 };
        let flags = bit(flags.nodad, IFA_F_NODAD) | bit(flags.noprefixroute, IFA_F_NOPREFIXROUTE);
        let operation = format_args!("add address {network} to link {index}");
        let added = self.change(operation, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, |request| {
            write(request, index, network, scope);
            if let Some(broadcast) = broadcast(network) {
                request.bytes(IFA_BROADCAST, &broadcast.octets());
            }
            if flags != 0 {
                request.u32(IFA_FLAGS, flags);
            }
        });
        unless(added, &[Errno::EEXIST]).map(|added| added.is_some())
    }

    /// Removes an address from a link; false where the link does not have it.
    pub fn del_address(&mut self, index: u32, network: IpNetwork) -> Result<bool, Error> {
        let operation = format_args!("delete address {network} from link {index}");
        let fill = |request: &mut Writer| write(request, index, network, RT_SCOPE_UNIVERSE);
        let deleted = self.change(operation, RTM_DELADDR, 0, fill);
        unless(deleted, &[Errno::EADDRNOTAVAIL]).map(|deleted| deleted.is_some())
    }

    /// The addresses of one link, of both families.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Error> {
        let operation = format_args!("read addresses of link {index}");
        let fill = |request: &mut Writer| request.raw(&header(0, 0, 0, index));
        self.dump(operation, RTM_GETADDR, fill, |body| Address::parse(body, index))
    }

    /// The addresses of all links, each with the index of its link.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, Address)>, Error> {
        let fill = |request: &mut Writer| request.raw(&header(0, 0, 0, 0));
        self.dump(format_args!("read all addresses"), RTM_GETADDR, fill, Address::parse_any)
    }

    /// The addresses of all links of the namespace that has this number here; none where it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses_in(&mut self, netns: i32) -> Result<Vec<(u32, Address)>, Error> {
        let operation = format_args!("read all addresses of namespace {netns}");
        let fill = |request: &mut Writer| {
            request.raw(&header(0, 0, 0, 0));
            request.bytes(TARGET_NETNSID, &netns.to_ne_bytes());
        };
        let addresses = self.dump(operation, RTM_GETADDR, fill, Address::parse_any);
        unless(addresses, &[Errno::EINVAL]).map(Option::unwrap_or_default)
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
    request.address(IFA_LOCAL, network.ip());
    request.address(IFA_ADDRESS, network.ip());
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
        let address = Address::parse(&body.buffer, 4).unwrap();
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
        assert_eq!(body("fd00::2/64").buffer, expected);
    }

    #[test]
    fn other_links_and_short_messages_are_left_out() {
        let body = body("10.0.0.2/24").buffer;
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
