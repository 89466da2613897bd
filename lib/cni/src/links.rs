//! What a bridge plugin that keeps the members of a network apart leaves for the plugin that lets links through. Neither
//! knows of the other: both know these names.
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
//! with whatever is in them; it never looks inside. Where they are not there, nothing is kept apart.

use crate::attachment::token;

/// The alias of a bridge that an ADD of the bridge plugin made: what is set on it is this suite's to set.
pub const BRIDGE_ALIAS: &str = "cleat bridge";

/// The alias of a VLAN device for a network's gateway that an ADD made.
pub const GATEWAY_ALIAS: &str = "cleat gateway";

/// The table, of family `inet`.
pub const TABLE: &str = "cleat_gate";

/// The names of a bridge's sets, for IPv4 and IPv6. Any name is allowed for a bridge, and not every one for a set.
#[must_use]
pub fn sets(bridge: &str) -> [String; 2] {
    let token = &token(&[bridge])[..8];
    [format!("links4_{token}"), format!("links6_{token}")]
}
