//! The keys of a network.

use cni::NetworkName;
use etcd::Span;
use ipnetwork::IpNetwork;

use super::Error;
use crate::record::{block_key, block_of_key, is_node_name};

/// What all keys begin with, unless the configuration says another.
const PREFIX: &str = "/cleat/v1";

/// What all keys of a network begin with, with a slash at the end.
#[derive(Clone, Debug)]
pub(super) struct Keys(String);

/// What a key is for.
#[derive(Debug)]
pub(super) enum Key {
    Config,
    Block(IpNetwork),
    Node(String),
    /// A name in a folder of ours that cannot be.
    Bad(&'static str),
    /// One of a later version.
    Unknown,
}

impl Keys {
    pub(super) fn new(prefix: Option<&str>, network: &NetworkName) -> Result<Self, Error> {
        let prefix = prefix.unwrap_or(PREFIX).trim_end_matches('/');
        if !prefix.starts_with('/') || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Conf(format!("the prefix {prefix:?} is not like {PREFIX}")));
        }
        Ok(Self(format!("{prefix}/{network}/")))
    }

    pub(super) fn all(&self) -> Span {
        Span::prefix(self.0.as_str())
    }

    pub(super) fn config(&self) -> String {
        format!("{}config", self.0)
    }

    pub(super) fn blocks(&self) -> Span {
        Span::prefix(format!("{}blocks/", self.0))
    }

    pub(super) fn block(&self, block: IpNetwork) -> String {
        format!("{}blocks/{}", self.0, block_key(block))
    }

    pub(super) fn node(&self, name: &str) -> String {
        format!("{}nodes/{name}", self.0)
    }

    pub(super) fn alive(&self, name: &str) -> String {
        format!("{}alive/{name}", self.0)
    }

    pub(super) fn all_alive(&self) -> Span {
        Span::prefix(self.alive(""))
    }

    /// The blocks, the network's configuration and the nodes: all that traffic depends on.
    pub(super) fn records(&self) -> Span {
        // The character after a slash is a zero.
        Span::range(format!("{}blocks/", self.0), format!("{}nodes0", self.0))
    }

    /// What comes after `alive/`.
    pub(super) fn alive_name(&self, key: &[u8]) -> Option<String> {
        let name = str::from_utf8(key).ok()?.strip_prefix(&self.0)?.strip_prefix("alive/")?;
        is_node_name(name).then(|| name.to_owned())
    }

    pub(super) fn read(&self, key: &[u8]) -> Key {
        let Some(rest) = key.strip_prefix(self.0.as_bytes()) else { return Key::Unknown };
        let text = str::from_utf8(rest).unwrap_or_default();
        if rest == b"config" {
            Key::Config
        } else if rest.starts_with(b"blocks/") {
            let block = text.strip_prefix("blocks/").and_then(block_of_key);
            block.map_or(Key::Bad("its name is not that of a block, as 10.201.7.0-24"), Key::Block)
        } else if rest.starts_with(b"nodes/") {
            let name = text.strip_prefix("nodes/").filter(|name| is_node_name(name));
            name.map_or(Key::Bad("its name is not that of a node (RFC 1123)"), |name| {
                Key::Node(name.to_owned())
            })
        } else {
            Key::Unknown
        }
    }
}
