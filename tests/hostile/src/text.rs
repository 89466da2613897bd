//! Texts that people and other programs write: network configurations, and the output of iptables.

use std::path::Path;

use cni::NetworkList;
use iptables::{Rule, Transaction};

/// The content of a `*.conflist`: read as a runtime does, and as `cleat conf check` does.
pub fn conflist(bytes: &[u8]) {
    let findings = cleat_cli::check_content(Path::new("x.conflist"), bytes);
    let told: usize = findings.iter().map(|finding| finding.to_string().len()).sum();
    assert!(told < 1 << 20, "{} findings of {told} bytes", findings.len());
    let Ok(list) = NetworkList::from_slice(bytes) else {
        assert!(!findings.is_empty(), "no runtime can read it, but conf check finds nothing");
        return;
    };
    for plugin in &list.plugins {
        let conf = list.conf_of(plugin);
        assert_eq!(conf["name"], list.name.as_str());
    }
    let plugins = list.plugins.clone();
    let again = list.with_plugins(|_| {}).expect("a network can be written again");
    let read = NetworkList::from_slice(&again.bytes).expect("and read again");
    assert_eq!(read.plugins, plugins);
}

/// The output of `iptables -S`.
pub fn iptables(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut transaction = Transaction::new("nat");
    for rule in text.lines().filter_map(Rule::parse) {
        let _ = (rule.target(), rule.comment(), rule.option("-s"), rule.words());
        transaction.delete_rule(&rule);
    }
}

/// What the agent of an overlay network says to this node. What is taken is what would be written, and is sound: each block is
/// of a prefix, and the device's name is one.
pub fn overlay(bytes: &[u8]) {
    let Ok(node) = overlay::Node::from_slice(bytes) else { return };
    assert_eq!(overlay::Node::from_slice(&node.to_vec().unwrap()).unwrap(), node);
    cni::IfName::new(&*node.device).unwrap();
    for block in &node.blocks {
        let ends = [block.subnet.network(), block.subnet.broadcast()];
        let holds = |prefix: &netlink::IpNetwork| ends.iter().all(|end| prefix.contains(*end));
        assert!(node.prefixes.iter().any(holds), "{block:?}");
    }
}
