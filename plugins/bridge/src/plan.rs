//! From configuration and addresses to what will be set up: pure, without questions to the kernel.

use std::net::IpAddr;

use cni::{AddResult, Dns, Ip};
use interface::{kernel_route, network_of, table, with_length};
use ipnetwork::IpNetwork;

use crate::conf::Conf;
use crate::error::{Result, config};

/// What an ADD sets up, once the addresses are known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The container's addresses with their gateways, as the result has them.
    pub ips: Vec<Ip>,
    /// The container's routes as the result has them: without a gateway where the configuration had none.
    pub result_routes: Vec<cni::Route>,
    /// The container's routes as the kernel gets them, each with its gateway; the link is not known yet.
    pub routes: Vec<netlink::Route>,
    /// The name servers of the result: the configuration's, or those that IPAM gave.
    pub dns: Dns,
    /// The addresses of the bridge: one for each gateway, with its subnet's prefix length.
    pub gateways: Vec<IpNetwork>,
}

impl Plan {
    /// Plans an attachment with the addresses and routes that IPAM gave.
    pub(crate) fn new(conf: &Conf, ipam: &AddResult) -> Result<Self> {
        if ipam.ips.is_empty() && !conf.ipam.is_none() {
            return Err(config(
                "the ipam plugin gave no address",
                "configure a range, or leave \"ipam\" out for a port without addresses",
            ));
        }
        let mut ips = ipam.ips.clone();
        let mut result_routes = ipam.routes.clone();
        let mut gateways = Vec::new();
        for ip in &mut ips {
            if conf.gateway && ip.gateway.is_none() {
                ip.gateway = Some(first_host(ip.address)?);
            }
            // An unspecified one is no address, as with the reference.
            let named = ip.gateway.filter(|gateway| !gateway.is_unspecified());
            let Some(gateway) = named.filter(|_| conf.gateway) else {
                continue;
            };
            let on_bridge = with_prefix_of(gateway, ip.address)?;
            if !gateways.contains(&on_bridge) {
                gateways.push(on_bridge);
            }
            let default = network_of(with_length(gateway, 0));
            let is_it =
                |route: &cni::Route| route.dst == default && table(route.table) == netlink::Route::MAIN;
            if conf.keys.is_default_gateway && !result_routes.iter().any(is_it) {
                result_routes.push(cni::Route::new(default, Some(gateway)));
            }
        }
        let routes = result_routes.iter().map(|route| kernel_route(route, &ips)).collect();
        let dns = if conf.keys.dns.is_empty() { &ipam.dns } else { &conf.keys.dns };
        Ok(Self { ips, result_routes, routes, dns: dns.clone(), gateways })
    }

    /// The plan of an attachment that exists, as a previous result has it.
    pub(crate) fn of_existing(conf: &Conf, result: &AddResult, ifname: &str) -> Result<Self> {
        let (ips, routes) = (result.container_ips(ifname).cloned().collect(), result.routes.clone());
        Self::new(conf, &AddResult { ips, routes, ..AddResult::default() })
    }

    /// The container's addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ips.iter().map(|ip| ip.address.ip())
    }

    /// The subnets that the addresses are of, without repetition: what is not masqueraded among members.
    pub(crate) fn subnets(&self) -> Vec<IpNetwork> {
        let mut subnets: Vec<IpNetwork> = self.ips.iter().map(|ip| network_of(ip.address)).collect();
        subnets.sort();
        subnets.dedup();
        subnets
    }
}

fn with_prefix_of(gateway: IpAddr, address: IpNetwork) -> Result<IpNetwork> {
    if gateway.is_ipv4() == address.is_ipv4() {
        return Ok(with_length(gateway, address.prefix()));
    }
    Err(config(
        format!("gateway {gateway} is of another family than address {address}"),
        "give each range a gateway of its own family",
    ))
}

/// The first host of a subnet, which is the gateway where none is named.
fn first_host(address: IpNetwork) -> Result<IpAddr> {
    address.iter().nth(1).ok_or_else(|| {
        config(
            format!("subnet {address} has no room for a gateway"),
            "name a gateway, or use a larger subnet",
        )
    })
}

#[cfg(test)]
mod tests {
    use cni::{Command, Request};
    use serde_json::{Value, json};

    use super::*;

