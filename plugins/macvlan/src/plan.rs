//! From configuration and addresses to what will be set up: pure, without questions to the kernel.

use cni::{AddResult, Dns, Ip};
use interface::kernel_route;
use ipnetwork::IpNetwork;

use crate::conf::Conf;
use crate::error::{Result, config};

/// What an ADD gives the interface, once the addresses are known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The container's addresses with their gateways.
    pub ips: Vec<Ip>,
    /// The container's routes as the result has them: without a gateway where the configuration had none.
    pub result_routes: Vec<cni::Route>,
    /// The container's routes as the kernel gets them, each with its gateway; the link is not known yet.
    pub routes: Vec<netlink::Route>,
    /// The name servers of the result: the configuration's, or those that IPAM gave.
    pub dns: Dns,
}

impl Plan {
    /// Plans an attachment with the addresses and routes that IPAM, or the plugin before, gave.
    pub(crate) fn new(conf: &Conf, given: &AddResult) -> Result<Self> {
        if given.ips.is_empty() && !conf.ipam.is_none() {
            return Err(config(
                "the ipam plugin gave no address",
                "configure a range, or leave \"ipam\" out for an interface without addresses",
            ));
        }
        let dns = if conf.dns.is_empty() { &given.dns } else { &conf.dns };
        Ok(Self {
            ips: given.ips.clone(),
            result_routes: given.routes.clone(),
            routes: given.routes.iter().map(|route| kernel_route(route, &given.ips)).collect(),
            dns: dns.clone(),
        })
    }

    /// The plan of an attachment that exists, as a previous result has it.
    pub(crate) fn of_existing(conf: &Conf, result: &AddResult, ifname: &str) -> Result<Self> {
        let ips = result.container_ips(ifname).cloned().collect();
        Self::new(conf, &AddResult { ips, routes: result.routes.clone(), ..AddResult::default() })
    }

    /// The routing tables of its routes besides the main one.
    pub(crate) fn tables(&self) -> Vec<u32> {
        self.routes.iter().filter_map(|route| route.table).collect()
    }

    /// The addresses with their prefix lengths.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpNetwork> + '_ {
        self.ips.iter().map(|ip| ip.address)
    }
}
