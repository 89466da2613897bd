//! What leads to a container's address from before it had that: ports of a container that has gone without a DEL, such as
//! those of a ruleset that somebody saved before a boot and loaded after it.

use cni::Attachment;
use ipnetwork::IpNetwork;
use nftables::Socket;

use crate::error::Error;
use crate::holder::{Holder, Owner};
use crate::memory::hair_place;
use crate::remove::remove;

/// Removes ports that lead to an attachment's addresses, where the interface of whose they were has gone. An ADD with ports
/// of its own finds the same in its way.
pub(crate) fn clear(
    rules: &mut Socket,
    attachment: &Attachment,
    addresses: &[IpNetwork],
) -> Result<(), Error> {
    for address in addresses {
        let place = hair_place(address.ip());
        let Some(comment) = rules.get_element(place.0, &place.1)?.and_then(|found| found.comment) else {
            continue;
        };
        let (Some(owner), Some(holder)) = (Owner::from_comment(&comment), Holder::read(&comment)) else {
            continue;
        };
        let is_gone = || netlink::Socket::open()?.get_link(&holder.interface).map(|link| link.is_none());
        if owner != Owner::of(attachment) && is_gone()? {
            remove(rules, &owner, &[place])?;
        }
    }
    Ok(())
}
