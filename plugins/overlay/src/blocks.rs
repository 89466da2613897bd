//! Which block of a prefix a node takes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};

/// The length of a block unless the network says another: 256 addresses, or what IPv6 gives a link.
#[must_use]
pub fn usual_length(prefix: IpNetwork) -> u8 {
    if prefix.is_ipv4() { 24 } else { 64 }
}

/// How many blocks of this length a prefix has. 0 where a block would be larger than the prefix.
#[must_use]
pub fn count(prefix: IpNetwork, length: u8) -> u128 {
    let longest = if prefix.is_ipv4() { 32 } else { 128 };
    match length.checked_sub(prefix.prefix()) {
        Some(bits) if length <= longest => 1_u128.checked_shl(bits.into()).unwrap_or(u128::MAX),
        _ => 0,
    }
}

/// Whether one network lies within another.
#[must_use]
pub fn lies_in(inner: IpNetwork, outer: IpNetwork) -> bool {
    inner.prefix() >= outer.prefix() && outer.contains(inner.network())
}

/// A block that overlaps none of those taken, or `None` if there is none.
///
/// Which one of the free blocks it is depends on `seed`: nodes that join at once do not all want the same.
#[must_use]
pub fn free(prefix: IpNetwork, length: u8, taken: &[IpNetwork], seed: &str) -> Option<IpNetwork> {
    let count = count(prefix, length);
    let taken = indices(prefix, length, taken);
    let mut gaps = Vec::new();
    let mut next = 0;
    for (first, last) in taken {
        if first > next {
            gaps.push((next, first - next));
        }
        next = next.max(last.saturating_add(1));
    }
    if next < count {
        gaps.push((next, count - next));
    }
    let free: u128 = gaps.iter().map(|(_, blocks)| blocks).sum();
    let mut rank = hash(seed).checked_rem(free)?;
    for (first, blocks) in gaps {
        if rank < blocks {
            return block(prefix, length, first + rank);
        }
        rank -= blocks;
    }
    None
}

/// The blocks that those taken overlap, by their places in the prefix, first and last, in order.
fn indices(prefix: IpNetwork, length: u8, taken: &[IpNetwork]) -> Vec<(u128, u128)> {
    let shift = shift(prefix, length);
    let start = number(prefix.network());
    let place = |address: IpAddr| number(address).saturating_sub(start).checked_shr(shift).unwrap_or(0);
    let overlaps = |other: &&IpNetwork| {
        other.is_ipv4() == prefix.is_ipv4() && (lies_in(**other, prefix) || lies_in(prefix, **other))
    };
    let mut indices: Vec<(u128, u128)> = taken
        .iter()
        .filter(overlaps)
        .map(|other| (place(other.network()), place(other.broadcast())))
        .collect();
    indices.sort_unstable();
    indices
}

fn block(prefix: IpNetwork, length: u8, index: u128) -> Option<IpNetwork> {
    let start = number(prefix.network()) + index.checked_shl(shift(prefix, length)).unwrap_or(0);
    let address = match prefix {
        IpNetwork::V4(_) => IpAddr::V4(u32::try_from(start).ok()?.into()),
        IpNetwork::V6(_) => IpAddr::V6(start.into()),
    };
    IpNetwork::new(address, length).ok()
}

fn shift(prefix: IpNetwork, length: u8) -> u32 {
    let longest: u8 = if prefix.is_ipv4() { 32 } else { 128 };
    longest.saturating_sub(length).into()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn hash(seed: &str) -> u128 {
    Sha256::digest(seed).iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn every_block_of_a_prefix_is_found_once() {
        for (prefix, length, wanted) in
            [("10.201.0.0/16", 24, 256), ("10.201.0.0/24", 24, 1), ("fd00:201::/56", 64, 256)]
        {
            let prefix = net(prefix);
            assert_eq!(count(prefix, length), wanted);
            let mut taken = Vec::new();
            while let Some(block) = free(prefix, length, &taken, &taken.len().to_string()) {
                assert!(lies_in(block, prefix) && block.prefix() == length && block.ip() == block.network());
                taken.push(block);
            }
            assert_eq!(taken.iter().collect::<BTreeSet<_>>().len() as u128, wanted);
            assert_eq!(taken.len() as u128, wanted);
        }
    }

    #[test]
    fn blocks_of_other_lengths_are_passed_over() {
        let prefix = net("10.201.0.0/22");
        let taken = [net("10.201.0.0/23"), net("10.201.2.128/25"), net("10.9.0.0/24"), net("fd00::/64")];
        for seed in 0..50 {
            assert_eq!(free(prefix, 24, &taken, &seed.to_string()), Some(net("10.201.3.0/24")));
        }
        assert_eq!(free(prefix, 24, &[net("10.0.0.0/8")], "x"), None);
        assert_eq!(free(prefix, 21, &[], "x"), None);
        assert_eq!(free(prefix, 40, &[], "x"), None);
    }

    #[test]
    fn large_prefixes_are_no_work() {
        let prefix = net("fd00::/8");
        assert_eq!(count(prefix, 64), 1 << 56);
        assert_eq!(count(net("::/0"), 128), u128::MAX);
        let block = free(prefix, 64, &[], "node").unwrap();
        assert!(lies_in(block, prefix));
        assert_ne!(free(prefix, 64, &[], "other"), Some(block));
        assert_eq!(free(prefix, 64, &[], "node"), Some(block));
    }
}
