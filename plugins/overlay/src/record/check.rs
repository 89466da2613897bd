//! What is taken from an engine, where others write as well: values that are out of bounds are refused, and say why.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::{Backend, Claim, Mac, Network, Record};
use crate::blocks::{self, lies_in};
use crate::key::PublicKey;

/// No record is as long, in bytes.
pub const LONGEST: usize = 64 << 10;
/// The most blocks of a node: one a prefix, and earlier ones.
const MOST_BLOCKS: usize = 16;
/// The largest VXLAN network identifier (RFC 7348: 24 bits).
const LARGEST_VNI: u32 = (1 << 24) - 1;
/// What IPv4 asks of a link (RFC 791), in bytes.
const LEAST_MTU: u32 = 576;
/// The largest packet, in bytes.
const LARGEST_MTU: u32 = 65_535;

impl Network {
    /// Whether a network can be like this. The error says what it cannot have.
    pub fn check(&self) -> Result<(), String> {
        if !is_id(&self.id) {
            return Err("the id is not a UUID".to_owned());
        }
        check_prefixes(&self.prefixes)?;
        if self.block_lengths.len() != self.prefixes.len() {
            return Err(format!(
                "{} block lengths for {} prefixes",
                self.block_lengths.len(),
                self.prefixes.len()
            ));
        }
        for (prefix, length) in self.prefixes.iter().zip(&self.block_lengths) {
            let most = if prefix.is_ipv4() { 30 } else { 126 };
            if *length > most {
                return Err(format!(
                    "a block of /{length} has no addresses for containers: /{most} is the smallest"
                ));
            }
            if blocks::count(*prefix, *length) == 0 {
                return Err(format!("no block of /{length} fits into {prefix}"));
            }
        }
        if self.vni == 0 || self.vni > LARGEST_VNI {
            return Err(format!("the vni {} is not one of 1 to {LARGEST_VNI}", self.vni));
        }
        if self.port == 0 {
            return Err("the port is 0".to_owned());
        }
        if self.mtu != 0 && !(LEAST_MTU..=LARGEST_MTU).contains(&self.mtu) {
            return Err(format!("the MTU {} is not 0 or one of {LEAST_MTU} to {LARGEST_MTU}", self.mtu));
        }
        if self.mtu != 0 && self.mtu < 1280 && self.prefixes.iter().any(IpNetwork::is_ipv6) {
            return Err(format!("the MTU {} is too small for IPv6, which needs 1280", self.mtu));
        }
        Ok(())
    }

    /// The prefix that a block lies in, if its length is one that nodes take.
    #[must_use]
    pub fn prefix_of(&self, block: IpNetwork) -> Option<IpNetwork> {
        let mut all = self.prefixes.iter().zip(&self.block_lengths);
        all.find(|(prefix, length)| block.prefix() == **length && lies_in(block, **prefix))
            .map(|(prefix, _)| *prefix)
    }
}

impl Record {
    /// Whether a node can be like this. The error says what it cannot have.
    pub fn check(&self, network: &Network) -> Result<(), String> {
        check_text("machine", &self.machine)?;
        check_text("version", &self.version)?;
        if self.addresses.is_empty() {
            return Err("no address".to_owned());
        }
        for (place, address) in self.addresses.iter().enumerate() {
            check_address(*address)?;
            if self.addresses[..place].iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
                return Err("two addresses of one family".to_owned());
            }
            if let Some(prefix) = network.prefixes.iter().find(|prefix| prefix.contains(*address)) {
                return Err(format!("the address {address} lies in the network's own prefix {prefix}"));
            }
        }
        match (network.backend, self.mac, &self.key) {
            (Backend::Vxlan, None, _) => return Err("no MAC address".to_owned()),
            (Backend::Vxlan, Some(mac), _) => check_mac(mac)?,
            (Backend::Wireguard, _, key) if !key.as_deref().is_some_and(is_key) => {
                return Err("no public key of WireGuard (32 bytes in base64)".to_owned());
            }
            (Backend::Wireguard, ..) => {}
        }
        if self.blocks.is_empty() || self.blocks.len() > MOST_BLOCKS {
            return Err(format!("{} blocks instead of 1 to {MOST_BLOCKS}", self.blocks.len()));
        }
        for (place, block) in self.blocks.iter().enumerate() {
            check_block(*block, network)?;
            let mut others = self.blocks[..place].iter();
            if let Some(other) = others.find(|other| lies_in(*block, **other) || lies_in(**other, *block)) {
                return Err(format!("the blocks {other} and {block} overlap"));
            }
        }
        if !(LEAST_MTU..=LARGEST_MTU).contains(&self.mtu) {
            return Err(format!("the MTU {} is not one of {LEAST_MTU} to {LARGEST_MTU}", self.mtu));
        }
        Ok(())
    }
}

