//! Connection tracking: removes single flows, so that the rules decide on the next packet.
//!
//! The kernel keeps sending a known UDP flow where its first packet went, even where the published port has gone or
//! leads elsewhere. [`flush`] deletes exactly the flows that a [`Filter`] describes.
//!
//! Recent kernels delete by filter themselves, for a fiftieth of the cost of a list, since they skip empty hash buckets
//! without locking them. This is used where they compare correctly: not for IPv6 addresses (equal and unequal are exchanged
//! in `ctnetlink_filter_match_tuple`), and not for ports of protocols other than TCP and UDP (all match). Otherwise flows
//! are listed, compared here and deleted one by one. Older kernels ignore a filter in a list, which changes nothing here,
//! and refuse it in a deletion: none takes a partial tuple for "everything".

mod filter;
mod glance;
mod tuple;

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use wire::attribute::{attributes, find};
use wire::message::{NLM_F_ACK, NLM_F_DUMP};
use wire::{Writer, is_errno};

pub use filter::Filter;
pub use glance::may_have_flows_to;

use crate::message::{self, CTNETLINK};
use crate::{Error, Family, Result, Socket};
use tuple::{CTA_TUPLE_ORIG, Tuple};

/// Deletes every flow that any of `filters` describes.
///
/// Fails with [`Error::Unfiltered`] where a filter has no more than family and protocol; nothing is deleted then.
pub fn flush(socket: &mut Socket, filters: &[Filter]) -> Result<()> {
    if filters.iter().any(Filter::is_everything) {
        return Err(Error::Unfiltered);
    }
    let mut listed = Vec::new();
    let mut kernel_deletes = filters.len() <= DELETIONS_MAX;
    for filter in filters {
        if kernel_deletes && filter.kernel_compares_correctly() {
            kernel_deletes =
                delete_by_filter(socket, filter).map_err(|source| failed("delete", filter, source))?;
            if kernel_deletes {
                continue;
            }
        }
        listed.push(*filter);
    }
    let flows = flows(socket, &listed)?;
    forget(socket, &flows)
}

/// A flow that the kernel has listed.
#[derive(Clone, Debug)]
pub struct Flow {
    /// To which address its first packet went.
    pub destination: IpAddr,
    family: Family,
    identity: Vec<u8>,
}

/// Every flow that any of `filters` describes. The kernel walks the whole table once a family and protocol, which takes
/// milliseconds. Where there is one filter, and the kernel is recent, it sends no other flows.
pub fn flows(socket: &mut Socket, filters: &[Filter]) -> Result<Vec<Flow>> {
    let mut flows = Vec::new();
    let mut left = filters.to_vec();
    while let Some(&first) = left.first() {
        let (group, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|filter| filter.is_alike(&first));
        // What several have in common is the protocol; the kernel need not know more than narrows the list.
        let narrowing = if group.len() == 1 { first.without_addresses() } else { first.protocol_only() };
        let header = message::header(first.family.number(), 0, 0);
        let take = |body: &[u8]| flows.extend(flow(body, &group));
        ask(socket, IPCTNL_MSG_CT_GET, NLM_F_DUMP, header, |attributes| narrowing.write(attributes), take)
            .map_err(|source| failed("list", &first, source))?;
        left = others;
    }
    Ok(flows)
}

/// Deletes these very flows, not later ones with the same addresses.
pub fn forget(socket: &mut Socket, flows: &[Flow]) -> Result<()> {
    for Flow { destination, family, identity } in flows {
        let header = message::header(family.number(), 0, 0);
        let fill = |attributes: &mut Writer| attributes.raw(identity);
        match ask(socket, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, header, fill, |_| {}) {
            // It has ended in between.
            Err(error) if is_errno(&error, Errno::ENOENT) => {}
            outcome => outcome.map_err(|source| {
                let query = format!("delete a connection to {destination}");
                Error::Query { query, source }
            })?,
        }
    }
    Ok(())
}

fn failed(doing: &str, filter: &Filter, source: io::Error) -> Error {
    Error::Query { query: format!("{doing} connections {filter}"), source }
}

/// Lets the kernel delete what a filter describes; `false` where it cannot (`EOPNOTSUPP`; `EINVAL` where it takes
/// whole tuples only).
fn delete_by_filter(socket: &mut Socket, filter: &Filter) -> io::Result<bool> {
    // The family of a deletion counts from message version 1 on only; in version 0 it means every family.
    let header = message::header(filter.family.number(), 1, 0);
    let fill = |attributes: &mut Writer| filter.write(attributes);
    match ask(socket, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, header, fill, |_| {}) {
        Err(error) if is_errno(&error, Errno::EOPNOTSUPP) || is_errno(&error, Errno::EINVAL) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Sends one request, and hands the attributes of each answer to `take`.
fn ask(
    socket: &mut Socket,
    kind: u16,
    flags: u16,
    header: [u8; message::HEADER],
    fill: impl FnOnce(&mut Writer),
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut request = wire::request(CTNETLINK | kind, flags, |message| {
        message.raw(&header);
        fill(message);
    })?;
    socket.wire.ask(&mut request, |message| {
        take(message::body(message));
        false
    })?;
    Ok(())
}

/// Reads a flow that any of the filters, which are of one family, describes.
pub(crate) fn flow(body: &[u8], filters: &[Filter]) -> Option<Flow> {
    let filter = filters.iter().find(|filter| filter.matches(body))?;
    let original = find(body, CTA_TUPLE_ORIG).and_then(Tuple::read)?;
    Some(Flow { destination: original.addresses[1]?, family: filter.family, identity: identity(body) })
}

/// Original tuple, zone and id: together they name one flow and never a later one with the same addresses.
fn identity(flow: &[u8]) -> Vec<u8> {
    let mut identity = Writer::default();
    for (kind, payload) in attributes(flow) {
        match kind {
            CTA_TUPLE_ORIG => identity.nest(kind, |tuple| tuple.raw(payload)),
            CTA_ID | CTA_ZONE => identity.bytes(kind, payload),
            _ => {}
        }
    }
    identity.buffer
}

/// With more filters than this one list is cheaper than as many deletions, each of which walks the table.
const DELETIONS_MAX: usize = 32;

const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
