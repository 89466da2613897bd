//! Whether frames that a bridge forwards go through the packet filter of IP as well (`br_netfilter`).

use wire::attribute::find;

use crate::error::Error;
use crate::socket::Socket;

/// `IFLA_BR_NF_CALL_IPTABLES` and `IFLA_BR_NF_CALL_IP6TABLES` (`if_link.h`).
const CALL_IPTABLES: u16 = 36;
const CALL_IP6TABLES: u16 = 37;

/// A bridge's own switches for `br_netfilter`. The kernel keeps them whether it has that module or not, and follows
/// them only where it has; the sysctls `net/bridge/bridge-nf-call-*` switch it on for all bridges of the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeNetfilter {
    /// Packets of IPv4 go through it (`IFLA_BR_NF_CALL_IPTABLES`).
    pub ipv4: bool,
    /// Packets of IPv6 go through it (`IFLA_BR_NF_CALL_IP6TABLES`).
    pub ipv6: bool,
}

impl BridgeNetfilter {
    /// Everything goes through it.
    pub const ON: Self = Self { ipv4: true, ipv6: true };

    pub(super) fn parse(data: &[u8]) -> Self {
        let is_on = |kind| find(data, kind).and_then(<[u8]>::first).is_some_and(|&byte| byte != 0);
        Self { ipv4: is_on(CALL_IPTABLES), ipv6: is_on(CALL_IP6TABLES) }
    }
}

impl Socket {
    /// Sets a bridge's switches. A kernel without them ignores that; [`crate::Link::netfilter`] shows it.
    pub fn set_bridge_netfilter(&mut self, index: u32, switches: BridgeNetfilter) -> Result<(), Error> {
        self.change_bridge(format_args!("set netfilter switches of bridge {index}"), index, |data| {
            data.bytes(CALL_IPTABLES, &[switches.ipv4.into()]);
            data.bytes(CALL_IP6TABLES, &[switches.ipv6.into()]);
        })
    }
}
