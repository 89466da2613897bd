//! Adding addresses (`RTM_NEWADDR`).

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags as WireFlags, AddressScope};
use nix::libc::RTM_NEWADDR;

use super::{AddressFlags, broadcast, request};
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// Adds an address to a link, for IPv4 with its network's broadcast address; false where the link has it
    /// already.
    pub fn add_address(
        &mut self,
        index: u32,
        network: IpNetwork,
        flags: AddressFlags,
    ) -> Result<bool, Error> {
        let mut request = request(index, network);
        if network.ip().is_loopback() {
            request.header.scope = AddressScope::Host;
        }
        request.attributes.extend(broadcast(network).map(AddressAttribute::Broadcast));
        let mut wire = WireFlags::empty();
        wire.set(WireFlags::Nodad, flags.nodad);
        wire.set(WireFlags::Noprefixroute, flags.noprefixroute);
        if !wire.is_empty() {
            request.attributes.push(AddressAttribute::Flags(wire));
        }
        let operation = format_args!("add address {network} to link {index}");
        match self.change(operation, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &request) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
