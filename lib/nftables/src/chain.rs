//! Chains: named lists of rules; a base chain is entered from a hook of the network stack.

use wire::Writer;
use wire::attribute::{find, find_be32, find_string};

use crate::table::NFTA_TABLE;
use crate::{Family, Table};

/// What a base chain is for (`NFTA_CHAIN_TYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accept and drop, at every hook.
    Filter,
    /// Address translation: sees the first packet of each flow only.
    Nat,
    /// At the output hook: routes again where a mark or an address changed.
    Route,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// Where a base chain sits (`enum nf_inet_hooks`; `NF_BR_*` have the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
}

/// What becomes of packets that reach the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They pass (`NF_ACCEPT`).
    Accept = 1,
    /// They are discarded (`NF_DROP`).
    Drop = 0,
}

/// Customary priorities: lower runs first (`enum nf_ip_hook_priorities`).
pub mod priority {
    /// `NF_IP_PRI_RAW`: before connection tracking.
    pub const RAW: i32 = -300;
    /// `NF_IP_PRI_NAT_DST`.
    pub const DSTNAT: i32 = -100;
    /// `NF_IP_PRI_FILTER`.
    pub const FILTER: i32 = 0;
    /// `NF_IP_PRI_NAT_SRC`.
    pub const SRCNAT: i32 = 100;
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it is for.
    pub kind: Kind,
    /// Where it sits.
    pub hook: HookPoint,
    /// Its place among the chains of that hook: lower runs first.
    pub priority: i32,
    /// What becomes of packets that reach its end.
    pub policy: Policy,
}

/// A chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, unique in its table. Words of `nft`'s language (`dnat`, `out`) are accepted by the kernel, but a
    /// listing with them cannot be loaded again.
    pub name: &'a str,
    /// For a base chain: its hook.
    pub base: Option<Hook>,
}

impl<'a> Chain<'a> {
    /// A chain that packets enter by jump, goto or verdict map only.
    #[must_use]
    pub const fn new(table: Table<'a>, name: &'a str) -> Self {
        Self { table, name, base: None }
    }

    /// A base chain with the policy accept.
    #[must_use]
    pub const fn base(table: Table<'a>, name: &'a str, kind: Kind, hook: HookPoint, priority: i32) -> Self {
        let base = Hook { kind, hook, priority, policy: Policy::Accept };
        Self { table, name, base: Some(base) }
    }

    /// Whether the attributes of an existing chain say the same: hook, priority, kind and policy, or none of them.
    pub(crate) fn agrees(&self, attributes: &[u8]) -> bool {
        let Some((base, hook)) = self.base.zip(find(attributes, NFTA_CHAIN_HOOK)) else {
            return self.base.is_none() && find(attributes, NFTA_CHAIN_HOOK).is_none();
        };
        find_be32(hook, NFTA_HOOK_HOOKNUM) == Some(base.hook as u32)
            && find_be32(hook, NFTA_HOOK_PRIORITY).map(u32::cast_signed) == Some(base.priority)
            && find_be32(attributes, NFTA_CHAIN_POLICY) == Some(base.policy as u32)
            && find_string(attributes, NFTA_CHAIN_TYPE) == Some(base.kind.word())
    }

    /// The attributes of `NFT_MSG_NEWCHAIN`.
    pub(crate) fn write(&self, attributes: &mut Writer) {
        self.write_name(attributes);
        if let Some(base) = self.base {
            attributes.nest(NFTA_CHAIN_HOOK, |hook| {
                hook.be32(NFTA_HOOK_HOOKNUM, base.hook as u32);
                hook.bytes(NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
            });
            attributes.be32(NFTA_CHAIN_POLICY, base.policy as u32);
            attributes.string(NFTA_CHAIN_TYPE, base.kind.word());
        }
    }

    /// Table and name only: what deletes or finds it.
    pub(crate) fn write_name(&self, attributes: &mut Writer) {
        attributes.string(NFTA_TABLE, self.table.name);
        attributes.string(NFTA_CHAIN_NAME, self.name);
    }
}

/// A base chain that exists, of any origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// The family of its table.
    pub family: Family,
    /// The name of its table.
    pub table: String,
    /// Its own name.
    pub name: String,
    /// What becomes of packets that reach its end.
    pub policy: Policy,
}

impl BaseChain {
    /// The same as what questions and changes are about.
    #[must_use]
    pub fn as_chain(&self) -> Chain<'_> {
        Chain::new(Table::new(self.family, &self.table), &self.name)
    }

    /// Reads the attributes of a chain; `None` where it is no base chain at that hook.
    pub(crate) fn read(family: Family, hook: HookPoint, attributes: &[u8]) -> Option<Self> {
        let number = find_be32(find(attributes, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
        let name = |attribute| find_string(attributes, attribute).map(str::to_owned);
        let drops = find_be32(attributes, NFTA_CHAIN_POLICY) == Some(0);
        (number == hook as u32).then_some(Self {
            family,
            table: name(NFTA_TABLE)?,
            name: name(NFTA_CHAIN_NAME)?,
            policy: if drops { Policy::Drop } else { Policy::Accept },
        })
    }
}

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
