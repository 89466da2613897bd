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
}
