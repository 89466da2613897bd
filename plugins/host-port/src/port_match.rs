//! Whether a rule of another program is for a port, by what it compares.

use nftables::{Clause, Selector, key};

use crate::port::Port;

/// Whether a clause lets packets to the host's side of a port through, where it compares their protocol or port; `None` where it
/// compares neither.
pub(crate) fn is_for(clause: &Clause, port: &Port) -> Option<bool> {
    match clause {
        Clause::Compare { selector: Some(Selector::L4Proto), negated, bytes, .. } => {
            Some(!negated && bytes[..] == [port.protocol.number()])
        }
        Clause::Compare { selector: Some(Selector::ThDport), negated, bytes, .. } => {
            Some(!negated && bytes[..] == port.host_port.to_be_bytes())
        }
        _ => None,
    }
}

/// Whether a clause compares the destination with the port's own address of the host; `None` where it compares no destination.
pub(crate) fn is_on_address(clause: &Clause, port: &Port) -> Option<bool> {
    match clause {
        Clause::Compare {
            selector: Some(Selector::IpDaddr | Selector::Ip6Daddr), negated, bytes, ..
        } => Some(!negated && port.host_ip.is_some_and(|ip| key::encode(&[ip.into()]) == *bytes)),
        _ => None,
    }
}
