//! The other end of a veth in another namespace, read from this one (`IFLA_TARGET_NETNSID`): nothing is entered or opened,
//! and no path is needed.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{IFLA_TARGET_NETNSID, RTM_GETLINK, RTM_GETNSID};
use wire::Writer;
use wire::attribute::find_u32;

use super::request::header;
use super::state::Link;
use crate::error::{Error, unless};
use crate::namespace::Namespace;
use crate::socket::Socket;

/// `sizeof(struct rtgenmsg)`, with the padding before attributes.
const HEADER: usize = 4;
/// `NETNSA_NSID` and `NETNSA_FD` (`net_namespace.h`).
const NSID: u16 = 1;
const FD: u16 = 3;

impl Socket {
    /// The other end of a veth, where that is in another namespace which still exists; `None` where the link has none.
    ///
    /// A namespace that has ended keeps its number until the kernel has taken it down, so a number alone proves nothing: the
    /// kernel is asked for the link in it. The `peer_index` of that link leads back to the given one.
    ///
    /// # Errors
    /// What the kernel says. Also a lack of `CAP_NET_ADMIN` over that namespace, which then exists.
    pub fn far_end(&mut self, link: &Link) -> Result<Option<Link>, Error> {
        let (Some("veth"), Some(netns), Some(index)) =
            (link.kind.as_deref(), link.peer_netns, link.peer_index)
        else {
            return Ok(None);
        };
        let operation = format_args!("get the other end of link {}", link.name);
        let fill = |request: &mut Writer| {
            request.raw(&header(index));
            request.bytes(IFLA_TARGET_NETNSID, &netns.to_ne_bytes());
        };
        let found = self.get(operation, RTM_GETLINK, fill, Link::parse);
        unless(found, &[Errno::EINVAL, Errno::ENODEV])
    }

    /// The number by which this socket's namespace knows another one; `None` where it has none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn number_of(&mut self, namespace: &Namespace) -> Result<Option<i32>, Error> {
        let fill = |request: &mut Writer| {
            request.raw(&[0; HEADER]);
            request.bytes(FD, &namespace.as_fd().as_raw_fd().to_ne_bytes());
        };
        let number = self.get(format_args!("get number of namespace"), RTM_GETNSID, fill, |body| {
            find_u32(body.get(HEADER..)?, NSID).map(u32::cast_signed)
        })?;
        Ok(Some(number).filter(|number| *number >= 0))
    }
}
