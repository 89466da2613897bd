//! What a network namespace does with packets of a family (`RTM_GETNETCONF`, `netconf.h`).
//!
//! The same as below `/proc/sys/net`; but there every namespace of the machine has entries of the same names in the
//! kernel's cache of names, and to find one's own takes a millisecond among a thousand.

use netlink_packet_core::Emitable;
use nix::libc::{AF_INET, AF_INET6, RTM_GETNETCONF, c_int};

use crate::attribute::{attributes, u32_at};
use crate::error::Error;
use crate::socket::Socket;

/// `NLMSG_ALIGN(sizeof(struct netconfmsg))`.
const HEADER: usize = 4;
/// `NETCONFA_IFINDEX`.
const IFINDEX: u16 = 1;
/// `NETCONFA_IFINDEX_ALL`: the namespace rather than one of its interfaces.
const ALL: i32 = -1;
/// `NETCONFA_FORWARDING`.
const FORWARDING: u16 = 2;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Socket {
    /// Whether packets of a family are forwarded (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`). Fails where
    /// the kernel does not have the family.
    pub fn forwards(&mut self, family: Family) -> Result<bool, Error> {
        let operation = format_args!("ask whether {family:?} is forwarded");
        self.get(operation, RTM_GETNETCONF, &Request { family }, |body| {
            let (_, value) = attributes(body.get(HEADER..)?).find(|(kind, _)| *kind == FORWARDING)?;
            Some(u32_at(value, 0)? != 0)
        })
    }
}

struct Request {
    family: Family,
}

impl Emitable for Request {
    fn buffer_len(&self) -> usize {
        HEADER + 8
    }

    fn emit(&self, buffer: &mut [u8]) {
        let family: c_int = match self.family {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        };
        let mut bytes = [0; HEADER + 8];
        bytes[0] = u8::try_from(family).unwrap_or_default();
        bytes[4..6].copy_from_slice(&8_u16.to_ne_bytes());
        bytes[6..8].copy_from_slice(&IFINDEX.to_ne_bytes());
        bytes[8..].copy_from_slice(&ALL.to_ne_bytes());
        buffer[..bytes.len()].copy_from_slice(&bytes);
    }
}
