//! What is set of a bridge (`IFLA_BR_*`) and of its ports (`IFLA_BRPORT_*`), apart from VLANs.

use std::fmt::Arguments;

use nix::libc::{IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, RTM_NEWLINK};
use wire::Writer;
use wire::attribute::find;

use super::request::{header, info};
use crate::error::Error;
use crate::socket::Socket;

/// `IFLA_BR_VLAN_FILTERING` (`if_link.h`).
pub(super) const BR_VLAN_FILTERING: u16 = 7;
/// `IFLA_BR_FDB_MAX_LEARNED` (`if_link.h`).
pub(super) const BR_FDB_MAX_LEARNED: u16 = 49;
/// `IFLA_BR_NF_CALL_IPTABLES` and `IFLA_BR_NF_CALL_IP6TABLES` (`if_link.h`).
const CALL_IPTABLES: u16 = 36;
const CALL_IP6TABLES: u16 = 37;
/// `IFLA_BRPORT_STATE` (`if_link.h`), and of `if_bridge.h` `BR_STATE_DISABLED` and `BR_STATE_FORWARDING`.
const STATE: u16 = 1;
const DISABLED: u8 = 0;
const FORWARDING: u8 = 3;
/// `IFLA_BRPORT_MODE` (`if_link.h`): hairpin.
const HAIRPIN: u16 = 4;
/// `IFLA_BRPORT_ISOLATED` (`if_link.h`).
const ISOLATED: u16 = 33;

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

/// Flags of a bridge's port. `None` leaves a flag as it is; of a port that was read, the kernel did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFlags {
    /// Whether frames may leave through the port they came in by (`IFLA_BRPORT_MODE`).
    pub hairpin: Option<bool>,
    /// Whether it exchanges no frames with other isolated ports (`IFLA_BRPORT_ISOLATED`, Linux 4.18).
    pub isolated: Option<bool>,
    /// Whether it forwards frames (`IFLA_BRPORT_STATE` is `BR_STATE_FORWARDING`) or is disabled. The kernel refuses to
    /// change it where the spanning tree protocol runs ([busy](Error::is_busy)), and to let a port without a carrier
    /// forward ([down](Error::is_down)).
    pub forwarding: Option<bool>,
}

impl PortFlags {
    pub(super) fn parse(data: &[u8]) -> Self {
        let byte = |kind| find(data, kind).and_then(<[u8]>::first).copied();
        Self {
            hairpin: byte(HAIRPIN).map(|byte| byte != 0),
            isolated: byte(ISOLATED).map(|byte| byte != 0),
            forwarding: byte(STATE).map(|state| state == FORWARDING),
        }
    }
}

impl Socket {
    /// Limits how many hardware addresses the ports of a bridge may teach it in all; 0 for no limit. A kernel before Linux 6.8
    /// ignores it, which [`crate::Link::fdb_max_learned`] shows.
    pub fn set_fdb_max_learned(&mut self, index: u32, most: u32) -> Result<(), Error> {
        let operation = format_args!("limit what bridge {index} learns");
        self.change_bridge(operation, index, |data| data.u32(BR_FDB_MAX_LEARNED, most))
    }

    /// Makes a bridge filter VLANs, or stop doing so; `EOPNOTSUPP` from a kernel that cannot
    /// (`CONFIG_BRIDGE_VLAN_FILTERING`).
    pub fn set_vlan_filtering(&mut self, bridge: u32, on: bool) -> Result<(), Error> {
        let operation = format_args!("set VLAN filtering of bridge {bridge}: {on}");
        self.change_bridge(operation, bridge, |data| data.bytes(BR_VLAN_FILTERING, &[on.into()]))
    }

    /// Sets a bridge's switches. A kernel without them ignores that; [`crate::Link::netfilter`] shows it.
    pub fn set_bridge_netfilter(&mut self, index: u32, switches: BridgeNetfilter) -> Result<(), Error> {
        self.change_bridge(format_args!("set netfilter switches of bridge {index}"), index, |data| {
            data.bytes(CALL_IPTABLES, &[switches.ipv4.into()]);
            data.bytes(CALL_IP6TABLES, &[switches.ipv6.into()]);
        })
    }

    /// Sets flags of a bridge's port.
    pub fn set_bridge_port(&mut self, index: u32, flags: &PortFlags) -> Result<(), Error> {
        let state = |forwarding| if forwarding { FORWARDING } else { DISABLED };
        let data = [
            (HAIRPIN, flags.hairpin.map(u8::from)),
            (ISOLATED, flags.isolated.map(u8::from)),
            (STATE, flags.forwarding.map(state)),
        ];
        // Only RTM_NEWLINK looks at IFLA_LINKINFO; RTM_SETLINK would succeed and change nothing.
        self.change(format_args!("set flags of bridge port {index}"), RTM_NEWLINK, 0, |request| {
            request.raw(&header(index));
            request.attribute(IFLA_LINKINFO, |info| {
                info.string(IFLA_INFO_SLAVE_KIND, "bridge");
                info.attribute(IFLA_INFO_SLAVE_DATA, |port| {
                    for (kind, value) in data.into_iter().filter_map(|(kind, value)| Some((kind, value?))) {
                        port.bytes(kind, &[value]);
                    }
                });
            });
        })
    }

    /// The flags of a bridge's port; `None` where there is no such link, or it is no port of a bridge.
    pub fn get_bridge_port(&mut self, index: u32) -> Result<Option<PortFlags>, Error> {
        Ok(self.get_link_by_index(index)?.and_then(|link| link.port))
    }

    /// Sets what `fill` appends of a bridge (`IFLA_BR_*`).
    fn change_bridge(
        &mut self,
        operation: Arguments<'_>,
        index: u32,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<(), Error> {
        // Only RTM_NEWLINK looks at IFLA_LINKINFO; RTM_SETLINK would succeed and change nothing.
        self.change(operation, RTM_NEWLINK, 0, |request| {
            request.raw(&header(index));
            info(request, "bridge", fill);
        })
    }
}
