//! Asking for addresses (`RTM_GETADDR`).

use nix::errno::Errno;
use nix::libc::RTM_GETADDR;

use super::{Address, header};
use crate::error::{Error, unless};
use crate::socket::Socket;

/// `IFA_TARGET_NETNSID` (`if_addr.h`).
const TARGET_NETNSID: u16 = 10;

impl Socket {
    /// The addresses of one link, of both families.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Error> {
        let operation = format_args!("read addresses of link {index}");
        let fill = |request: &mut wire::Writer| request.raw(&header(0, 0, 0, index));
        self.dump(operation, RTM_GETADDR, fill, |body| Address::parse(body, index))
    }

    /// The addresses of all links, each with the index of its link.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, Address)>, Error> {
        let fill = |request: &mut wire::Writer| request.raw(&header(0, 0, 0, 0));
        self.dump(format_args!("read all addresses"), RTM_GETADDR, fill, Address::parse_any)
    }

    /// The addresses of all links of the namespace that has this number here; none where it has ended.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses_in(&mut self, netns: i32) -> Result<Vec<(u32, Address)>, Error> {
        let operation = format_args!("read all addresses of namespace {netns}");
        let fill = |request: &mut wire::Writer| {
            request.raw(&header(0, 0, 0, 0));
            request.bytes(TARGET_NETNSID, &netns.to_ne_bytes());
        };
        let addresses = self.dump(operation, RTM_GETADDR, fill, Address::parse_any);
        unless(addresses, &[Errno::EINVAL]).map(Option::unwrap_or_default)
    }
}
