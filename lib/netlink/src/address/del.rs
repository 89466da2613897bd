//! Removing addresses (`RTM_DELADDR`).

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{RT_SCOPE_UNIVERSE, RTM_DELADDR};

use super::write;
use crate::error::{Error, unless};
use crate::socket::Socket;

impl Socket {
    /// Removes an address from a link; false where the link does not have it.
    pub fn del_address(&mut self, index: u32, network: IpNetwork) -> Result<bool, Error> {
        let operation = format_args!("delete address {network} from link {index}");
        let fill = |request: &mut wire::Writer| write(request, index, network, RT_SCOPE_UNIVERSE);
        let deleted = self.change(operation, RTM_DELADDR, 0, fill);
        unless(deleted, &[Errno::EADDRNOTAVAIL]).map(|deleted| deleted.is_some())
    }
}
