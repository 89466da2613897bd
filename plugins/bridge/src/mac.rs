//! Hardware addresses of bridges, and what follows from an address.

use std::net::Ipv6Addr;

use cni::{hex, token};
use interface::random_mac;
use netlink::Mac;

use crate::names::BRIDGE_ALIAS;

/// An address for a bridge that an ADD makes: random as any, but for its last half, which follows from the first half
/// and the name. By it a bridge of ours is known while it has no alias yet.
pub(crate) fn of_bridge(name: &str) -> Mac {
    let mut octets = random_mac().octets();
    let (half, rest) = octets.split_at_mut(3);
    rest.copy_from_slice(&mark(half, name));
    Mac::from(octets)
}

/// Whether an ADD made the bridge that has this name and address.
pub(crate) fn is_of_bridge(mac: Mac, name: &str) -> bool {
    let octets = mac.octets();
    let (half, rest) = octets.split_at(3);
    rest == mark(half, name)
}

fn mark(half: &[u8], name: &str) -> [u8; 3] {
    let digits = &token(&[BRIDGE_ALIAS, name, &hex(half)])[..6];
    let [_, mark @ ..] = u32::from_str_radix(digits, 16).unwrap_or_default().to_be_bytes();
    mark
}

/// The link-local address that the kernel derives from a hardware address (RFC 4291, appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [first, second, third, fourth, fifth, last] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, first ^ 2, second, third, 0xff, 0xfe, fourth, fifth, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridges_address_tells_that_an_add_made_it() {
        let mac = of_bridge("cni0");
        assert_eq!(mac.octets()[0] & 3, 2);
        assert!(is_of_bridge(mac, "cni0") && !is_of_bridge(mac, "cni1"));
        assert!(!is_of_bridge(random_mac(), "cni0"));
        assert_ne!(of_bridge("cni0"), mac);
    }

    #[test]
    fn the_link_local_address_follows_from_the_hardware_address() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::ff:fe00:1");
        assert_eq!(link_local("86:08:aa:bc:9c:70".parse().unwrap()).to_string(), "fe80::8408:aaff:febc:9c70");
    }
}
