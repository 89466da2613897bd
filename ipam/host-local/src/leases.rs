//! The leases of a network for its administrator: what is leased to whom, what comes next, and their removal.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;

use cni::Request;
use serde::Serialize;

use crate::allocate::Search;
use crate::boot::boot_id;
use crate::conf::{self, Conf};
use crate::error::Error;
use crate::range::RangeSet;
use crate::store::{Store, lease};

/// One range set, of which every attachment has one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leases {
    /// The ranges, as `first-last`.
    pub ranges: String,
    /// How many addresses can be leased at once.
    pub size: u128,
    /// The address that is given next; `None` where all are leased.
    pub next: Option<IpAddr>,
    /// How many of them are not leased.
    pub free: u128,
    /// What is leased, by address; also addresses of the subnet beside the ranges, which somebody asked for.
    pub used: Vec<Lease>,
}

/// One leased address and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The container's ID; empty where a killed program of another suite left the lease empty.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface inside the container; old leases lack it.
    pub ifname: Option<String>,
}

/// The leases of every range set. Reads them all, and locks nothing. Those of an earlier boot are none: the next ADD drops
/// them.
///
/// # Errors
/// A configuration that ADD would refuse, and what reading the folder says.
pub fn leases(request: &Request) -> Result<Vec<Leases>, cni::Error> {
    read(request, boot_id().as_deref()).map_err(Into::into)
}

fn read(request: &Request, boot_id: Option<&str>) -> Result<Vec<Leases>, Error> {
    let conf = Conf::read(request, None)?;
    let store = Store::open(&conf::folder(request))?;
    let is_over =
        store.as_ref().map(|store| store.is_of_earlier_boot(boot_id)).transpose()?.unwrap_or_default();
    let mut all = Vec::new();
    if let Some(store) = store.as_ref().filter(|_| !is_over) {
        store.for_each_lease(|name, content| {
            let (container_id, ifname) = lease::parts(content);
            all.extend(lease::address(name).map(|address| Lease {
                address,
                container_id: container_id.to_owned(),
                ifname: ifname.map(str::to_owned),
            }));
        })?;
        all.sort();
    }
    let sets = conf.demands.iter().map(|demand| &demand.set).enumerate();
    let describe = |(index, set): (usize, &RangeSet)| {
        let search = store.as_ref().map(|store| store.search(set, index)).transpose()?;
        let search = search.unwrap_or_else(|| Search::new(set, None));
        let next = match &store {
            Some(store) if !is_over => {
                let near = store.find_near(set, &search)?;
                near.or(store.find_far(set, &search)?.first().copied()).map(|free| free.address())
            }
            _ => search.candidates().next().map(|found| found.address),
        };
        let used: Vec<Lease> =
            all.iter().filter(|lease| conf.set_of(lease.address) == Some(index)).cloned().collect();
        let within = used.iter().filter(|lease| set.range_of(lease.address).is_some()).count();
        let free = set.size().saturating_sub(u128::try_from(within).unwrap_or(u128::MAX));
        Ok(Leases { ranges: set.to_string(), size: set.size(), next, free, used })
    };
    sets.map(describe).collect()
}

/// Removes a network's folder, which keeps what it leased last, where nothing is leased since this boot. No folder is
/// removed already.
///
/// # Errors
/// Leases that are left, and what removing the folder says.
pub fn forget(request: &Request) -> Result<(), cni::Error> {
    let forget = || -> Result<(), Error> {
        let folder = conf::folder(request);
        let Some(store) = Store::open(&folder)? else { return Ok(()) };
        let _locked = store.lock(false)?;
        let mut left = Vec::new();
        if !store.is_of_earlier_boot(boot_id().as_deref())? {
            store.for_each_lease(|name, content| {
                left.extend(lease::address(name).map(|address| (address, content.to_owned())));
            })?;
        }
        if let Some((address, content)) = left.first() {
            return Err(Error::in_use(*address, Some(content)));
        }
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(folder::Error::new("remove folder", folder, error).into())
            }
            _ => Ok(()),
        }
    };
    forget().map_err(Into::into)
}
