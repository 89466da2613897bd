//! Removing links (`RTM_DELLINK`). The other end of a veth goes with the one that is removed.

use std::fmt::Arguments;

use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::errno::Errno;
use nix::libc::RTM_DELLINK;

use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// Removes the link with this index; false where there is none.
    pub fn del_link(&mut self, index: u32) -> Result<bool, Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        self.remove(format_args!("delete link {index}"), &request)
    }

    /// Removes the link of this name; false where there is none.
    pub fn del_link_by_name(&mut self, name: &str) -> Result<bool, Error> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        self.remove(format_args!("delete link {name}"), &request)
    }

    /// Whether this process may change links at all. What is asked for names no link, so that the kernel refuses it for one
    /// reason or the other and changes nothing.
    ///
    /// # Errors
    /// [`Error::Privilege`] where it may not.
    pub fn expect_privilege(&mut self) -> Result<(), Error> {
        match self.remove(format_args!("change links"), &LinkMessage::default()) {
            Err(error) if !error.is(Errno::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, operation: Arguments<'_>, request: &LinkMessage) -> Result<bool, Error> {
        match self.change(operation, RTM_DELLINK, 0, request) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::ENODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
