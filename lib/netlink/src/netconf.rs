//! What a network namespace does with packets of a family (`RTM_GETNETCONF`, `netconf.h`).
//!
//! `/proc/sys/net` says the same; but there every namespace of the machine has entries of the same names in the
//! kernel's cache of names, and to find one's own takes a millisecond among a thousand.

use nix::libc::RTM_GETNETCONF;
use wire::attribute::find_u32;

use crate::error::Error;
use crate::ip::Family;
use crate::socket::Socket;

/// `NLMSG_ALIGN(sizeof(struct netconfmsg))`.
const HEADER: usize = 4;
/// `NETCONFA_IFINDEX`.
const IFINDEX: u16 = 1;
/// `NETCONFA_IFINDEX_ALL`: the namespace rather than one of its interfaces.
const ALL: i32 = -1;
/// `NETCONFA_FORWARDING`.
const FORWARDING: u16 = 2;

impl Socket {
    /// Whether packets of a family are forwarded (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`). Fails where
    /// the kernel does not have the family.
    pub fn forwards(&mut self, family: Family) -> Result<bool, Error> {
        let operation = format_args!("ask whether {family:?} is forwarded");
        let fill = |request: &mut wire::Writer| {
            request.raw(&[family.number(), 0, 0, 0]);
            request.bytes(IFINDEX, &ALL.to_ne_bytes());
        };
        self.get(operation, RTM_GETNETCONF, fill, |body| {
            Some(find_u32(body.get(HEADER..)?, FORWARDING)? != 0)
        })
    }
}
