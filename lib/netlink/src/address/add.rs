//! Adding addresses (`RTM_NEWADDR`).

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{
    IFA_BROADCAST, IFA_F_NODAD, IFA_F_NOPREFIXROUTE, IFA_FLAGS, RT_SCOPE_HOST, RT_SCOPE_UNIVERSE, RTM_NEWADDR,
};
use wire::message::{NLM_F_CREATE, NLM_F_EXCL};

use super::{AddressFlags, broadcast, write};
use crate::error::{Error, unless};
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
        let scope = if network.ip().is_loopback() { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE };
        let bit = |is_set, flag| if is_set { flag } else { 0 };
        let flags = bit(flags.nodad, IFA_F_NODAD) | bit(flags.noprefixroute, IFA_F_NOPREFIXROUTE);
        let operation = format_args!("add address {network} to link {index}");
        let added = self.change(operation, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, |request| {
            write(request, index, network, scope);
            if let Some(broadcast) = broadcast(network) {
                request.bytes(IFA_BROADCAST, &broadcast.octets());
            }
            if flags != 0 {
                request.u32(IFA_FLAGS, flags);
            }
        });
        unless(added, &[Errno::EEXIST]).map(|added| added.is_some())
    }
}
