//! What can be read of a damaged result: of a later version, cut off, or malformed.

use ipnetwork::IpNetwork;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::spec::case_blind;
use crate::spec::cidr;
use crate::spec::result::{AddResult, Interface, Ip};

/// Every part that can be read by itself, in the shape of whichever version.
pub(crate) fn result(value: &Value) -> AddResult {
    let elements =
        |key: &str| get(value, key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let interfaces: Vec<Option<Interface>> = elements("interfaces").iter().map(read).collect();
    let of_list = elements("ips").iter().filter_map(|ip| address(ip, "address", &interfaces));
    let of_family = ["ip4", "ip6"].into_iter().filter_map(|key| address(get(value, key)?, "ip", &interfaces));
    AddResult {
        ips: of_list.chain(of_family).collect(),
        routes: elements("routes").iter().filter_map(read).collect(),
        dns: get(value, "dns").and_then(read).unwrap_or_default(),
        // Those that cannot be read keep their place, by which addresses name the others.
        interfaces: interfaces.into_iter().map(Option::unwrap_or_default).collect(),
    }
}

fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.as_object().and_then(|object| case_blind::get(object, key))
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    case_blind::from_value(value).ok()
}

fn address(value: &Value, key: &str, interfaces: &[Option<Interface>]) -> Option<Ip> {
    let text = get(value, key)?.as_str()?;
    let address = cidr::parse(text).ok().or_else(|| cidr::address(text).map(IpNetwork::from))?;
    let index = get(value, "interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    // One that cannot be read may be anybody's: then the address counts as the container's.
    let interface = index.filter(|index| interfaces.get(*index).is_some_and(Option::is_some));
    let gateway = get(value, "gateway").and_then(Value::as_str).and_then(cidr::address);
    Some(Ip { interface, address, gateway })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::version::Version;

    #[test]
    fn what_can_be_read_is_kept() {
        let odd = json!({
            "cniVersion": "2.0.0",
            "interfaces": [7, {"name": "eth0", "sandbox": "/run/netns/a"}, {"name": {}}],
            "ips": [
                {"address": "10.1.0.2/24", "interface": 1, "gateway": "nobody"},
                {"address": "10.1.0.3", "interface": -1, "gateway": "10.1.0.1"},
                {"address": "::ffff:10.1.0.4/120", "interface": 9},
                {"address": "fd00::5/64", "interface": 2}, {"address": "local"}, {"address": 6}, null, "10.1.0.7/24"
            ],
            "routes": [{"dst": "0.0.0.0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.1"}, []],
            "dns": {"nameservers": "10.1.0.1"}
        });
        let result = result(&odd);
        let ips: Vec<_> = result.ips.iter().map(|ip| (ip.interface, ip.address.to_string())).collect();
        let wanted =
            [(Some(1), "10.1.0.2/24"), (None, "10.1.0.3/32"), (None, "10.1.0.4/24"), (None, "fd00::5/64")];
        assert_eq!(ips, wanted.map(|(index, address)| (index, address.to_owned())));
        assert_eq!((result.interfaces.len(), result.routes.len(), result.dns.is_empty()), (3, 1, true));
        assert_eq!(result.ips[1].gateway, cidr::address("10.1.0.1"));
        // It is a result now.
        let value = result.to_value(Version::NEWEST).unwrap();
        assert_eq!(AddResult::parse(&value, Version::NEWEST).unwrap(), result);
    }

    #[test]
    fn old_shapes_are_read_and_no_shape_is_nothing() {
        let old = json!({"ip4": {"ip": "10.1.0.2"}, "ip6": {"ip": "fd00::2/64", "gateway": ""}});
        assert_eq!(result(&old).ips.len(), 2);
        for nothing in [json!(null), json!("x"), json!([]), json!({}), json!({"ips": {}, "interfaces": 1})] {
            assert_eq!(result(&nothing), AddResult::default());
        }
    }
}
