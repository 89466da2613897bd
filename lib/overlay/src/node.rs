//! The content of the file, as the agent writes it and the plugins read it.

use std::net::IpAddr;

use cni::IfName;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// The version of the file's form.
pub const VERSION: u32 = 1;

/// The most prefixes, and blocks, of one network: one of each family, and some while they change.
const MOST: usize = 8;

/// The least MTU of IPv4 and of IPv6 (RFC 791, RFC 8200).
const LEAST_MTU: [u32; 2] = [68, 1280];

/// A network as one of its nodes knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// [`VERSION`].
    pub version: u32,
    /// The network's own ID: of two networks of one name, which one this is.
    pub id: String,
    /// The addresses of all members on all nodes.
    #[serde(with = "networks")]
    pub prefixes: Vec<IpNetwork>,
    /// Those that this node gives to its containers.
    pub blocks: Vec<Block>,
    /// The device that leads to the other nodes.
    pub device: String,
    /// The longest packet that gets to other nodes whole, in bytes.
    pub mtu: u32,
}

/// A node's own part of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its addresses.
    #[serde(with = "cni::cidr")]
    pub subnet: IpNetwork,
    /// The address of the node's bridge; the first of the block unless it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl Node {
    /// Reads the file's content.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Fault> {
        let node: Self = serde_json::from_slice(bytes)?;
        node.expect_valid()?;
        Ok(node)
    }

    /// The content of the file.
    ///
    /// # Errors
    /// As [`Node::from_slice`], so that nothing is written that nobody would read.
    pub fn to_vec(&self) -> Result<Vec<u8>, Fault> {
        self.expect_valid()?;
        Ok(serde_json::to_vec(self)?)
    }

    fn expect_valid(&self) -> Result<(), Fault> {
        if self.version != VERSION {
            return Err(Fault::Version { found: self.version, known: VERSION });
        }
        for (key, count) in [("prefixes", self.prefixes.len()), ("blocks", self.blocks.len())] {
            if !(1..=MOST).contains(&count) {
                return Err(Fault::Count { key, count, most: MOST });
            }
        }
        for prefix in &self.prefixes {
            expect_network("prefixes", *prefix)?;
        }
        for block in &self.blocks {
            self.expect_block(block)?;
        }
        IfName::new(&*self.device).map_err(Fault::Name)?;
        let least = LEAST_MTU[usize::from(self.blocks.iter().any(|block| block.subnet.is_ipv6()))];
        if !(least..=65_535).contains(&self.mtu) {
            return Err(Fault::Mtu { mtu: self.mtu, least });
        }
        Ok(())
    }

    fn expect_block(&self, block: &Block) -> Result<(), Fault> {
        let Block { subnet, gateway } = *block;
        expect_network("blocks", subnet)?;
        let fault = |why| Err(Fault::Network { key: "blocks", network: subnet, why });
        let holds = |prefix: &IpNetwork| prefix.contains(subnet.ip()) && prefix.prefix() <= subnet.prefix();
        if !self.prefixes.iter().any(holds) {
            return fault("it is in none of the prefixes");
        }
        // The network's own address, the bridge's, a container's and, in IPv4, that of all.
        if subnet.prefix() > if subnet.is_ipv4() { 30 } else { 126 } {
            return fault("it has no room for a container");
        }
        match gateway {
            Some(gateway) if !subnet.contains(gateway) => fault("its gateway is not in it"),
            _ => Ok(()),
        }
    }
}

fn expect_network(key: &'static str, network: IpNetwork) -> Result<(), Fault> {
    let fault = |why| Err(Fault::Network { key, network, why });
    if network.ip() != network.network() {
        return fault("it has host bits");
    }
    if network.prefix() == 0 {
        return fault("it is every address");
    }
    Ok(())
}

/// For serde's `with`: a list of networks.
mod networks {
    use ipnetwork::IpNetwork;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Network(#[serde(with = "cni::cidr")] IpNetwork);

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<IpNetwork>, D::Error> {
        let list = Vec::<Network>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|network| network.0).collect())
    }

    pub(super) fn serialize<S: Serializer>(list: &[IpNetwork], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().copied().map(Network))
    }
}
