//! Asking for addresses (`RTM_GETADDR`).

use netlink_packet_route::address::AddressMessage;
use nix::libc::RTM_GETADDR;

use super::Address;
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// The addresses of one link, of both families.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Error> {
        let mut request = AddressMessage::default();
        request.header.index = index;
        let operation = format_args!("read addresses of link {index}");
        self.dump(operation, RTM_GETADDR, &request, |body| Address::parse(body, index))
    }

    /// The addresses of all links, each with the index of its link.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, Address)>, Error> {
        let request = AddressMessage::default();
        self.dump(format_args!("read all addresses"), RTM_GETADDR, &request, Address::parse_any)
    }
}
