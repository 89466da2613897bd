//! Sets and maps: keys, or keys with data, that rules look packets up in.

use std::fmt;

use wire::Writer;
use wire::attribute::find_be32;

use crate::table::NFTA_TABLE;
use crate::{Table, Type, key, userdata};

/// A named set; with data a map, with verdicts for data a verdict map.
///
/// The kernel hashes the keys, so the cost of a lookup does not depend on their number. Intervals, timeouts and anonymous
/// sets are not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, unique in its table.
    pub name: &'a str,
    /// The types of the key: one, or up to five concatenated.
    pub key: &'a [Type],
    /// For a map the types of the data; `[Type::Verdict]` for a verdict map.
    pub data: Option<&'a [Type]>,
}

impl<'a> Set<'a> {
    /// A set of keys.
    #[must_use]
    pub const fn new(table: Table<'a>, name: &'a str, key: &'a [Type]) -> Self {
        Self { table, name, key, data: None }
    }

    /// A map from keys to data.
    #[must_use]
    pub const fn map(table: Table<'a>, name: &'a str, key: &'a [Type], data: &'a [Type]) -> Self {
        Self { table, name, key, data: Some(data) }
    }

    /// A map from keys to verdicts.
    #[must_use]
    pub const fn vmap(table: Table<'a>, name: &'a str, key: &'a [Type]) -> Self {
        Self::map(table, name, key, &[Type::Verdict])
    }

    /// Length of a key in bytes.
    #[must_use]
    pub const fn key_len(&self) -> usize {
        key::size(self.key)
    }

    /// Whether the data are verdicts.
    #[must_use]
    pub const fn is_vmap(&self) -> bool {
        matches!(self.data, Some([Type::Verdict]))
    }

    /// The attributes of `NFT_MSG_NEWSET`; `id` ties the set to later operations of the same batch.
    pub(crate) fn write(&self, attributes: &mut Writer, id: u32) {
        self.write_name(attributes);
        attributes.be32(NFTA_SET_FLAGS, self.kind());
        attributes.be32(NFTA_SET_KEY_TYPE, key::concatenation(self.key));
        attributes.be32(NFTA_SET_KEY_LEN, length(self.key));
        if let Some(data) = self.data {
            attributes.be32(NFTA_SET_DATA_TYPE, data_type(data));
            attributes.be32(NFTA_SET_DATA_LEN, length(data));
        }
        attributes.be32(NFTA_SET_ID, id);
        if self.key.is_empty() || self.key.len() > FIELDS_MAX {
            attributes.refuse("key has no type or more than five");
        }
        attributes.attribute(NFTA_SET_USERDATA, |stored| {
            userdata::push_u32(stored, KEY_BYTEORDER, byteorder(self.key));
            if let Some(data) = self.data {
                userdata::push_u32(stored, DATA_BYTEORDER, byteorder(data));
            }
        });
    }

    /// Whether the attributes of an existing set say the same: these types, and no more.
    pub(crate) fn agrees(&self, attributes: &[u8]) -> bool {
        let number = |attribute| find_be32(attributes, attribute);
        // The kernel leaves flags out where there are none.
        number(NFTA_SET_FLAGS).unwrap_or_default() & KINDS == self.kind()
            && number(NFTA_SET_KEY_TYPE) == Some(key::concatenation(self.key))
            && number(NFTA_SET_KEY_LEN) == Some(length(self.key))
            && number(NFTA_SET_DATA_TYPE) == self.data.map(data_type)
    }

    /// The flag that tells a map from a set.
    const fn kind(&self) -> u32 {
        if self.data.is_some() { NFT_SET_MAP } else { 0 }
    }

    /// Table and name only: what deletes or finds it.
    pub(crate) fn write_name(&self, attributes: &mut Writer) {
        attributes.string(NFTA_TABLE, self.table.name);
        attributes.string(NFTA_SET_NAME, self.name);
    }
}

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

const fn data_type(types: &[Type]) -> u32 {
    if let [Type::Verdict] = types { NFT_DATA_VERDICT } else { key::concatenation(types) }
}

fn length(types: &[Type]) -> u32 {
    u32::try_from(key::size(types)).unwrap_or(u32::MAX)
}

/// `enum byteorder` of `nft`: invalid for a concatenation, whose fields have each their own.
fn byteorder(types: &[Type]) -> u32 {
    match types {
        [Type::Verdict] => 0,
        [single] if single.is_host_order() => 1,
        [_] => 2,
        _ => 0,
    }
}

/// Six bits a type in a number of 32 bits.
const FIELDS_MAX: usize = 5;

pub(crate) const NFTA_SET_NAME: u16 = 2;
pub(crate) const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
pub(crate) const NFT_SET_MAP: u32 = 0x8;
/// What else a set may be: constant, of intervals, with timeouts, of objects.
const KINDS: u32 = 0x2 | 0x4 | NFT_SET_MAP | 0x10 | 0x40;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`.
const KEY_BYTEORDER: u8 = 0;
/// `NFTNL_UDATA_SET_DATABYTEORDER`.
const DATA_BYTEORDER: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    const TABLE: Table = Table::new(Family::Inet, "cleat");

    #[test]
    fn a_verdict_map_has_the_kernels_data_type() {
        let mut writer = Writer::default();
        Set::vmap(TABLE, "masq4", &[Type::Ipv4Addr]).write(&mut writer, 1);
        let bytes = &writer.buffer;
        assert_eq!(find_be32(bytes, NFTA_SET_FLAGS), Some(NFT_SET_MAP));
        assert_eq!(find_be32(bytes, NFTA_SET_DATA_TYPE), Some(NFT_DATA_VERDICT));
        assert_eq!(find_be32(bytes, NFTA_SET_KEY_LEN), Some(4));
        assert_eq!(writer.fault.take(), None);
    }

    #[test]
    fn a_set_is_told_from_one_of_other_types() {
        let (plain, map) = (Set::new(TABLE, "a", &[Type::Mark]), Set::vmap(TABLE, "a", &[Type::Mark]));
        let others =
            [plain, map, Set::new(TABLE, "a", &[Type::Ipv4Addr]), Set::new(TABLE, "a", &[Type::Mark; 2])];
        for (one, set) in others.iter().enumerate() {
            let mut writer = Writer::default();
            set.write(&mut writer, 1);
            for (other, found) in others.iter().enumerate() {
                assert_eq!(found.agrees(&writer.buffer), one == other, "{found:?}, {set:?}");
            }
        }
        // As the kernel answers: without flags where there are none.
        let mut writer = Writer::default();
        writer.be32(NFTA_SET_KEY_TYPE, Type::Mark.id());
        writer.be32(NFTA_SET_KEY_LEN, 4);
        assert!(plain.agrees(&writer.buffer) && !map.agrees(&writer.buffer));
    }

    #[test]
    fn keys_without_a_type_or_with_six_are_refused() {
        for types in [&[][..], &[Type::Mark; 6]] {
            let mut writer = Writer::default();
            Set::new(TABLE, "marks", types).write(&mut writer, 1);
            assert!(writer.fault.take().is_some());
        }
    }
}
