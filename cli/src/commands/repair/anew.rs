//! An attachment is removed and made again, with what it had.

use cni::{Command, Request};
use netlink::Namespace;
use serde_json::{Map, json};

use crate::attach::add_args;
use crate::conf;
use crate::error::Error;
use crate::inventory::Attached;
use crate::runtime::{Making, Runtime};

/// Refuses an ADD that is bound to fail, before anything is removed: its namespace opens, its programs are there, and its
/// configuration is one that those of the suite take.
pub(super) fn expect_possible(
    runtime: &Runtime<'_>,
    making: &Making,
    attached: &Attached,
) -> Result<(), Error> {
    let doing = || format!("make {} anew", attached.attachment);
    Namespace::open(&making.netns).map_err(|source| Error::Netns { given: making.netns.clone(), source })?;
    let chain = runtime.chain(&making.list);
    if let Some(absent) = chain.absent().or_else(|| chain.absent_ipam()) {
        return Err(Error::contract(doing())(absent));
    }
    let parameters = making.parameters(&attached.attachment);
    (0..making.list.plugins.len())
        .try_for_each(|place| {
            let (request, target) = chain.request(place, &parameters)?;
            conf::expect_acceptable(&Request { command: Command::Add, ..request }, &target)
        })
        .map_err(Error::contract(doing()))
}

/// DEL and ADD of the whole chain, with the addresses and the hardware address that the attachment had. Where the ADD fails
/// all the same, the cache keeps what is needed to try again.
pub(super) fn rebuild(runtime: &Runtime<'_>, making: &mut Making, attached: &Attached) -> Result<(), Error> {
    let attachment = &attached.attachment;
    let doing = || format!("make {attachment} anew");
    let mut wanted = Map::new();
    let addresses: Vec<String> = attached.ips().map(|ip| ip.address.ip().to_string()).collect();
    wanted.insert("ips".to_owned(), json!(addresses));
    if !attached.mac().is_empty() {
        wanted.insert("mac".to_owned(), attached.mac().into());
    }
    let list = making.list.clone().with_plugins(|plugins| add_args(plugins, &wanted));
    let list = list.map_err(Error::contract(doing()))?;
    let chain = runtime.chain(&making.list);
    chain.del(&making.parameters(attachment)).map_err(Error::contract(doing()))?;
    making.list = list;
    let added = runtime.chain(&making.list).add(&making.parameters(attachment));
    if let (Err(_), Some(entry)) = (&added, &attached.entry) {
        runtime.cache.write(attachment, entry).map_err(Error::contract(doing()))?;
    }
    added.map(|_| ()).map_err(Error::contract(doing()))
}
