//! Removes an attachment and makes it anew, with the addresses that it had.

use cni::{Command, Request};
use serde_json::{Map, json};

use crate::attach::add_args;
use crate::error::Error;
use crate::inventory::Attached;
use crate::runtime::{Making, Runtime};
use crate::{conf, netns};

/// Refuses an ADD that would certainly fail, before anything is removed: its namespace must open, its programs must be there,
/// and the plugins of the suite must accept their configuration.
pub(super) fn expect_possible(
    runtime: &Runtime<'_>,
    making: &Making,
    attached: &Attached,
) -> Result<(), Error> {
    netns::open(&making.netns, &making.netns)?;
    let chain = runtime.chain(&making.list);
    let parameters = making.parameters(&attached.attachment);
    let check = || -> Result<(), cni::Error> {
        chain.absent().or_else(|| chain.absent_ipam()).map_or(Ok(()), Err)?;
        (0..making.list.plugins.len()).try_for_each(|place| {
            let (request, target) = chain.request(place, &parameters)?;
            conf::expect_acceptable(&Request { command: Command::Add, ..request }, &target)
        })
    };
    check().map_err(Error::contract(format!("make {} anew", attached.attachment)))
}

/// DEL and ADD of the whole chain, with the addresses and the hardware address that the attachment had. Where ADD fails
/// nevertheless, the cache keeps what is needed to try again.
pub(super) fn recreate(
    runtime: &Runtime<'_>,
    making: &mut Making,
    attached: &Attached,
) -> Result<(), cni::Error> {
    let attachment = &attached.attachment;
    let addresses: Vec<String> = attached.ips().map(|ip| ip.address.ip().to_string()).collect();
    let mut wanted = Map::from_iter([("ips".to_owned(), json!(addresses))]);
    if !attached.mac().is_empty() {
        wanted.insert("mac".to_owned(), attached.mac().into());
    }
    let list = making.list.clone().with_plugins(|plugins| add_args(plugins, &wanted))?;
    runtime.chain(&making.list).del(&making.parameters(attachment))?;
    making.list = list;
    let added = runtime.chain(&making.list).add(&making.parameters(attachment));
    if let (Err(_), Some(entry)) = (&added, &attached.entry) {
        runtime.cache.write(attachment, entry)?;
    }
    added.map(|_| ())
}
