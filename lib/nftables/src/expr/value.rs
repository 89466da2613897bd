//! What a match compares with: one value, a prefix, bits.

use ipnetwork::IpNetwork;
use nix::libc::RTN_LOCAL;

use crate::Field;

/// The right side of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Exactly this.
    Is(Field),
    /// An address of this network.
    Within(IpNetwork),
    /// Any of these bits is set; negated, none of them.
    AnyBit(u32),
    /// This bit of a flow's labels is set, from 0 to 127.
    Label(u8),
    /// This VXLAN network identifier, of 24 bits.
    Vni(u32),
    /// The kind of an address: the host's own (`RTN_LOCAL` in `linux/rtnetlink.h`).
    Local,
}

impl Value {
    /// The comparison in the kernel's terms.
    pub(crate) fn comparison(self) -> Comparison {
        match self {
            Self::Is(field) => {
                let mut bytes = Vec::with_capacity(16);
                field.push(&mut bytes);
                Comparison::exact(bytes)
            }
            Self::Within(network) => within(network),
            Self::AnyBit(bits) => {
                Comparison { mask: Some(bits.to_ne_bytes().to_vec()), bytes: vec![0; 4], inverted: true }
            }
            Self::Label(bit) => {
                Comparison { mask: Some(label(bit).to_vec()), bytes: vec![0; 16], inverted: true }
            }
            Self::Vni(vni) => Comparison::exact(vni.to_be_bytes()[1..].to_vec()),
            Self::Local => Comparison::exact(u32::from(RTN_LOCAL).to_ne_bytes().to_vec()),
        }
    }
}

/// One bit of a flow's labels, as the kernel keeps them: two words of 64 bits in its own order (`__set_bit`).
pub(crate) fn label(bit: u8) -> [u8; 16] {
    let bits = 1_u128 << (bit % 128);
    let mut bytes = [0; 16];
    for (half, word) in bytes.chunks_exact_mut(8).zip([bits, bits >> 64]) {
        half.copy_from_slice(&u64::try_from(word & u128::from(u64::MAX)).unwrap_or_default().to_ne_bytes());
    }
    bytes
}

/// Mask what was loaded, then compare.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// As long as `bytes`.
    pub(crate) mask: Option<Vec<u8>>,
    pub(crate) bytes: Vec<u8>,
    /// The match holds where the comparison does not.
    pub(crate) inverted: bool,
}

impl Comparison {
    const fn exact(bytes: Vec<u8>) -> Self {
        Self { mask: None, bytes, inverted: false }
    }
}

fn within(network: IpNetwork) -> Comparison {
    let (mut bytes, mask) = match network {
        IpNetwork::V4(v4) => (v4.network().octets().to_vec(), v4.mask().octets().to_vec()),
        IpNetwork::V6(v6) => (v6.network().octets().to_vec(), v6.mask().octets().to_vec()),
    };
    let prefix = usize::from(network.prefix());
    // Whole bytes need no mask: nft loads and compares fewer of them, and reads that back as a prefix.
    if prefix.is_multiple_of(8) && prefix > 0 {
        bytes.truncate(prefix / 8);
        return Comparison::exact(bytes);
    }
    Comparison { mask: Some(mask), bytes, inverted: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(network: &str) -> Comparison {
        Value::Within(network.parse().unwrap()).comparison()
    }

    #[test]
    fn prefixes_of_whole_bytes_are_compared_without_a_mask() {
        assert_eq!(of("10.1.0.0/24"), Comparison::exact(vec![10, 1, 0]));
        assert_eq!(of("10.1.0.7/32"), Comparison::exact(vec![10, 1, 0, 7]));
        assert_eq!(of("fd00:1::/64"), Comparison::exact(vec![0xfd, 0, 0, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn other_prefixes_are_masked_and_host_bits_ignored() {
        let expected =
            Comparison { mask: Some(vec![0xf0, 0, 0, 0]), bytes: vec![224, 0, 0, 0], inverted: false };
        assert_eq!(of("224.0.0.0/4"), expected);
        assert_eq!(of("225.1.2.3/4"), expected);
        let all = Comparison { mask: Some(vec![0; 4]), bytes: vec![0; 4], inverted: false };
        assert_eq!(of("0.0.0.0/0"), all);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_label_is_one_bit_of_sixteen_bytes() {
        assert_eq!(label(0)[0], 1);
        assert_eq!(label(93)[11], 0x20);
        assert_eq!(label(127)[15], 0x80);
        assert_eq!(label(93).iter().filter(|byte| **byte != 0).count(), 1);
    }

    #[test]
    fn a_vni_has_three_bytes() {
        assert_eq!(Value::Vni(0x12_3456).comparison(), Comparison::exact(vec![0x12, 0x34, 0x56]));
    }

    #[test]
    fn any_bit_is_unequal_to_zero() {
        let comparison = Value::AnyBit(0x20).comparison();
        assert_eq!(comparison.mask, Some(0x20u32.to_ne_bytes().to_vec()));
        assert!(comparison.inverted);
    }
}
