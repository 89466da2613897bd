//! What an interface does with IPv6 (`IFLA_AF_SPEC`, `IFLA_INET6_CONF`, `enum` in `linux/ipv6.h`).
//!
//! `/proc/sys/net/ipv6/conf` says the same, but this comes with the link.

use wire::attribute::{find, u32_at};

use crate::ip::Family;

/// `IFLA_INET6_CONF`: a number for each parameter.
const CONF: u16 = 2;
/// `DEVCONF_FORWARDING` and `DEVCONF_ACCEPT_RA`; the first parameter is 0.
const FORWARDING: usize = 0;
const ACCEPT_RA: usize = 3;

/// What an interface does with router advertisements (RFC 4861).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertisements {
    /// Whether they take effect: never (0), unless the interface forwards (1), always (2) (`accept_ra`).
    pub accepted: u32,
    /// Whether the interface forwards (`forwarding`).
    pub forwarding: bool,
}

impl Advertisements {
    /// Whether advertisements that come in now give this host routes and addresses (`ipv6_accept_ra`).
    #[must_use]
    pub const fn take_effect(self) -> bool {
        if self.forwarding { self.accepted == 2 } else { self.accepted != 0 }
    }

    /// Reads them from `IFLA_AF_SPEC`.
    pub(super) fn parse(families: &[u8]) -> Option<Self> {
        let parameters = find(find(families, Family::V6.number().into())?, CONF)?;
        let parameter = |number: usize| u32_at(parameters, number * 4);
        Some(Self { accepted: parameter(ACCEPT_RA)?, forwarding: parameter(FORWARDING)? != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_follows_advertisements_only_with_accept_ra_2() {
        let heeds = |accepted, forwarding| Advertisements { accepted, forwarding }.take_effect();
        assert!(heeds(1, false) && heeds(2, false) && heeds(2, true));
        assert!(!heeds(0, false) && !heeds(0, true) && !heeds(1, true));
    }

    #[test]
    fn short_attributes_say_nothing() {
        assert_eq!(Advertisements::parse(&[8, 0, 10, 0, 4, 0, 2, 0]), None);
        assert_eq!(Advertisements::parse(&[]), None);
    }
}
