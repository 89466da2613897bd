//! What an attachment consists of besides the packet filter: one part a file, with what each verb does about it.

pub(crate) mod advertisements;
pub(crate) mod br_netfilter;
pub(crate) mod bridge;
pub(crate) mod forwarding;
pub(crate) mod gateway;
pub(crate) mod veth;
pub(crate) mod vlan;
pub(crate) mod vlan_gateway;

use netlink::{Link, Socket};

use crate::error::{Error, Result, differs};

/// A link that has to be there.
pub(crate) fn expect_link(socket: &mut Socket, name: &str) -> Result<Link> {
    socket.get_link(name)?.ok_or_else(|| Error::Differs(format!("link {name} does not exist")))
}

/// Names a link that is down.
pub(crate) fn expect_up(link: &Link) -> Result<()> {
    if link.up { Ok(()) } else { differs(format!("link {} is down", link.name)) }
}
