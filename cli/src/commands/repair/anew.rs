//! An attachment is removed and made again, with what it had.

use std::collections::BTreeSet;

use cni::{Command, Request, case_blind};
use netlink::Namespace;
use registry::Protocol;
use serde_json::{Map, Value, json};

use crate::conf;
use crate::error::Error;
use crate::inventory::Attached;
use crate::joining::add_args;
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

/// Ports that the plugin chose itself, it is to choose again: people have come to know them.
pub(crate) fn keep_ports(making: &mut Making, attached: &Attached) {
    let Some(Value::Array(mappings)) = making.capabilities.get_mut("portMappings") else { return };
    let published = attached.member.iter().flat_map(|member| &member.published);
    let registered = published.map(|port| (port.container_port, port.protocol, port.host_port));
    let kernels = attached.ports.iter().map(|port| (port.container_port, port.protocol, port.host_port));
    // One that is published on several addresses, or for both families, has one number.
    let mut known: BTreeSet<_> = kernels.chain(registered).filter(|port| port.2 != 0).collect();
    for mapping in mappings.iter_mut().filter_map(Value::as_object_mut) {
        let number = |key| case_blind::get(mapping, key).and_then(Value::as_u64).unwrap_or_default();
        let protocol = case_blind::get(mapping, "protocol").and_then(Value::as_str).unwrap_or("tcp");
        let is_it = |(inner, of, _): &&(u16, Protocol, u16)| {
            u64::from(*inner) == number("containerPort") && of.as_str().eq_ignore_ascii_case(protocol)
        };
        if number("hostPort") == 0
            && let Some(port) = known.iter().find(is_it).copied()
        {
            known.remove(&port);
            mapping.retain(|key, _| !key.eq_ignore_ascii_case("hostPort"));
            mapping.insert("hostPort".to_owned(), port.2.into());
        }
    }
}
