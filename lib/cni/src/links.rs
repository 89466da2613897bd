//! The sets by which link-env opens links between containers that the bridge plugin keeps apart. Neither plugin depends on
//! the other: both know these names.
//!
//! While a bridge keeps its ports apart (`"icc": false`), two sets in the table `inet` [`TABLE`] hold what may pass from
//! one of its ports to another all the same, one element a port of a link:
//!
//! ```text
//! set links4_… { type ipv4_addr . ipv4_addr . inet_proto . inet_service }   # from . to . protocol . port
//! set links6_… { type ipv6_addr . ipv6_addr . inet_proto . inet_service }
//! ```
//!
//! Answers need no element. The bridge plugin makes both with the bridge's first port and removes them with its last,
//! with whatever is in them. It holds the addresses of its ports to them, so that an address stands for a port; where it
//! cannot, as after somebody flushed its tables, or in another boot, it empties both. Where they are not there, nothing is
//! kept apart.

//!
//! The host's ends of the bridge plugin's pairs say whose they are: by a name that follows from the attachment, and by an
//! alias, `cleat <network> <hash> <interface> <container ID>`, which is cut where the kernel has no more room.

use crate::spec::attachment::{Attachment, ContainerId, IfName, NetworkName, token};

/// The longest part of a network's name that is shown.
const SHOWN: usize = 48;

/// The alias of a bridge that an ADD of the bridge plugin made: what is set on it is this suite's to set.
pub const BRIDGE_ALIAS: &str = "cleat bridge";

/// The alias of a VLAN device for a network's gateway that an ADD made.
pub const GATEWAY_ALIAS: &str = "cleat gateway";

/// The table, of family `inet`.
pub const TABLE: &str = "cleat_gate";

/// The names of a bridge's sets, for IPv4 and IPv6. Any name is allowed for a bridge, and not every one for a set.
#[must_use]
pub fn sets(bridge: &str) -> [String; 2] {
    sets_of(&token(&[bridge])[..8])
}

/// The names of the sets of the bridge with that token.
#[must_use]
pub fn sets_of(token: &str) -> [String; 2] {
    [format!("links4_{token}"), format!("links6_{token}")]
}

/// A network's name as far as there is room for it, and enough of its hash to tell it from those that begin alike.
#[must_use]
pub fn network_label(network: &NetworkName) -> String {
    let shown: String = network.as_str().chars().take(SHOWN).collect();
    format!("{shown} {}", &token(&[network.as_str()])[..8])
}

/// What the aliases of a network's links begin with.
#[must_use]
pub fn alias_prefix(network: &NetworkName) -> String {
    format!("cleat {}", network_label(network))
}

/// Whether a link with this alias is one of a network's.
#[must_use]
pub fn is_of_network(network: &NetworkName, alias: Option<&str>) -> bool {
    alias
        .and_then(|alias| alias.strip_prefix(&alias_prefix(network)))
        .is_some_and(|rest| rest.starts_with(' '))
}

/// The attachment of a network that a link with this name and alias belongs to; `None` where it is none of the network's, or
/// the alias had no room for the whole ID.
#[must_use]
pub fn attachment_of(network: &NetworkName, name: &str, alias: Option<&str>) -> Option<Attachment> {
    let attachment = named_by(network, alias?)?;
    (attachment.host_interface() == name).then_some(attachment)
}

/// The attachment of a network that an alias names; `None` where it is none of the network's. Where there was no room for the
/// whole ID, it is not the attachment's.
#[must_use]
pub fn named_by(network: &NetworkName, alias: &str) -> Option<Attachment> {
    let rest = alias.strip_prefix(&alias_prefix(network))?.strip_prefix(' ')?;
    let (ifname, container_id) = rest.split_once(' ')?;
    Some(Attachment {
        network: network.clone(),
        container_id: ContainerId::new(container_id).ok()?,
        ifname: IfName::new(ifname).ok()?,
    })
}