impl Claim {
    /// Whether a claim can be like this. The error says what it cannot have.
    pub fn check(&self) -> Result<(), String> {
        if !is_node_name(&self.node) {
            return Err("the node's name is none (RFC 1123)".to_owned());
        }
        check_text("machine", &self.machine)
    }
}

/// A block as the last part of its key: `10.201.7.0-24`.
#[must_use]
pub fn block_key(block: IpNetwork) -> String {
    format!("{}-{}", block.network(), block.prefix())
}

/// The block of a key, if it is written as [`block_key`] does: else one block would have several keys.
#[must_use]
pub fn block_of_key(key: &str) -> Option<IpNetwork> {
    let (address, length) = key.rsplit_once('-')?;
    let block = IpNetwork::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    (block_key(block) == key).then_some(block)
}

/// Whether a text can be a node's name: labels of RFC 1123 with dots between, in small letters, at most 253 bytes.
#[must_use]
pub fn is_node_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether prefixes can be those of a network: one a family, of unicast addresses that are no link's or host's own.
fn check_prefixes(prefixes: &[IpNetwork]) -> Result<(), String> {
    if prefixes.is_empty() {
        return Err("no prefix".to_owned());
    }
    for (place, prefix) in prefixes.iter().enumerate() {
        if prefix.ip() != prefix.network() {
            return Err(format!("{prefix} is an address in {}/{}", prefix.network(), prefix.prefix()));
        }
        if prefixes[..place].iter().any(|other| other.is_ipv4() == prefix.is_ipv4()) {
            return Err(format!("{prefix} is a second prefix of its family: a network has one of each"));
        }
        // Shorter ones hold addresses that no network can have.
        let shortest = if prefix.is_ipv4() { 4 } else { 7 };
        if prefix.prefix() < shortest {
            return Err(format!("{prefix} is too large: /{shortest} is the most"));
        }
        for special in SPECIAL {
            let Ok(special) = special.parse::<IpNetwork>() else { continue };
            let meet = special.is_ipv4() == prefix.is_ipv4();
            if meet && (lies_in(*prefix, special) || lies_in(special, *prefix)) {
                return Err(format!("{prefix} meets {special}, which no network can have"));
            }
        }
    }
    Ok(())
}

/// Loopback, link-local, multicast, reserved and unspecified addresses (RFC 6890).
const SPECIAL: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
];

fn check_address(address: IpAddr) -> Result<(), String> {
    let is_special = SPECIAL
        .iter()
        .filter_map(|special| special.parse::<IpNetwork>().ok())
        .any(|special| special.contains(address));
    let is_mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if is_special || is_mapped || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(format!("nobody can send to {address}"));
    }
    Ok(())
}

fn check_mac(mac: Mac) -> Result<(), String> {
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        return Err(format!("the MAC address {mac} is not that of one device"));
    }
    Ok(())
}

/// A block, or an earlier one, which may be of another length.
fn check_block(block: IpNetwork, network: &Network) -> Result<(), String> {
    if block.ip() != block.network() {
        return Err(format!("the block {block} is an address in it"));
    }
    if !network.prefixes.iter().any(|prefix| lies_in(block, *prefix)) {
        return Err(format!("the block {block} lies outside of the network"));
    }
    Ok(())
}

fn check_text(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the {what} is not a word of at most 64 printable characters"));
    }
    Ok(())
}

fn is_id(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

fn is_key(text: &str) -> bool {
    text.parse::<PublicKey>().is_ok()
}

#[cfg(test)]
mod tests;
