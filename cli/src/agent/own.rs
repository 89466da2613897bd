//! What this host knows of its own part of a network.

use cni::NetworkName;
use ipnetwork::IpNetwork;
use nix::unistd::gethostname;

use super::conf::Conf;
use super::records::Node;

/// This host's part of a network.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// The network's prefixes; none where the agent has not said them.
    pub(crate) prefixes: Vec<IpNetwork>,
    /// The blocks of this node, which no other node has.
    blocks: Vec<String>,
    name: String,
}

impl Own {
    /// Of a network, from its run file and the agent's file, as far as they can be read.
    pub(crate) fn of(network: &NetworkName) -> Self {
        let node = ::overlay::read(network).ok().flatten();
        let (prefixes, blocks) = node.map(|node| (node.prefixes, node.blocks)).unwrap_or_default();
        let named = Conf::read(network).ok().flatten().and_then(|conf| conf.node);
        Self {
            prefixes,
            blocks: blocks.iter().map(|block| block.subnet.to_string()).collect(),
            name: named.unwrap_or_else(|| gethostname().unwrap_or_default().to_string_lossy().into_owned()),
        }
    }

    /// Whether a record is this node's. Without a block there is only the name, which another machine may have taken.
    pub(crate) fn is(&self, node: &Node) -> bool {
        if self.blocks.is_empty() {
            return node.name == self.name;
        }
        self.blocks.iter().any(|block| node.blocks.contains(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_before_the_name() {
        let node = |name: &str, block: &str| Node {
            name: name.to_owned(),
            blocks: vec![block.to_owned()],
            ..Node::default()
        };
        let own = |blocks: &[&str]| Own {
            prefixes: Vec::new(),
            blocks: blocks.iter().map(|block| (*block).to_owned()).collect(),
            name: "n1".to_owned(),
        };
        assert!(own(&["10.201.7.0/24"]).is(&node("n1", "10.201.7.0/24")));
        assert!(own(&["10.201.7.0/24"]).is(&node("renamed", "10.201.7.0/24")));
        assert!(!own(&["10.201.7.0/24"]).is(&node("n1", "10.201.8.0/24")), "another machine of the name");
        assert!(own(&[]).is(&node("n1", "10.201.7.0/24")));
        assert!(!own(&[]).is(&node("n2", "10.201.7.0/24")));
    }
}
