//! Removing links (`RTM_DELLINK`). The other end of a veth goes with the one that is removed.

use std::fmt::Arguments;

use nix::errno::Errno;
use nix::libc::RTM_DELLINK;
use wire::Writer;

use super::request::{by_name, header};
use crate::error::{Error, unless};
use crate::socket::Socket;

impl Socket {
    /// Removes the link with this index; false where there is none.
    pub fn del_link(&mut self, index: u32) -> Result<bool, Error> {
        self.remove(format_args!("delete link {index}"), |request| request.raw(&header(index)))
    }

    /// Removes the link of this name; false where there is none.
    pub fn del_link_by_name(&mut self, name: &str) -> Result<bool, Error> {
        self.remove(format_args!("delete link {name}"), |request| by_name(request, name))
    }

    /// Fails where this process may not change links at all. The request names no link: the kernel refuses it either way,
    /// and changes nothing.
    ///
    /// # Errors
    /// [`Error::Privilege`] where it may not.
    pub fn expect_privilege(&mut self) -> Result<(), Error> {
        match self.remove(format_args!("change links"), |request| request.raw(&header(0))) {
            Err(error) if !error.is(Errno::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, operation: Arguments<'_>, fill: impl FnOnce(&mut Writer)) -> Result<bool, Error> {
        let removed = self.change(operation, RTM_DELLINK, 0, fill);
        unless(removed, &[Errno::ENODEV]).map(|removed| removed.is_some())
    }
}
