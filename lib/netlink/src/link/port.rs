//! The flags of a bridge's port (`IFLA_INFO_SLAVE_DATA`).

use nix::libc::{IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, RTM_NEWLINK};
use wire::attribute::find;

use super::request::header;
use crate::error::Error;
use crate::socket::Socket;

/// `IFLA_BRPORT_STATE` (`if_link.h`), and of `if_bridge.h` `BR_STATE_DISABLED` and `BR_STATE_FORWARDING`.
const STATE: u16 = 1;
const DISABLED: u8 = 0;
const FORWARDING: u8 = 3;
/// `IFLA_BRPORT_MODE` (`if_link.h`): hairpin.
const HAIRPIN: u16 = 4;
/// `IFLA_BRPORT_ISOLATED` (`if_link.h`).
const ISOLATED: u16 = 33;

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
}
