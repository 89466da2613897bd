//! Networks: keys that are lists of them, as `ipMasqExcept` and `ingressFrom`, and what there is to know of one.

use ipnetwork::IpNetwork;

use crate::error::{Result, config};

/// Reads a list: each a network of either family without host bits, and none twice.
pub(crate) fn parse(key: &str, texts: &[String]) -> Result<Vec<IpNetwork>> {
    let mut networks = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let network = one(text).map_err(|problem| {
            config(
                format!("{key}[{place}]: {problem}"),
                "write each network as address/length, such as 10.244.0.0/16 or fd00:244::/48",
            )
        })?;
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks)
}

/// Whether two networks have addresses in common.
pub(crate) fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

/// Whether a network is one of IPv6 that no router forwards.
pub(crate) fn is_link_local(network: IpNetwork) -> bool {
    matches!(network, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local())
}

fn one(text: &str) -> Result<IpNetwork, String> {
    let network = cni::cidr::parse(text)?;
    // However it is read elsewhere: a rule's family is that of the words.
    let is_mapped = matches!(network, IpNetwork::V6(v6) if v6.ip().to_ipv4_mapped().is_some());
    if is_mapped || (network.is_ipv4() && text.contains(':')) {
        return Err(format!("{text:?} is an IPv4 network in IPv6's words"));
    }
    if network.ip() != network.network() {
        let (start, length) = (network.network(), network.prefix());
        return Err(format!("{text:?} has host bits: {start}/{length} is the network"));
    }
    if network.prefix() == 0 {
        return Err(format!("{text:?} is every address"));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let networks = parse("ipMasqExcept", &texts).map_err(|error| error.to_string())?;
        Ok(networks.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_families_each_once() {
        let texts = ["10.244.0.0/16", "fd00:244::/48", "10.244.0.0/16", "192.0.2.7/32"];
        assert_eq!(parsed(&texts).unwrap(), ["10.244.0.0/16", "fd00:244::/48", "192.0.2.7/32"]);
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_place() {
        for (text, words) in [
            ("10.244.0.0", "has no prefix length"),
            ("10.244.0.0/33", "is no address with a prefix length"),
            ("pods", "ipMasqExcept[1]: "),
            ("10.244.3.0/16", "has host bits: 10.244.0.0/16"),
            ("::ffff:10.244.0.0/112", "an IPv4 network in IPv6's words"),
            ("::/0", "is every address"),
        ] {
            let error = parsed(&["10.1.0.0/16", text]).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
