//! Tables: a family and a name, the scope of everything else.

use std::fmt;

use wire::Writer;

/// The packet family of a table (`NFPROTO_*` in `linux/netfilter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// IPv6.
    Ip6 = 10,
    /// Frames that pass a bridge.
    Bridge = 7,
}

impl Family {
    /// The `NFPROTO_*` number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The family with that `NFPROTO_*` number; `None` for those that this crate does not handle.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Inet, Self::Ip, Self::Ip6, Self::Bridge].into_iter().find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Bridge => "bridge",
        })
    }
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Which packets it sees.
    pub family: Family,
    /// Its name, unique in its family.
    pub name: &'a str,
}

impl<'a> Table<'a> {
    /// A table by family and name.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Self {
        Self { family, name }
    }

    /// Its name, and `NFTA_TABLE_FLAGS` where the table is to be created.
    pub(crate) fn write(&self, attributes: &mut Writer, create: bool) {
        attributes.string(NFTA_TABLE, self.name);
        if create {
            attributes.be32(NFTA_TABLE_FLAGS, 0);
        }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// `NFTA_TABLE_NAME`, and the table's name in messages about what is in it: `NFTA_CHAIN_TABLE`, `NFTA_SET_TABLE`,
/// `NFTA_RULE_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`.
pub(crate) const NFTA_TABLE: u16 = 1;
pub(crate) const NFTA_TABLE_FLAGS: u16 = 2;
/// `NFT_TABLE_F_DORMANT`.
pub(crate) const NFT_TABLE_F_DORMANT: u32 = 1;
