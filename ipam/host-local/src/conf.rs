//! The configuration: from the keys of the reference to ranges that fit together and requests that they can meet.
//! Everything that can be refused without looking at the disk is refused here.
//!
//! Sets are numbered in the order `runtimeConfig.ipRanges`, the single range at the top of `ipam`, `ipam.ranges`.
//! Requests are taken from `runtimeConfig.ips`, `args.cni.ips` and `IP` in `CNI_ARGS` together, as the reference takes them,
//! each once; their prefix lengths are not used. None is dropped: two that no sets can meet are an error.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Args, Request, Route, Version, cidr};
use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::Error;
use crate::range::{MAX_RANGES, Range, RangeFault, RangeSet};
use crate::store::Demand;

/// Where leases are kept unless `dataDir` says otherwise; the reference's folder.
const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

// The defaults of `Range::new`, in words.
const FIRST: &str = "the subnet's first host address";
const LAST: &str = "the subnet's last host address";
const GATEWAY: &str = "the subnet's first host address";

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Keys {
    /// The ranges that addresses are leased from.
    ipam: Option<IpamKeys>,
    runtime_config: RuntimeKeys,
    args: ArgsKeys,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
struct IpamKeys {
    /// `host-local`.
    r#type: String,
    /// A single range, as a set of its own in front of `ranges`: its network, such as `10.1.0.0/24`.
    subnet: Option<Subnet>,
    /// First address that is leased of the single range.
    #[serde(deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = FIRST))]
    range_start: Option<IpAddr>,
    /// Last address that is leased of the single range.
    #[serde(deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = LAST))]
    range_end: Option<IpAddr>,
    /// Gateway of the single range, which is never leased.
    #[serde(deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = GATEWAY))]
    gateway: Option<IpAddr>,
    /// Sets of ranges: an attachment gets one address of each set, from the set's ranges in turn. Two families are two sets.
    ranges: Vec<Vec<RangeKeys>>,
    /// Routes of the container, such as the default routes `0.0.0.0/0` and `::/0`.
    routes: Vec<Route>,
    /// File on the host, in the form of `/etc/resolv.conf`, from which the result's name servers are read.
    resolv_conf: PathBuf,
    /// Folder of the leases: each network has one in it. Leases of an earlier boot count as free.
    // `folder` reads it apart from the rest.
    #[schemars(extend("default" = DEFAULT_DATA_DIR))]
    data_dir: PathBuf,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RangeKeys {
    /// Network of the range, without host bits, such as `10.1.0.0/24`: at most /30, in IPv6 /126.
    subnet: Subnet,
    /// First address that is leased.
    #[serde(default, deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = FIRST))]
    range_start: Option<IpAddr>,
    /// Last address that is leased.
    #[serde(default, deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = LAST))]
    range_end: Option<IpAddr>,
    /// Gateway, which is never leased; it may be outside the subnet.
    #[serde(default, deserialize_with = "cni::cidr::optional_address")]
    #[schemars(with = "String", extend("x-default" = GATEWAY))]
    gateway: Option<IpAddr>,
}

impl RangeKeys {
    fn range(&self) -> Result<Range, RangeFault> {
        Range::new(self.subnet.0, self.range_start, self.range_end, self.gateway)
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(transparent)]
struct Subnet(
    #[serde(deserialize_with = "cni::cidr::deserialize")]
    #[schemars(with = "String")]
    IpNetwork,
);

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct RuntimeKeys {
    /// Sets of ranges, in front of those of `ipam`.
    #[serde(rename = "ipRanges")]
    ip_ranges: Vec<Vec<RangeKeys>>,
    /// Addresses that the container is to have, at most one of each set: `10.1.0.5`, with or without a prefix length.
    ips: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct ArgsKeys {
    cni: CniArgsKeys,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CniArgsKeys {
    /// Addresses that the container is to have, as by `runtimeConfig`.
    ips: Vec<String>,
}

/// A valid configuration.
#[derive(Debug)]
pub(crate) struct Conf {
    /// The range sets, with what was requested of each.
    pub(crate) demands: Vec<Demand>,
    /// Routes, handed through to the result.
    pub(crate) routes: Vec<Route>,
    /// The file that the container's resolver configuration is read from.
    pub(crate) resolver: Option<PathBuf>,
}

impl Conf {
    /// Reads the configuration of a request, with the arguments of ADD where there are any.
    pub(crate) fn read(request: &Request, args: Option<&Args>) -> Result<Self, Error> {
        let keys: Keys = request.conf.parse()?;
        let requested = match args {
            Some(args) => requested(&keys, args)?,
            None => Vec::new(),
        };
        let ipam = keys.ipam.ok_or(Error::NoIpam)?;
        let sets = sets(&ipam, &keys.runtime_config.ip_ranges)?;
        if request.conf.version < Version::V0_3_0 {
            let v4 = sets.iter().filter(|set| set.is_ipv4()).count();
            if v4 > 1 || sets.len() - v4 > 1 {
                return Err(Error::TooManySets(request.conf.version));
            }
        }
        Ok(Self {
            demands: distribute(sets, &requested)?,
            routes: ipam.routes,
            resolver: Some(ipam.resolv_conf).filter(|path| !path.as_os_str().is_empty()),
        })
    }

    /// The place of the set that an address is leased from: the one whose range it is of, or whose subnet, where it was
    /// asked for.
    pub(crate) fn set_of(&self, address: IpAddr) -> Option<usize> {
        let place =
            |is_of: &dyn Fn(&RangeSet) -> bool| self.demands.iter().position(|demand| is_of(&demand.set));
        place(&|set| set.range_of(address).is_some())
            .or_else(|| place(&|set| set.range_beside(address).is_some()))
    }
}

/// The network's folder: all that DEL and GC need of the configuration, so that no other mistake in it keeps leases from being
/// released. Where it names no folder, nothing can have been leased in another than the usual one.
pub(crate) fn folder(request: &Request) -> PathBuf {
    let data_dir = request.conf.text(&["ipam", "dataDir"]).filter(|folder| !folder.is_empty());
    Path::new(data_dir.unwrap_or(DEFAULT_DATA_DIR)).join(request.conf.network.as_str())
}

fn sets(ipam: &IpamKeys, offered: &[Vec<RangeKeys>]) -> Result<Vec<RangeSet>, Error> {
    if offered.iter().chain(&ipam.ranges).map(Vec::len).sum::<usize>() > MAX_RANGES {
        return Err(Error::TooManyRanges);
    }
    let mut sets = Vec::new();
    read_sets("runtimeConfig.ipRanges", offered, &mut sets)?;
    if let Some(Subnet(subnet)) = ipam.subnet {
        let set = Range::new(subnet, ipam.range_start, ipam.range_end, ipam.gateway)
            .and_then(|range| RangeSet::new(vec![range]));
        push("ipam".to_owned(), set, &mut sets)?;
    }
    read_sets("ipam.ranges", &ipam.ranges, &mut sets)?;
    if sets.is_empty() {
        return Err(Error::NoRanges);
    }
    Ok(sets)
}

/// Takes a set in, unless it is none or shares addresses with an earlier one.
fn push(at: String, set: Result<RangeSet, RangeFault>, sets: &mut Vec<RangeSet>) -> Result<(), Error> {
    let set = set.and_then(|set| set.refuse_overlaps(sets).map(|()| set));
    sets.push(set.map_err(|source| Error::Range { at, source })?);
    Ok(())
}

fn read_sets(key: &str, keys: &[Vec<RangeKeys>], sets: &mut Vec<RangeSet>) -> Result<(), Error> {
    for (index, ranges) in keys.iter().enumerate() {
        let at = format!("{key}[{index}]");
        let mut set = Vec::with_capacity(ranges.len());
        for (place, range) in ranges.iter().enumerate() {
            set.push(range.range().map_err(|source| Error::Range { at: format!("{at}[{place}]"), source })?);
        }
        push(at, RangeSet::new(set), sets)?;
    }
    Ok(())
}

fn requested(keys: &Keys, args: &Args) -> Result<Vec<IpAddr>, Error> {
    let by_runtime = keys.runtime_config.ips.iter().map(|text| ("runtimeConfig.ips", text.as_str()));
    let by_arguments = keys.args.cni.ips.iter().map(|text| ("args.cni.ips", text.as_str()));
    let by_environment = args.wanted("IP")?.into_iter().flat_map(|list| list.split(','));
    let by_environment = by_environment.map(|text| ("IP in CNI_ARGS", text));
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (key, text) in by_runtime.chain(by_arguments).chain(by_environment) {
        let address =
            parse_request(text.trim()).ok_or_else(|| Error::Request { key, text: text.to_owned() })?;
        // podman repeats an address, and may give it by two ways; a repetition asks for nothing more.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// An address, with or without a prefix length.
fn parse_request(text: &str) -> Option<IpAddr> {
    cidr::address(text).or_else(|| Some(cidr::parse(text).ok()?.ip()))
}

/// Gives each requested address to the set whose range it is of; what is beside the ranges, to a set of whose subnet it
/// is, unless that already has another to meet.
fn distribute(sets: Vec<RangeSet>, requested: &[IpAddr]) -> Result<Vec<Demand>, Error> {
    let mut demands: Vec<Demand> = sets.into_iter().map(|set| Demand { set, requested: None }).collect();
    let gateways: Vec<IpAddr> =
        demands.iter().flat_map(|demand| demand.set.ranges()).map(|range| range.gateway).collect();
    let is_inside = |address: &&IpAddr| demands.iter().any(|demand| demand.set.range_of(**address).is_some());
    let (inside, beside): (Vec<&IpAddr>, Vec<&IpAddr>) = requested.iter().partition(is_inside);
    for &address in inside {
        let found = demands.iter_mut().enumerate().find_map(|(index, demand)| {
            let gateway = demand.set.range_of(address)?.gateway;
            Some((index, demand, gateway))
        });
        let (index, demand, gateway) = found.ok_or(Error::NoRange { address })?;
        if gateway == address {
            return Err(Error::Gateway { address });
        }
        if let Some(first) = demand.requested.replace(address) {
            return Err(Error::TwoOfOneSet { first, second: address, index });
        }
    }
    for &address in beside {
        // No range gives it away by itself, so nobody's gateway need be left to another range.
        if gateways.contains(&address) {
            return Err(Error::Gateway { address });
        }
        let serves = |demand: &Demand| demand.set.range_beside(address).is_some();
        let open = demands.iter().position(|demand| serves(demand) && demand.requested.is_none());
        let index = open.or_else(|| demands.iter().position(serves)).ok_or(Error::NoRange { address })?;
        if let Some(first) = demands[index].requested.replace(address) {
            return Err(Error::TwoOfOneSet { first, second: address, index });
        }
    }
    Ok(demands)
}

#[cfg(test)]
mod tests;
