//! Names of kernel objects, derived from what identifies a network or an interface, so that DEL and GC find them
//! without asking anybody.

use cni::{NetworkName, token};

/// The longest part of a network's name that is shown in a chain's name.
const SHOWN: usize = 24;
/// What the chains of host interfaces begin with.
const LOCAL: &str = "local_";
/// What they begin with while they are being removed.
const CLOSING: &str = "closing_";

/// What the chains of a network begin with. `nft` reads letters, digits, `_`, `.` and `-` back.
pub(crate) fn chain_prefix(network: &NetworkName) -> String {
    let shown: String = network.as_str().chars().take(SHOWN).collect();
    format!("hair_{shown}_{}_", &token(&[network.as_str()])[..8])
}

/// The chain of a network for containers of the same kind: what its rules depend on are the `parts`. A network that
/// is configured anew gets a new chain, and earlier containers keep theirs.
pub(crate) fn chain(network: &NetworkName, parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    format!("{}{}", chain_prefix(network), &token(&parts)[..8])
}

/// The chain that stands for `route_localnet` on a host interface.
pub(crate) fn local_chain(interface: &str) -> String {
    format!("{LOCAL}{interface}")
}

/// The chain that stands for `route_localnet` about to be switched off.
pub(crate) fn closing_chain(interface: &str) -> String {
    format!("{CLOSING}{interface}")
}

/// The host interface that a chain of either kind stands for; `None` for other chains.
pub(crate) fn local_interface(chain: &str) -> Option<&str> {
    chain.strip_prefix(LOCAL).or_else(|| chain.strip_prefix(CLOSING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_fit_the_kernel_and_differ_by_what_they_depend_on() {
        let long = NetworkName::new("n".repeat(200)).unwrap();
        let other = NetworkName::new(format!("{}x", "n".repeat(200))).unwrap();
        let parts = ["10.1.0.0/24".to_owned()];
        let all = [chain(&long, &parts), chain(&long, &[]), chain(&other, &parts), chain(&other, &[])];
        // NFT_NAME_MAXLEN is 256; what people can read is shorter.
        assert!(all.iter().all(|name| name.len() < 64));
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all[0].starts_with(&chain_prefix(&long)));
        assert!(!all[2].starts_with(&chain_prefix(&long)));
    }

    #[test]
    fn a_local_chain_leads_back_to_its_interface() {
        assert_eq!(local_interface(&closing_chain("cni0")), Some("cni0"));
        assert_eq!(local_interface(&local_chain("br-0.1")), Some("br-0.1"));
        assert_eq!(local_interface("networks"), None);
    }
}
