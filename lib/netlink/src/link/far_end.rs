//! The other end of a veth in another namespace, asked for from here (`IFLA_TARGET_NETNSID`): nothing is entered or opened,
//! and no path is needed.

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use nix::errno::Errno;
use nix::libc::{RTM_GETADDR, RTM_GETLINK, RTM_GETNSID};
use std::os::fd::{AsFd, AsRawFd};

use super::Link;
use crate::address::Address;
use crate::attribute::{attributes, i32_at};
use crate::error::Error;
use crate::namespace::Namespace;
use crate::socket::Socket;

/// `sizeof(struct rtgenmsg)`, with the padding before attributes.
const HEADER: usize = 4;
/// `NETNSA_NSID` (`net_namespace.h`).
const NSID: u16 = 1;

impl Socket {
    /// The other end of a veth whose namespace is another one that still lives; `None` where the link has none.
    ///
    /// A namespace that has ended goes on having a number until the kernel has taken it down, so that a number alone proves
    /// nothing: the kernel is asked for the link in it. The link's own `peer_index` leads back to the one that was given.
    ///
    /// # Errors
    /// What the kernel says, a lack of `CAP_NET_ADMIN` over that namespace among it: then it lives.
    pub fn far_end(&mut self, link: &Link) -> Result<Option<Link>, Error> {
        let (Some("veth"), Some(netns), Some(index)) =
            (link.kind.as_deref(), link.peer_netns, link.peer_index)
        else {
            return Ok(None);
        };
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = vec![LinkAttribute::IfNetnsId(netns)];
        let operation = format_args!("get the other end of link {}", link.name);
        match self.get(operation, RTM_GETLINK, &request, Link::parse) {
            Ok(inner) => Ok(Some(inner)),
            Err(error) if error.is(Errno::EINVAL) || error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The addresses of all links of the namespace that has this number here; none where it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses_in(&mut self, netns: i32) -> Result<Vec<(u32, Address)>, Error> {
        let mut request = AddressMessage::default();
        request.attributes = vec![AddressAttribute::TargetNetNsId(netns)];
        let operation = format_args!("read all addresses of namespace {netns}");
        match self.dump(operation, RTM_GETADDR, &request, Address::parse_any) {
            Err(error) if error.is(Errno::EINVAL) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// Every link of the namespace. The cost grows with their number: nothing that adds or removes a container asks for it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut request = LinkMessage::default();
        request.attributes = vec![super::get::without_statistics()];
        self.dump(format_args!("read all links"), RTM_GETLINK, &request, Link::parse)
    }

    /// The number by which this socket's namespace knows another one; `None` where it has none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn number_of(&mut self, namespace: &Namespace) -> Result<Option<i32>, Error> {
        let mut request = NsidMessage::default();
        let descriptor = u32::try_from(namespace.as_fd().as_raw_fd()).unwrap_or_default();
        request.attributes = vec![NsidAttribute::Fd(descriptor)];
        let number = self.get(format_args!("get number of namespace"), RTM_GETNSID, &request, |body| {
            let (_, value) = attributes(body.get(HEADER..)?).find(|(kind, _)| *kind == NSID)?;
            i32_at(value, 0)
        })?;
        Ok(Some(number).filter(|number| *number >= 0))
    }
}
