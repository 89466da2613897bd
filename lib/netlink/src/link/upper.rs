//! Links on top of another one that share its wire: macvlan (a hardware address each) and ipvlan (the lower link's address).
//!
//! They are made down, in the namespace where they are to be: one that is made elsewhere and moved takes thirty times as long.
//! The kernel before Linux 6.14 looks for an existing link of the new one's name in the namespace of the socket, so a name that
//! neither has is to be given, and changed afterwards ([`Socket::set_name`]).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{
    IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_LINK, IFLA_MTU, IFLA_NET_NS_FD, RTM_NEWLINK, RTM_SETLINK,
};
use wire::Writer;
use wire::attribute::{find, find_u32, u16_at};
use wire::message::{NLM_F_CREATE, NLM_F_EXCL};

use super::request::{header, info};
use crate::error::Error;
use crate::mac::Mac;
use crate::socket::Socket;

/// `IFLA_MACVLAN_MODE` and `IFLA_MACVLAN_BC_QUEUE_LEN` (`if_link.h`).
const MACVLAN_MODE: u16 = 1;
const MACVLAN_BC_QUEUE_LEN: u16 = 7;
/// `IFLA_IPVLAN_MODE` (`if_link.h`).
const IPVLAN_MODE: u16 = 1;

/// Which macvlan links of one lower link reach each other (`enum macvlan_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvlanMode {
    /// None does, also not by a switch that sends frames back.
    Private,
    /// By the switch that the lower link is connected to, which has to send frames back (802.1Qbg).
    Vepa,
    /// All do, directly.
    Bridge,
    /// There is one alone, which has the lower link to itself.
    Passthru,
}

impl MacvlanMode {
    fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Vepa => 2,
            Self::Bridge => 4,
            Self::Passthru => 8,
        }
    }
}

/// What an ipvlan's lower link does with packets (`enum ipvlan_mode`). The kernel has one mode for all ipvlan links of a lower
/// link: the one that was set last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Switches frames.
    L2,
    /// Routes packets, past the host's packet filter; no broadcast and no multicast.
    L3,
    /// Routes packets, through the host's packet filter.
    L3s,
}

impl IpvlanMode {
    fn number(self) -> u16 {
        match self {
            Self::L2 => 0,
            Self::L3 => 1,
            Self::L3s => 2,
        }
    }
}

/// A kind of link on top of another, with what is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperKind {
    /// A macvlan.
    Macvlan {
        /// Whom it reaches.
        mode: MacvlanMode,
        /// Its hardware address; a random one otherwise, and in mode passthru the lower link's.
        mac: Option<Mac>,
        /// How many broadcast frames may wait on the lower link; the kernel's default, 1000, otherwise. Linux 5.11.
        bc_queue_len: Option<u32>,
    },
    /// An ipvlan.
    Ipvlan {
        /// What the lower link does with packets, from then on for all.
        mode: IpvlanMode,
    },
}

impl UpperKind {
    /// The kernel's name of the kind.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
        }
    }

    /// Reads `IFLA_INFO_DATA` of a link of one of these kinds. The hardware address is not in it.
    pub(super) fn parse(kind: &str, data: &[u8]) -> Option<Self> {
        match kind {
            "macvlan" => {
                let number = find_u32(data, MACVLAN_MODE)?;
                let known =
                    [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge, MacvlanMode::Passthru];
                let mode = known.into_iter().find(|mode| mode.number() == number)?;
                let bc_queue_len = find_u32(data, MACVLAN_BC_QUEUE_LEN);
                Some(Self::Macvlan { mode, mac: None, bc_queue_len })
            }
            "ipvlan" => {
                let number = u16_at(find(data, IPVLAN_MODE)?, 0)?;
                let known = [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s];
                let mode = known.into_iter().find(|mode| mode.number() == number)?;
                Some(Self::Ipvlan { mode })
            }
            _ => None,
        }
    }

    fn write(self, request: &mut Writer) {
        match self {
            Self::Macvlan { mode, mac, bc_queue_len } => {
                if let Some(mac) = mac {
                    request.bytes(IFLA_ADDRESS, &mac.octets());
                }
                info(request, "macvlan", |data| {
                    data.u32(MACVLAN_MODE, mode.number());
                    data.optional_u32(MACVLAN_BC_QUEUE_LEN, bc_queue_len);
                });
            }
            Self::Ipvlan { mode } => info(request, "ipvlan", |data| {
                data.bytes(IPVLAN_MODE, &mode.number().to_ne_bytes());
            }),
        }
    }
}

/// A link on top of another one, to be made.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// The index of the lower link, in the socket's namespace.
    pub link: u32,
    /// Its MTU in bytes; the lower link's otherwise.
    pub mtu: Option<u32>,
    /// Its kind.
    pub kind: UpperKind,
    /// The network namespace that it is made in; the socket's otherwise.
    pub namespace: Option<BorrowedFd<'a>>,
}

impl Socket {
    /// Makes a link on top of another one, down. The error [is "exists"](Error::is_exists) where the name is taken,
    /// [is "unsupported"](Error::is_unsupported) where the kernel has no such kind, and [is "busy"](Error::is_busy) where
    /// something else has the lower link, as a bridge its ports.
    pub fn add_upper(&mut self, upper: &Upper<'_>) -> Result<(), Error> {
        let operation = format_args!("add {} {} on link {}", upper.kind.name(), upper.name, upper.link);
        self.change(operation, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, |request| {
            request.raw(&header(0));
            request.string(IFLA_IFNAME, upper.name);
            request.u32(IFLA_LINK, upper.link);
            request.optional_u32(IFLA_MTU, upper.mtu);
            if let Some(namespace) = upper.namespace {
                request.bytes(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
            }
            upper.kind.write(request);
        })
    }

    /// Gives a link that is down another name, and an alias of at most 255 bytes.
    pub fn set_name(&mut self, index: u32, name: &str, alias: &str) -> Result<(), Error> {
        self.change(format_args!("name link {index} {name}"), RTM_SETLINK, 0, |request| {
            request.raw(&header(index));
            request.string(IFLA_IFNAME, name);
            request.string(IFLA_IFALIAS, alias);
        })
    }

    /// Whether the kernel has a kind of link that is made on top of another one, and may be asked for it; where it is a module, it
    /// is loaded. Nothing is made: the request names no lower link.
    pub fn has_kind(&mut self, kind: &UpperKind) -> Result<bool, Error> {
        let kind = kind.name();
        let asked = self.change(format_args!("ask for {kind}"), RTM_NEWLINK, NLM_F_CREATE, |request| {
            request.raw(&header(0));
            info(request, kind, |_| {});
        });
        match asked {
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) if error.is(Errno::EINVAL) => Ok(true),
            outcome => outcome.map(|()| true),
        }
    }
}
