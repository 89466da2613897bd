//! What follows from a network's and a machine's ID, and from the interface to the other nodes.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::conf::Conf;
use crate::record::{Backend, Mac, Network};

/// Digits of the network's ID in the device's name: with `vx-` 11 of the 15 bytes that a name may have.
const DIGITS: usize = 8;

/// The MAC address of a node's device. It is the same after a reboot, so that what others know of the node stays right.
pub(crate) fn mac(network: &str, machine: &str) -> Mac {
    let digest = Sha256::new().chain_update(network).chain_update([0]).chain_update(machine).finalize();
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&digest[..6]);
    // Locally administered, and no group's.
    bytes[0] = 2;
    Mac(bytes)
}

/// The name of the device.
pub(crate) fn device_name(conf: &Conf, id: &str) -> String {
    let digits = id.chars().filter(char::is_ascii_hexdigit).take(DIGITS);
    conf.device.clone().unwrap_or_else(|| format!("vx-{}", digits.collect::<String>()))
}

/// The device's MTU over an interface with this one; or why there can be none.
pub(crate) fn mtu(underlay: u32, local: IpAddr, network: &Network, most: Option<u32>) -> Result<u32, String> {
    // The outer IP, UDP and VXLAN headers and the inner Ethernet header; or those of WireGuard.
    let outer = match (network.backend, local.is_ipv4()) {
        (Backend::Vxlan, true) => 50,
        (Backend::Vxlan, false) => 70,
        (Backend::Wireguard, true) => 60,
        (Backend::Wireguard, false) => 80,
    };
    let bounds = [(network.mtu != 0).then_some(network.mtu), most];
    let mtu = bounds.into_iter().flatten().fold(underlay.saturating_sub(outer), u32::min);
    let (least, family) = if network.prefixes.iter().any(ipnetwork::IpNetwork::is_ipv6) {
        (1280, "IPv6")
    } else {
        (576, "IPv4")
    };
    if mtu >= least {
        return Ok(mtu);
    }
    Err(format!(
        "the device would have an MTU of {mtu}, and {family} in it needs {least}; raise that of the interface \
         ({underlay}) to {} or more, or \"mtu\" to {least} or more",
        least + outer
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(prefix: &str, mtu: u32) -> Network {
        Network {
            id: "6f1c1d1e-5d0a".to_owned(),
            prefixes: vec![prefix.parse().unwrap()],
            block_lengths: vec![24],
            backend: Backend::Vxlan,
            vni: 1,
            port: 4789,
            mtu,
        }
    }

    fn encrypted(prefix: &str) -> Network {
        Network { backend: Backend::Wireguard, ..network(prefix, 0) }
    }

    #[test]
    fn the_mtu_leaves_room_for_the_outer_headers() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let (inner4, inner6) = ("10.201.0.0/16", "fd00:201::/48");
        for (underlay, local, network, most, expected) in [
            (1500, v4, network(inner4, 0), None, Ok(1450)),
            (1500, v6, network(inner4, 0), None, Ok(1430)),
            (1500, v4, network(inner4, 1400), None, Ok(1400)),
            (1500, v4, network(inner4, 1400), Some(1300), Ok(1300)),
            (1500, v4, network(inner4, 9000), None, Ok(1450)),
            (1330, v4, network(inner6, 0), None, Ok(1280)),
            (1329, v4, network(inner6, 0), None, Err("1330 or more")),
            (1500, v4, network(inner6, 0), Some(1000), Err("IPv6 in it needs 1280")),
            (625, v4, network(inner4, 0), None, Err("IPv4 in it needs 576")),
            (1500, v4, encrypted(inner6), None, Ok(1440)),
            (1500, v6, encrypted(inner6), None, Ok(1420)),
            (1359, v6, encrypted(inner6), None, Err("1360 or more")),
        ] {
            match (mtu(underlay, local, &network, most), expected) {
                (Ok(mtu), Ok(expected)) => assert_eq!(mtu, expected),
                (Err(said), Err(words)) => assert!(said.contains(words), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_mac_address_is_of_one_node_and_network() {
        let own = mac("a", "1");
        assert_eq!((own, own.0[0]), (mac("a", "1"), 2));
        assert!(own != mac("a", "2") && own != mac("b", "1") && mac("a", "b1") != mac("ab", "1"));
    }
}
