//! Names of kernel objects, derived from what identifies an attachment or a network, so that DEL and GC find them
//! without any record.

pub(crate) use cni::links::{BRIDGE_ALIAS, GATEWAY_ALIAS, network_label};
use cni::{Attachment, ContainerId, IfName, NetworkName, links};
use netlink::Link;

/// The host's ends of a network's attachments.
pub(crate) fn host_interfaces(network: &NetworkName, attachments: &[(ContainerId, IfName)]) -> Vec<String> {
    let attachment = |(container_id, ifname): &(ContainerId, IfName)| {
        let (container_id, ifname) = (container_id.clone(), ifname.clone());
        Attachment { network: network.clone(), container_id, ifname }
    };
    attachments.iter().map(|named| attachment(named).host_interface()).collect()
}

/// Whether a link has a name of that form; other programs' veth pairs have shorter ones.
pub(crate) fn is_host_interface(name: &str) -> bool {
    name.strip_prefix("veth").is_some_and(|digits| {
        digits.len() == 11 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether an ADD made a bridge: then it keeps the hardware address that the ADD gave it.
pub(crate) fn keeps_mac(bridge: &Link) -> bool {
    bridge.alias.as_deref() == Some(BRIDGE_ALIAS)
}

/// The attachment of a network that a link belongs to, by its alias and its name; `None` where it is none of the network's,
/// or the alias had no room for the whole ID.
#[must_use]
pub fn attachment_of(network: &NetworkName, link: &Link) -> Option<Attachment> {
    links::attachment_of(network, &link.name, link.alias.as_deref())
}

/// Whether a link is one of a network's, by its alias.
#[must_use]
pub fn is_of_network(network: &NetworkName, link: &Link) -> bool {
    links::is_of_network(network, link.alias.as_deref())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cni::links::alias_prefix;
    use interface::{ALIAS_MAX, alias};

    use super::*;

    fn attachment(network: &str, id: &str) -> Attachment {
        Attachment {
            network: NetworkName::new(network).unwrap(),
            container_id: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn names_fit_the_kernels_limits() {
        let long = attachment(&"n".repeat(255), &"c".repeat(255));
        assert_eq!(long.host_interface().len(), 15);
        assert!(alias(&long).len() <= ALIAS_MAX);
    }

    #[test]
    fn ten_thousand_containers_have_ten_thousand_names() {
        let names: BTreeSet<_> =
            (0..10_000).map(|n| attachment("net", &format!("c{n}")).host_interface()).collect();
        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn a_links_alias_and_name_together_tell_its_attachment() {
        let network = NetworkName::new("net").unwrap();
        let link = |attachment: &Attachment, name: &str| Link {
            alias: Some(alias(attachment)),
            name: name.to_owned(),
            ..Link::default()
        };
        let (short, long) = (attachment("net", "web"), attachment("net", &"c".repeat(255)));
        assert_eq!(attachment_of(&network, &link(&short, &short.host_interface())), Some(short.clone()));
        assert_eq!(attachment_of(&network, &link(&short, "veth0123456789a")), None);
        let cut = link(&long, &long.host_interface());
        assert!(attachment_of(&network, &cut).is_none() && is_of_network(&network, &cut));
        let other = attachment("net2", "web");
        assert!(!is_of_network(&network, &link(&other, &other.host_interface())));
    }

    #[test]
    fn networks_that_begin_alike_are_told_apart() {
        let one = NetworkName::new("a").unwrap();
        assert!(!alias(&attachment("a.b", "c")).starts_with(&alias_prefix(&one)));
    }
}
