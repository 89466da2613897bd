//! Removing addresses (`RTM_DELADDR`).

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::RTM_DELADDR;

use super::request;
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// Removes an address from a link; false where the link does not have it.
    pub fn del_address(&mut self, index: u32, network: IpNetwork) -> Result<bool, Error> {
        let operation = format_args!("delete address {network} from link {index}");
        match self.change(operation, RTM_DELADDR, 0, &request(index, network)) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
