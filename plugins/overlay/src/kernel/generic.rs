//! Generic netlink (`genetlink.h`), by which WireGuard is set: what is sent and received, and how the kernel's number for it is
//! found.

use std::io;

use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{WireguardAttribute, WireguardCmd, WireguardMessage};
use rtnetlink::packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use rtnetlink::sys::protocols::NETLINK_GENERIC;

use super::error::Error;
use super::socket::{Request, Requests};

/// `GENL_ID_CTRL`: the family that tells of the others.
const CONTROL: u16 = 0x10;
/// The name of the family (`WG_GENL_NAME`).
const WIREGUARD: &str = "wireguard";

/// A message of one of the two families.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Control(GenlMessage<GenlCtrl>),
    Wireguard(GenlMessage<WireguardMessage>),
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Self::Control(message) => message.message_type(),
            Self::Wireguard(message) => message.message_type(),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Control(message) => NetlinkSerializable::buffer_len(message),
            Self::Wireguard(message) => NetlinkSerializable::buffer_len(message),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Control(message) => message.serialize(buffer),
            Self::Wireguard(message) => message.serialize(buffer),
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type == CONTROL {
            GenlMessage::deserialize(header, payload).map(Self::Control)
        } else {
            GenlMessage::deserialize(header, payload).map(Self::Wireguard)
        }
    }
}

/// The kernel's WireGuard.
pub(super) struct Wireguard {
    pub(super) requests: Requests<Message>,
    /// The family's number, which the kernel gives when the module is loaded.
    family: u16,
}

impl Wireguard {
    /// Opens a socket and asks for the number.
    pub(super) async fn open() -> Result<Self, Error> {
        let requests = Requests::open_protocol(NETLINK_GENERIC)?;
        let what = "find WireGuard in the kernel";
        let message = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(WIREGUARD.to_owned())],
        });
        let answer = requests.get(Message::Control(message), what).await?;
        let family = answer.and_then(|answer| match answer {
            Message::Control(message) => {
                message.payload.nlas.into_iter().find_map(|attribute| match attribute {
                    GenlCtrlAttrs::FamilyId(number) => Some(number),
                    _ => None,
                })
            }
            Message::Wireguard(_) => None,
        });
        let none = || Error::Refused { what: what.to_owned(), source: io::ErrorKind::NotFound.into() };
        Ok(Self { requests, family: family.ok_or_else(none)? })
    }

    /// A message of the family.
    pub(super) fn message(&self, cmd: WireguardCmd, attributes: Vec<WireguardAttribute>) -> Message {
        let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
        message.set_resolved_family_id(self.family);
        Message::Wireguard(message)
    }

    /// A request that changes something. `what` must not say a secret.
    pub(super) fn request(&self, attributes: Vec<WireguardAttribute>, what: String) -> Request<Message> {
        let message = self.message(WireguardCmd::SetDevice, attributes);
        Request { message, flags: 0, what, route: None }
    }
}