    fn plan(keys: &Value, ipam: &Value) -> Result<Plan> {
        let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": {"type": "x"}});
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        let conf = cni::Conf::from_slice(conf.to_string().as_bytes()).unwrap();
        let conf = Conf::new(&Request { command: Command::Add, conf, path: vec![] }, None).unwrap();
        Plan::new(&conf, &AddResult::parse(ipam, cni::Version::NEWEST).unwrap())
    }

    fn dual() -> Value {
        json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.5/24"}, {"address": "fd00::5/64", "gateway": "fd00::9"}],
               "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd99::/16", "gw": "fd00::7"}]})
    }

    fn text(networks: &[IpNetwork]) -> Vec<String> {
        networks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_gateway_is_the_first_host_unless_named() {
        let plan = plan(&json!({"isGateway": true}), &dual()).unwrap();
        assert_eq!(text(&plan.gateways), ["10.1.0.1/24", "fd00::9/64"]);
        assert_eq!(plan.ips[0].gateway, Some("10.1.0.1".parse().unwrap()));
        assert_eq!(text(&plan.subnets()), ["10.1.0.0/24", "fd00::/64"]);
    }

    #[test]
    fn routes_without_a_next_hop_take_the_gateway_of_their_family() {
        let plan = plan(&json!({"isGateway": true}), &dual()).unwrap();
        let gateways: Vec<_> = plan.routes.iter().map(|route| route.gateway.unwrap().to_string()).collect();
        assert_eq!(gateways, ["10.1.0.1", "fd00::7"]);
        assert_eq!(plan.result_routes[0].gw, None, "the result repeats what IPAM said");
    }

    #[test]
    fn an_unspecified_next_hop_is_the_link() {
        let mut ipam = dual();
        ipam["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "0.0.0.0"}, {"dst": "::/0", "gw": "::"},
            {"dst": "10.9.0.0/16", "gw": "::ffff:10.1.0.7"}, {"dst": "10.8.0.0/16", "gw": ""}]);
        ipam["ips"][1]["gateway"] = json!("::");
        let plan = plan(&json!({"isGateway": true}), &ipam).unwrap();
        let gateways: Vec<_> =
            plan.routes.iter().map(|route| route.gateway.map(|gw| gw.to_string())).collect();
        let wanted = [None, None, Some("10.1.0.7"), Some("10.1.0.1")];
        assert_eq!(gateways, wanted.map(|gateway| gateway.map(str::to_owned)));
        assert_eq!(text(&plan.gateways), ["10.1.0.1/24"]);
        assert_eq!(
            plan.result_routes[0].gw,
            Some("0.0.0.0".parse().unwrap()),
            "the result repeats what IPAM said"
        );
    }

    #[test]
    fn a_default_gateway_adds_only_the_missing_default_routes() {
        let plan = plan(&json!({"isDefaultGateway": true}), &dual()).unwrap();
        let told: Vec<_> =
            plan.result_routes.iter().map(|r| (r.dst.to_string(), r.gw.map(|gw| gw.to_string()))).collect();
        let wanted = [("0.0.0.0/0", None), ("fd99::/16", Some("fd00::7")), ("::/0", Some("fd00::9"))];
        assert_eq!(told, wanted.map(|(dst, gw)| (dst.to_owned(), gw.map(str::to_owned))));
    }

    #[test]
    fn next_hops_are_read_as_the_kernel_takes_them() {
        let mut ipam = dual();
        ipam["routes"] = json!([
            {"dst": "0.0.0.0/0", "gw": "::ffff:10.1.0.9"}, {"dst": "10.9.0.0/16", "gw": "0.0.0.0"}, {"dst": "fd99::/16", "gw": "::"},
        ]);
        let plan = plan(&json!({"isGateway": true}), &ipam).unwrap();
        let gateways: Vec<_> = plan.routes.iter().map(|route| route.gateway).collect();
        assert_eq!(gateways, ["10.1.0.9".parse().ok(), None, None]);
    }

    #[test]
    fn without_a_gateway_the_bridge_gets_no_address() {
        let plan = plan(&json!({}), &dual()).unwrap();
        assert_eq!(plan.gateways, []);
        assert_eq!(plan.ips[0].gateway, None);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert!(plan(&json!({}), &json!({"cniVersion": "1.0.0"})).is_err());
        let foreign =
            json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.5/24", "gateway": "fd00::1"}]});
        assert!(
            plan(&json!({"isGateway": true}), &foreign).unwrap_err().to_string().contains("another family")
        );
    }
}
