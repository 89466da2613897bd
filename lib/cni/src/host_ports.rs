//! What the host-port plugin leaves in the kernel for the plugin that describes published ports to containers. Neither depends
//! on the other: both know these names.
//!
//! A host port that is 0 in the configuration is chosen by host-port, and the result of an ADD has no field for it. It is
//! read from the table `inet` [`TABLE`]: the map `owners` has an element for each attachment, with its ports in the comment,
//! and the maps of ports say where each one leads:
//!
//! ```text
//! map owners { type ifname : verdict; elements = { "p0123…" comment "lo 10.1.0.11 tcp/8080 192.0.2.1/udp/53" : goto … } }
//! map port4  { type inet_proto . inet_service : ipv4_addr . inet_service }               # every address of the host
//! map host4  { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }   # one address
//! map port6, host6: the same for IPv6
//! ```

use std::net::IpAddr;

use crate::port::Protocol;
use crate::spec::attachment::Attachment;

/// The table, of family `inet`.
pub const TABLE: &str = "cleat_host_port";

/// The map of attachments.
pub const OWNERS: &str = "owners";

/// Digits of [`Attachment::token`] in a key of [`OWNERS`], after its letter (`IFNAMSIZ`).
pub const DIGITS: usize = 14;

/// The key of an attachment in [`OWNERS`].
#[must_use]
pub fn owner_key(attachment: &Attachment) -> String {
    format!("p{}", &attachment.token()[..DIGITS])
}

/// The ports in the comment of an attachment's element: the host's address, where it is not every one; protocol; port.
/// Ports that another backend or another network of the container publishes are marked there, and left out.
pub fn ports(comment: &str) -> impl Iterator<Item = (Option<IpAddr>, Protocol, u16)> {
    comment.split(' ').filter_map(|word| {
        let mut parts = word.rsplit('/');
        let (port, protocol) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let address = parts.next().map(str::parse).transpose().ok()?;
        Some((address, protocol, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_other_words_are_not() {
        let comment = "127.0.0.1/lo 10.1.0.11 tcp/8080 192.0.2.1/udp/53 =udp/1/x ... +0123456789abcd";
        let ports: Vec<_> = ports(comment).collect();
        let one = "192.0.2.1".parse().ok();
        assert_eq!(ports, [(None, Protocol::Tcp, 8080), (one, Protocol::Udp, 53)]);
    }
}
