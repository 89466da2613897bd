//! The UDP ports that a container's chain publishes, read from its rules: their flows are to be removed from connection
//! tracking with the chain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cni::Protocol;
use nftables::{Clause, Rule, Selector};

use crate::port::Port;

/// What a rule of `nf_tables` leads to the container, on every address of the host.
pub(super) fn by_rule(rule: &Rule) -> Option<Port> {
    let (mut protocol, mut host_port, mut container) = (None, None, None);
    for clause in &rule.clauses {
        match clause {
            Clause::Compare { selector: Some(Selector::L4Proto), negated: false, bytes, .. } => {
                protocol = bytes.first().copied();
            }
            Clause::Compare { selector: Some(Selector::ThDport), negated: false, bytes, .. } => {
                host_port = number(bytes, 0);
            }
            // `struct xt_udp`: first and last source port, first and last destination port, in the host's order.
            Clause::Extension { name, info } if name == "udp" => {
                protocol = Some(Protocol::Udp.number());
                host_port = info.get(4..6).and_then(|port| Some(u16::from_ne_bytes(port.try_into().ok()?)));
            }
            Clause::Extension { name, info } if name == "DNAT" => container = range(info),
            Clause::Dnat { address, port: Some(port) } => {
                container = self::address(address).map(|address| SocketAddr::new(address, *port));
            }
            _ => {}
        }
    }
    (protocol == Some(Protocol::Udp.number())).then_some(())?;
    Some(port(host_port?, container?))
}

/// The same for a rule as a program prints it.
pub(super) fn by_words(rule: &iptables::Rule) -> Option<Port> {
    (rule.option("-p") == Some(Protocol::Udp.name())).then_some(())?;
    Some(port(rule.option("--dport")?.parse().ok()?, rule.option("--to-destination")?.parse().ok()?))
}

const fn port(host_port: u16, container: SocketAddr) -> Port {
    Port { host_ip: None, host_port, protocol: Protocol::Udp, container }
}

/// The first address and port of the target DNAT. Its length says which layout it has: one range of IPv4 after a count
/// (`nf_nat_ipv4_multi_range_compat`), or a range of either family (`nf_nat_range`, `nf_nat_range2`), whose address of IPv4
/// is followed by zeros. All are multiples of eight bytes.
fn range(info: &[u8]) -> Option<SocketAddr> {
    let (address, port) = match info.len() {
        24 => (address(info.get(8..12)?)?, number(info, 16)?),
        40 | 48 if info.get(8..20)?.iter().all(|byte| *byte == 0) => {
            (address(info.get(4..8)?)?, number(info, 36)?)
        }
        40 | 48 => (address(info.get(4..20)?)?, number(info, 36)?),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into());
    v4().or_else(|| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()))
}

/// A port in the network's order.
fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_of_the_target_is_read() {
        let v4 = [10, 1, 0, 2];
        let v6: Ipv6Addr = "fd00:1::2".parse().unwrap();
        let old =
            [&1_u32.to_ne_bytes()[..], &3_u32.to_ne_bytes(), &v4, &v4, &[0, 53, 0, 53, 0, 0, 0, 0]].concat();
        assert_eq!(range(&old), Some("10.1.0.2:53".parse().unwrap()));
        for length in [40, 48] {
            for (address, expected) in
                [([&v4[..], &[0; 12]].concat(), "10.1.0.2:53"), (v6.octets().to_vec(), "[fd00:1::2]:53")]
            {
                let mut new = [&3_u32.to_ne_bytes()[..], &address, &address, &[0, 53, 0, 53]].concat();
                new.resize(length, 0);
                assert_eq!(range(&new), Some(expected.parse().unwrap()));
            }
        }
        assert_eq!(range(&[0; 8]), None);
    }

    #[test]
    fn the_port_of_a_printed_rule_is_read() {
        let led = |line: &str| by_words(&iptables::Rule::parse(line).unwrap());
        let line =
            "-A CNI-DN-1 -d 192.0.2.1/32 -p udp -m udp --dport 5353 -j DNAT --to-destination 10.1.0.2:53";
        let port = led(line).unwrap();
        assert_eq!((port.host_port, port.container), (5353, "10.1.0.2:53".parse().unwrap()));
        assert_eq!(led(&line.replace("udp", "tcp")), None);
        assert_eq!(
            led("-A CNI-DN-1 -s 10.1.0.0/24 -p udp -m udp --dport 5353 -j CNI-HOSTPORT-SETMARK"),
            None
        );
    }
}
