//! The flags of a bridge's port (`IFLA_INFO_SLAVE_DATA`).

use netlink_packet_route::link::{
    BridgePortState, InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
};
use nix::libc::RTM_NEWLINK;

use crate::attribute::attributes;
use crate::error::Error;
use crate::socket::Socket;

/// `IFLA_BRPORT_STATE` (`if_link.h`), and `BR_STATE_FORWARDING` (`if_bridge.h`).
const STATE: u16 = 1;
const FORWARDING: u8 = 3;
/// `IFLA_BRPORT_MODE` (`if_link.h`): hairpin.
const HAIRPIN: u16 = 4;
/// `IFLA_BRPORT_ISOLATED` (`if_link.h`).
const ISOLATED: u16 = 33;

/// Flags of a bridge's port. What is `None` is left as it is, or was not told.
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
        let mut flags = Self::default();
        for (kind, value) in attributes(data) {
            let on = value.first().map(|&byte| byte != 0);
            match kind {
                HAIRPIN => flags.hairpin = on,
                ISOLATED => flags.isolated = on,
                STATE => flags.forwarding = value.first().map(|&state| state == FORWARDING),
                _ => {}
            }
        }
        flags
    }
}

impl Socket {
    /// Sets flags of a bridge's port.
    pub fn set_bridge_port(&mut self, index: u32, flags: &PortFlags) -> Result<(), Error> {
        let state = if flags.forwarding == Some(true) {
            BridgePortState::Forwarding
        } else {
            BridgePortState::Disabled
        };
        let data = [
            flags.hairpin.map(InfoBridgePort::HairpinMode),
            flags.isolated.map(InfoBridgePort::Isolated),
            flags.forwarding.map(|_| InfoBridgePort::State(state)),
        ];
        let mut request = LinkMessage::default();
        request.header.index = index;
        // Only RTM_NEWLINK looks at IFLA_LINKINFO; RTM_SETLINK would succeed and change nothing.
        request.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data.into_iter().flatten().collect())),
        ])];
        self.change(format_args!("set flags of bridge port {index}"), RTM_NEWLINK, 0, &request)
    }

    /// The flags of a bridge's port; `None` where there is no such link, or it is no port of a bridge.
    pub fn get_bridge_port(&mut self, index: u32) -> Result<Option<PortFlags>, Error> {
        Ok(self.get_link_by_index(index)?.and_then(|link| link.port))
    }
}
