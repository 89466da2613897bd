//! host-local: leases addresses of configured ranges and keeps the leases on this host's disk.
//!
//! In the reference's format and order, so that both can work on one live node. What an ADD or
//! a DEL costs does not grow with the number of leases: the next address is tried, not searched for, and an attachment's
//! own leases are known by its links. Leases of an earlier boot are dropped, leases without content are reclaimed.
//! It configures no interface: that is the calling plugin's part.

mod allocate;
mod boot;
mod conf;
mod error;
mod leases;
mod range;
mod resolv;
mod store;

use std::net::IpAddr;
use std::time::Duration;

use cni::schema::{self, Described};
use cni::{AddResult, Dns, Ip, Plugin, Request, Target, trace};

pub use leases::{Lease, Leases, forget, leases};

use boot::boot_id;
use conf::Conf;
use error::Error;
use range::RangeSet;
use store::{Store, lease};

/// How long STATUS waits for the lock: it is asked every few seconds, and asked again.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// The plugin; the bridge plugin calls it in its own process.
#[derive(Clone, Copy, Debug)]
pub struct HostLocal;

impl Plugin for HostLocal {
    const NAME: &'static str = "host-local";
    const ENTERS_NETNS: bool = false;

    /// Leases one address of every range set: all of them, or none.
    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        add(request, target, boot_id().as_deref()).map_err(Into::into)
    }

    /// Releases the attachment's addresses. Of the configuration only `dataDir` has to be valid.
    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        del(request, target).map_err(Into::into)
    }

    /// Compares the leases of the previous result's addresses with the attachment. Addresses outside the configured
    /// ranges are another plugin's.
    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        check(request, target).map_err(Into::into)
    }

    /// Releases the addresses of all attachments that are not listed as valid; without a list, nothing.
    fn gc(request: &Request) -> Result<(), cni::Error> {
        gc(request).map_err(Into::into)
    }

    /// Says whether every range set has a free address, and the lock can be had.
    fn status(request: &Request) -> Result<(), cni::Error> {
        status(request, boot_id().as_deref()).map_err(Into::into)
    }
}

impl Described for HostLocal {
    fn schema() -> serde_json::Value {
        schema::of::<conf::Keys>()
    }

    fn validate(request: &Request, target: Option<&Target>) -> Result<(), cni::Error> {
        match Conf::read(request, target.map(|target| &target.args)) {
            // They come from elsewhere, by the plugin whose configuration this is.
            Err(Error::NoRanges) if request.conf.text(&["overlay"]).is_some_and(|name| !name.is_empty()) => {
                Ok(())
            }
            outcome => Ok(outcome.map(|_| ())?),
        }
    }
}

fn add(request: &Request, target: &Target, boot_id: Option<&str>) -> Result<AddResult, Error> {
    let conf = Conf::read(request, Some(&target.args))?;
    let dns = conf.resolver.as_deref().map_or_else(|| Ok(Dns::default()), resolv::read)?;
    let folder = conf::folder(request);
    let store = Store::create(&folder)?;
    let leased = {
        let locked = store.lock(true)?;
        trace::decided("locked", &[("what", &"leases"), ("folder", &folder.display())]);
        locked.enter_boot(boot_id)?;
        locked.reserve(&target.attachment, &conf.demands)?
    };
    for (candidate, demand) in leased.iter().zip(&conf.demands) {
        let address = candidate.range.with_prefix(candidate.address);
        let why = if demand.requested.is_some() { "requested" } else { "next" };
        trace::decided("lease", &[("address", &address), ("why", &why)]);
    }
    let ips = leased.iter().map(|candidate| Ip {
        interface: None,
        address: candidate.range.with_prefix(candidate.address),
        gateway: Some(candidate.range.gateway),
    });
    Ok(AddResult { interfaces: Vec::new(), ips: ips.collect(), routes: conf.routes, dns })
}

fn del(request: &Request, target: &Target) -> Result<(), Error> {
    let Some(store) = Store::open(&conf::folder(request))? else { return Ok(()) };
    let previous = request.conf.prev_result.iter().flat_map(|result| &result.ips);
    let addresses: Vec<IpAddr> = previous.map(|ip| ip.address.ip().to_canonical()).collect();
    store.lock(false)?.release(&target.attachment, &addresses)
}

fn check(request: &Request, target: &Target) -> Result<(), Error> {
    let conf = Conf::read(request, None)?;
    let previous = request.conf.require_prev_result()?;
    let addresses: Vec<IpAddr> = previous
        .container_ips(target.ifname().as_str())
        .map(|ip| ip.address.ip())
        .filter(|address| conf.set_of(*address).is_some())
        .collect();
    if addresses.is_empty() {
        return Err(Error::NothingLeased(Box::new(target.attachment.clone())));
    }
    let folder = conf::folder(request);
    let store = Store::open(&folder)?;
    for address in addresses {
        let content = store.as_ref().map(|store| store.lease(address)).transpose()?.flatten();
        let is_own = |content: &str| lease::is_of(content, &target.attachment);
        if !content.as_deref().is_some_and(is_own) {
            return Err(Error::NotLeased {
                address,
                path: folder,
                attachment: Box::new(target.attachment.clone()),
                holder: content.as_deref().map(error::holder),
            });
        }
    }
    Ok(())
}

fn gc(request: &Request) -> Result<(), Error> {
    let Some(valid) = request.conf.valid_attachments()? else { return Ok(()) };
    let Some(store) = Store::open(&conf::folder(request))? else { return Ok(()) };
    store.lock(false)?.collect(&request.conf.network, &valid)
}

fn status(request: &Request, boot_id: Option<&str>) -> Result<(), Error> {
    let conf = Conf::read(request, None)?;
    let Some(store) = Store::open(&conf::folder(request))? else { return Ok(()) };
    store.await_lock(STATUS_LIMIT).map_err(Error::Locked)?;
    if store.is_of_earlier_boot(boot_id)? {
        return Ok(());
    }
    let sets = conf.demands.iter().map(|demand| &demand.set).enumerate();
    let full = sets.filter_map(|(index, set)| match has_free(&store, set, index) {
        Ok(true) => None,
        Ok(false) => Some(Error::exhausted(set, index)),
        Err(error) => Some(error),
    });
    Error::all(full.collect())
}

fn has_free(store: &Store, set: &RangeSet, index: usize) -> Result<bool, Error> {
    let search = store.search(set, index)?;
    if store.find_near(set, &search)?.is_some() {
        return Ok(true);
    }
    let is_full = store.is_index_complete()? && store.is_noted_full(set)?;
    Ok(!is_full && !store.find_far(set, &search)?.is_empty())
}

#[cfg(test)]
mod tests;
