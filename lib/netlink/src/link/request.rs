//! What requests about links have in common.

use std::ffi::c_int;

use nix::libc::{
    IFLA_EXT_MASK, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, RTEXT_FILTER_SKIP_STATS,
};
use wire::Writer;

/// `sizeof(struct ifinfomsg)`.
pub(super) const HEADER: usize = 16;
/// `IFLA_VLAN_ID` (`if_link.h`).
pub(super) const VLAN_ID: u16 = 1;

/// `struct ifinfomsg` of a request about one link, or with the index 0 about none.
pub(super) fn header(index: u32) -> [u8; HEADER] {
    header_with_flags(index, 0, 0)
}

/// The same, for setting those flags (`IFF_*`) that are in `mask` as `flags` has them.
pub(super) fn header_with_flags(index: u32, flags: c_int, mask: c_int) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

/// Appends the beginning of a request about the link of a name.
pub(super) fn by_name(request: &mut Writer, name: &str) {
    request.raw(&header(0));
    request.string(IFLA_IFNAME, name);
}

/// Leaves out the IPv6 counters, each of which the kernel would add up over all CPUs.
pub(super) fn without_statistics(request: &mut Writer) {
    request.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS.cast_unsigned());
}

/// Appends the kind of a link, and what `fill` appends as data of that kind.
pub(super) fn info(request: &mut Writer, kind: &str, fill: impl FnOnce(&mut Writer)) {
    request.attribute(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_KIND, kind);
        info.attribute(IFLA_INFO_DATA, fill);
    });
}
