//! The text of a lease: whose address it is. The reference's format, byte for byte.

use std::net::IpAddr;

use cni::Attachment;

/// The content of an attachment's leases: container ID, CR LF, interface name, nothing behind it.
pub(crate) fn text(attachment: &Attachment) -> String {
    format!("{}\r\n{}", attachment.container_id, attachment.ifname)
}

/// Whether a lease's content is that of an attachment. Leases of the reference before version 0.8 hold the
/// container ID alone.
pub(crate) fn is_of(content: &str, attachment: &Attachment) -> bool {
    let (id, ifname) = parts(content);
    id == attachment.container_id.as_str() && ifname.is_none_or(|ifname| ifname == attachment.ifname.as_str())
}

/// The container ID and the interface name, which old leases lack.
pub(crate) fn parts(content: &str) -> (&str, Option<&str>) {
    match content.split_once("\r\n") {
        Some((id, name)) => (id.trim(), Some(name.trim())),
        None => (content.trim(), None),
    }
}

/// The name of an address's lease: its canonical text, as Go's `net.IP` prints it.
pub(crate) fn name(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The address that a file of the store is the lease of; `None` for files that are no leases.
pub(crate) fn address(name: &str) -> Option<IpAddr> {
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use cni::{ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn leases_are_written_and_read_as_the_reference_does() {
        let attachment = Attachment {
            network: NetworkName::new("net").unwrap(),
            container_id: ContainerId::new("c1").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        assert_eq!(text(&attachment), "c1\r\neth0");
        for (content, own) in [
            ("c1\r\neth0", true),
            ("c1", true),
            ("c1\n", true),
            ("c1\r\neth1", false),
            ("c10\r\neth0", false),
            ("", false),
            ("c1\neth0", false),
        ] {
            assert_eq!(is_of(content, &attachment), own, "{content:?}");
        }
    }

    #[test]
    fn only_addresses_name_leases() {
        for name in
            ["lock", "last_reserved_ip.0", "boot_id", ".owners", ".writing", "10.1.0.0.1", "..", "10.1.0.2~"]
        {
            assert_eq!(address(name), None, "{name}");
        }
        assert_eq!(name(address("::ffff:10.1.0.2").unwrap()), "10.1.0.2");
        assert_eq!(name(address("fd00:0:0::2").unwrap()), "fd00::2");
    }
}
