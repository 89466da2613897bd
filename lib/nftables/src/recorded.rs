//! Reads recorded answers of the kernel, without a socket: one datagram each, as recvmsg(2) returns it.
//!
//! It is the same code that reads the answers on a [`Socket`](crate::Socket).

use std::io;

use wire::Message;

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
    all(datagram, |body, rules| rules.extend(Rule::read(body)))
}

/// The base chains at a hook (`NFT_MSG_NEWCHAIN`), if the family is theirs.
///
/// # Errors
/// As [`elements`].
pub fn base_chains(datagram: &[u8], family: Family, hook: HookPoint) -> io::Result<Vec<BaseChain>> {
    all(datagram, |body, chains| chains.extend(BaseChain::read(family, hook, body)))
}

/// How many of the flows (`IPCTNL_MSG_CT_NEW`) a filter describes.
///
/// # Errors
/// As [`elements`].
pub fn flows(datagram: &[u8], filter: &Filter) -> io::Result<usize> {
    let flows = all(datagram, |body, flows| flows.extend(conntrack::flow(body, &[*filter])))?;
    Ok(flows.len())
}

fn all<T>(datagram: &[u8], mut read: impl FnMut(&[u8], &mut Vec<T>)) -> io::Result<Vec<T>> {
    let mut objects = Vec::new();
    // All of a datagram answers one request.
    let sequence = Message::split(&mut { datagram }).map_or(0, |message| message.sequence);
    wire::answers(datagram, sequence, &mut true, |message| {
        read(body(message), &mut objects);
        false
    })?;
    Ok(objects)
}
