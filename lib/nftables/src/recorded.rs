//! Reads recorded answers of the kernel, without a socket: one datagram each, as recvmsg(2) returns it.
//!
//! It is the same code that reads the answers on a [`Socket`](crate::Socket).

use std::io;

use crate::conntrack::{self, Filter};
use crate::message::body;
use crate::{BaseChain, Element, Family, HookPoint, Rule, element};

/// The elements of sets and maps (`NFT_MSG_NEWSETELEM`).
///
/// # Errors
/// The error that the kernel answered.
pub fn elements(datagram: &[u8]) -> io::Result<Vec<Element>> {
    all(datagram, element::read_list)
}

/// The rules (`NFT_MSG_NEWRULE`).
///
/// # Errors
/// As [`elements`].
pub fn rules(datagram: &[u8]) -> io::Result<Vec<Rule>> {
    all(datagram, Rule::read)
}

/// The base chains at a hook (`NFT_MSG_NEWCHAIN`), if the family is theirs.
///
/// # Errors
/// As [`elements`].
pub fn base_chains(datagram: &[u8], family: Family, hook: HookPoint) -> io::Result<Vec<BaseChain>> {
    all(datagram, |body| BaseChain::read(family, hook, body))
}

/// How many of the flows (`IPCTNL_MSG_CT_NEW`) a filter describes.
///
/// # Errors
/// As [`elements`].
pub fn flows(datagram: &[u8], filter: &Filter) -> io::Result<usize> {
    Ok(all(datagram, |body| conntrack::flow(body, &[*filter]))?.len())
}

fn all<T, I: IntoIterator<Item = T>>(datagram: &[u8], read: impl Fn(&[u8]) -> I) -> io::Result<Vec<T>> {
    let mut objects = Vec::new();
    wire::recorded(datagram, |message| objects.extend(read(body(message))))?;
    Ok(objects)
}
