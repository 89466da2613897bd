//! Results of versions before 1.1.0: read into today's shape, and today's shape written in theirs.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::case_blind;
use crate::spec::error::{Code, Error};
use crate::spec::result::{AddResult, Dns, Ip, Route};

/// The shape of 0.1.0 and 0.2.0: one address a family, each with its own routes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Old {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<OldIp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<OldIp>,
    dns: Dns,
}

#[derive(Debug, Serialize, Deserialize)]
struct OldIp {
    #[serde(with = "crate::spec::cidr")]
    ip: IpNetwork,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::spec::cidr::optional_address"
    )]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

/// Reads a result of 0.1.0 or 0.2.0.
pub(crate) fn from_value(value: &Value) -> Result<AddResult, serde_json::Error> {
    let old: Old = case_blind::from_value(value)?;
    let mut result = AddResult { dns: old.dns, ..AddResult::default() };
    for ip in [old.ip4, old.ip6].into_iter().flatten() {
        // A route without a next hop meant this family's gateway.
        result
            .routes
            .extend(ip.routes.into_iter().map(|route| Route { gw: route.gw.or(ip.gateway), ..route }));
        result.ips.push(Ip { interface: None, address: ip.ip, gateway: ip.gateway });
    }
    Ok(result)
}

/// Writes a result of 0.1.0 or 0.2.0: the first address of each family, and of routes what those versions know.
pub(crate) fn to_value(result: &AddResult) -> Result<Value, Error> {
    let first = |v4: bool| {
        let ip = result.ips.iter().find(|ip| ip.address.is_ipv4() == v4)?;
        let routes = result.routes.iter().filter(|route| route.dst.is_ipv4() == v4);
        Some(OldIp {
            ip: ip.address,
            gateway: ip.gateway,
            routes: routes.map(|r| Route::new(r.dst, r.gw)).collect(),
        })
    };
    let old = Old { ip4: first(true), ip6: first(false), dns: result.dns.clone() };
    if old.ip4.is_none() && old.ip6.is_none() {
        return Err(Error::new(
            Code::InvalidConfig,
            "a result of version 0.1.0 or 0.2.0 must have an address",
        )
        .details("configure an ipam plugin, or a newer cniVersion"));
    }
    serde_json::to_value(&old).map_err(|error| Error::new(Code::Internal, format!("encode result: {error}")))
}

/// Takes out what only 1.1.0 knows. A route keeps all its keys, as with the reference's library: without its table CHECK
/// would look for it in another one.
pub(crate) fn drop_keys_of_1_1(result: &mut AddResult) {
    for interface in &mut result.interfaces {
        interface.mtu = None;
        interface.socket_path.clear();
        interface.pci_id.clear();
    }
}

/// Adds `"version": "4"` or `"6"` to each address, which 0.3.0 to 0.4.0 demand.
pub(crate) fn add_ip_versions(value: &mut Value, result: &AddResult) {
    let Some(ips) = value.get_mut("ips").and_then(Value::as_array_mut) else {
        return;
    };
    for (object, ip) in ips.iter_mut().zip(&result.ips) {
        object["version"] = Value::from(if ip.address.is_ipv4() { "4" } else { "6" });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::result::AddResult;
    use crate::spec::version::Version;

    fn full() -> AddResult {
        AddResult::parse(
            &json!({
                "cniVersion": "1.1.0",
                "interfaces": [{"name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500},
                               {"name": "eth0", "sandbox": "/run/netns/a", "pciID": "0", "socketPath": "/s"}],
                "ips": [{"interface": 1, "address": "10.1.0.5/24", "gateway": "10.1.0.1"},
                        {"interface": 1, "address": "10.2.0.5/24"},
                        {"interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"}],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "table": 7, "scope": 0},
                           {"dst": "::/0", "priority": 9, "advmss": 1200}],
                "dns": {"nameservers": ["10.1.0.1"], "search": ["a.b"]}
            }),
            Version::NEWEST,
        )
        .unwrap()
    }

    #[test]
    fn the_newest_version_keeps_everything() {
        let value = full().to_value(Version::V1_1_0).unwrap();
        assert_eq!(AddResult::parse(&value, Version::V0_1_0).unwrap(), full());
        assert_eq!(
            value["routes"][0],
            json!({"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "table": 7, "scope": 0})
        );
        assert_eq!(value["interfaces"][0]["mtu"], 1500);
    }

    #[test]
    fn version_1_0_0_drops_what_came_later_but_for_routes() {
        let value = full().to_value(Version::V1_0_0).unwrap();
        assert_eq!(value["interfaces"][0], json!({"name": "br0", "mac": "02:00:00:00:00:01"}));
        assert_eq!(value["routes"], full().to_value(Version::V1_1_0).unwrap()["routes"]);
        assert_eq!(value["ips"][0].get("version"), None);
    }

    #[test]
    fn versions_0_3_and_0_4_name_each_addresss_family() {
        for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
            let value = full().to_value(version).unwrap();
            let families: Vec<_> =
                value["ips"].as_array().unwrap().iter().map(|ip| ip["version"].clone()).collect();
            assert_eq!(families, ["4", "4", "6"]);
            assert_eq!(value["cniVersion"], version.as_str());
            assert_eq!(AddResult::parse(&value, Version::NEWEST).unwrap().ips, full().ips);
        }
    }

    #[test]
    fn the_oldest_versions_hold_one_address_a_family() {
        let value = full().to_value(Version::V0_2_0).unwrap();
        assert_eq!(
            value,
            json!({
                "cniVersion": "0.2.0",
                "ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]},
                "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]},
                "dns": {"nameservers": ["10.1.0.1"], "search": ["a.b"]}
            })
        );
        let back = AddResult::parse(&value, Version::NEWEST).unwrap();
        assert_eq!(back.ips.len(), 2);
        assert_eq!(back.routes[1].gw, Some("fd00::1".parse().unwrap()));
        let error = AddResult::default().to_value(Version::V0_1_0).unwrap_err();
        assert_eq!(error.code(), 7);
    }

    #[test]
    fn a_result_that_contradicts_itself_is_refused() {
        let wrong = json!({"cniVersion": "1.0.0", "ips": [{"interface": 3, "address": "10.1.0.5/24"}]});
        assert_eq!(AddResult::parse(&wrong, Version::NEWEST).unwrap_err().code(), 6);
        let bare = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.5"}]});
        let error = AddResult::parse(&bare, Version::NEWEST).unwrap_err();
        assert!(error.to_string().contains("ips[0].address: \"10.1.0.5\" has no prefix length"), "{error}");
        assert_eq!(AddResult::parse(&json!([]), Version::NEWEST).unwrap_err().code(), 6);
        // What Go programs write for an empty list.
        let empty =
            json!({"cniVersion": "0.4.0", "interfaces": null, "ips": null, "routes": null, "dns": {}});
        assert_eq!(AddResult::parse(&empty, Version::NEWEST).unwrap(), AddResult::default());
    }
}
