//! Names that the reference plugins (containernetworking/plugins) derive from an attachment, for what either program
//! must find. Operators and nerdctl look for them, too.

use sha2::{Digest, Sha512};

use crate::spec::attachment::{ContainerId, NetworkName, hex};

/// The longest name of an iptables chain (`XT_EXTENSION_MAXNAMELEN` less the NUL).
const CHAIN_MAX: usize = 28;
/// The longest comment of an iptables rule (`XT_MAX_COMMENT_LEN` less the NUL). The reference does not cut: its ADD fails.
const COMMENT_MAX: usize = 255;

/// A container's own iptables chain on a network: `CNI-`, `prefix` (`DN-` for published ports, nothing for
/// masquerading), and as much of the hash as there is room for. The interface does not count, as with the reference.
#[must_use]
pub fn chain(prefix: &str, network: &NetworkName, container_id: &ContainerId) -> String {
    let mut name = format!("CNI-{prefix}{}", sha512(&format!("{network}{container_id}")));
    name.truncate(CHAIN_MAX);
    name
}

/// The comment of a container's iptables rules, after `prefix` (`dnat ` for published ports).
#[must_use]
pub fn comment(prefix: &str, network: &NetworkName, container_id: &ContainerId) -> String {
    let mut text = format!("{prefix}name: \"{network}\" id: \"{container_id}\"");
    text.truncate(COMMENT_MAX);
    text
}

/// The container that a chain is for, by the comment of a rule that leads to it; `None` where that is no chain of the network's.
/// The prefixes are those of [`chain`] and [`comment`].
#[must_use]
pub fn container(
    comment_prefix: &str,
    chain_prefix: &str,
    network: &NetworkName,
    chain: &str,
    comment: &str,
) -> Option<ContainerId> {
    let start = format!("{comment_prefix}name: \"{network}\" id: \"");
    let id = ContainerId::new(comment.strip_prefix(&start)?.strip_suffix('"')?).ok()?;
    (self::chain(chain_prefix, network, &id) == chain).then_some(id)
}

/// Sixteen hexadecimal digits for a text: how the reference's nftables rules begin their comments.
#[must_use]
pub fn short_hash(text: &str) -> String {
    let mut digits = sha512(text);
    digits.truncate(16);
    digits
}

fn sha512(text: &str) -> String {
    hex(&Sha512::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_references() {
        let network = NetworkName::new("net").unwrap();
        let id = ContainerId::new("c1").unwrap();
        // Seen in iptables-save after its bridge plugin 1.1.1.
        assert_eq!(chain("", &network, &id), "CNI-623e1c388032b20529218ecc");
        assert_eq!(chain("DN-", &network, &id), "CNI-DN-623e1c388032b20529218");
        assert_eq!(comment("", &network, &id), r#"name: "net" id: "c1""#);
        assert_eq!(comment("dnat ", &network, &id), r#"dnat name: "net" id: "c1""#);
        assert_eq!(short_hash("netc1"), "623e1c388032b205");
        let container =
            |text: &str| container("dnat ", "DN-", &network, "CNI-DN-623e1c388032b20529218", text);
        assert_eq!(container(r#"dnat name: "net" id: "c1""#), Some(id));
        for other in
            [r#"dnat name: "net" id: "c2""#, r#"dnat name: "net2" id: "c1""#, r#"name: "net" id: "c1""#]
        {
            assert_eq!(container(other), None, "{other}");
        }
        let masqueraded =
            |text: &str| super::container("", "", &network, "CNI-623e1c388032b20529218ecc", text);
        assert_eq!(
            masqueraded(&comment("", &network, &ContainerId::new("c1").unwrap())),
            Some(ContainerId::new("c1").unwrap())
        );
        for foreign in
            ["name: \"net\" id: \"c2\"", "name: \"net2\" id: \"c1\"", "name: \"net\" id: \"c1", "c1"]
        {
            assert_eq!(masqueraded(foreign), None, "{foreign}");
        }
        let long = ContainerId::new("c".repeat(255)).unwrap();
        assert_eq!(comment("", &network, &long).len(), COMMENT_MAX);
    }
}
