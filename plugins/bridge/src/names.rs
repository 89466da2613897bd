//! Names of kernel objects, derived from what identifies an attachment or a network, so that DEL and GC find them
//! without asking anybody.

pub(crate) use cni::links::{BRIDGE_ALIAS, GATEWAY_ALIAS};
use cni::{Attachment, NetworkName, token};

/// The longest part of a network's name that is shown.
const SHOWN: usize = 48;

/// The host's end of an attachment's veth pair: at most 15 bytes (`IFNAMSIZ`), 44 bits of the hash.
pub(crate) fn host_interface(attachment: &Attachment) -> String {
    format!("veth{}", &attachment.token()[..11])
}

/// Whether a link has a name of that form; other programs' veth pairs have shorter ones.
pub(crate) fn is_host_interface(name: &str) -> bool {
    name.strip_prefix("veth").is_some_and(|digits| {
        digits.len() == 11 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// What a link of this suite carries as its alias: people read it in `ip link`, GC tells networks apart by it.
pub(crate) fn alias(attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    let mut text = format!("{} {ifname} {container_id}", alias_prefix(network));
    text.truncate(ALIAS_MAX);
    text
}

/// What the aliases of a network's links begin with.
pub(crate) fn alias_prefix(network: &NetworkName) -> String {
    format!("cleat {}", network_label(network))
}

/// A network's name as far as there is room for it, and enough of its hash to tell it from those that begin alike.
pub(crate) fn network_label(network: &NetworkName) -> String {
    let shown: String = network.as_str().chars().take(SHOWN).collect();
    format!("{shown} {}", &token(&[network.as_str()])[..8])
}

/// `IFALIASZ` (linux/if.h) less the closing NUL.
const ALIAS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cni::{ContainerId, IfName};

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
        assert_eq!(host_interface(&long).len(), 15);
        assert!(alias(&long).len() <= ALIAS_MAX);
    }

    #[test]
    fn ten_thousand_containers_have_ten_thousand_names() {
        let names: BTreeSet<_> =
            (0..10_000).map(|n| host_interface(&attachment("net", &format!("c{n}")))).collect();
        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn networks_that_begin_alike_are_told_apart() {
        let one = NetworkName::new("a").unwrap();
        assert!(!alias(&attachment("a.b", "c")).starts_with(&alias_prefix(&one)));
    }
}
