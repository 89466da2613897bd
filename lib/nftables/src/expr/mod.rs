//! What a rule consists of: matches and statements, each of them what one clause of an `nft` rule says.
//!
//! The kernel works with registers. One expression here becomes several there (load, mask, compare); the dependency
//! that a match needs (`meta nfproto ipv4` before `ip saddr` in an `inet` table) is added where it is missing, once a
//! rule, as `nft` does.

pub(crate) mod numbers;
pub(crate) mod register;
mod selector;
mod value;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

pub use selector::{Selector, state, status};
pub use value::Value;

pub(crate) use selector::{Dependency, Source};
pub(crate) use value::label;

use crate::{Field, Set, Verdict};

/// One clause of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr<'a> {
    /// `iifname != "lo"`, `ip saddr 10.1.0.0/24`: go on only where the packet agrees.
    Match {
        /// What is looked at.
        selector: Selector,
        /// What it is compared with.
        value: Value,
        /// Go on where it does *not* agree.
        negated: bool,
    },
    /// `iifname . oifname @pairs`: go on only where the set has the packet's key.
    InSet {
        /// What makes the key, in the order of the set's types.
        selectors: &'a [Selector],
        /// The set, of the rule's own table.
        set: Set<'a>,
        /// Go on where the set does *not* have it.
        negated: bool,
    },
    /// `ip saddr vmap @masq4`: the verdict that the map has for the packet, or the next clause.
    Vmap {
        /// What makes the key.
        selectors: &'a [Selector],
        /// The verdict map, of the rule's own table.
        map: Set<'a>,
    },
    /// `dnat ip to meta l4proto . th dport map @port4`: to the address, and the port where the map has one, that the
    /// map has for the packet. The family is that of the map's address.
    DnatMap {
        /// What makes the key.
        selectors: &'a [Selector],
        /// The map, to `[Ipv4Addr]`, `[Ipv6Addr]` or either with `InetService`.
        map: Set<'a>,
    },
    /// `masquerade`: the source becomes the address of the interface that the packet leaves by.
    Masquerade,
    /// `counter`.
    Counter,
    /// `ct label set 93`: this bit of the flow's labels, from 0 to 127; the others stay.
    SetLabel(u8),
    /// `ip saddr set 10.1.0.1`: the same as [`Expr::SetIp6`] for IPv4, with the header's own checksum.
    SetIp4 {
        /// [`Selector::IpSaddr`] or [`Selector::IpDaddr`].
        selector: Selector,
        /// The address.
        address: Ipv4Addr,
    },
    /// `ip6 daddr set fd00:1::1`: writes an address into the packet, of which connection tracking knows nothing. A match
    /// of the same family must stand before it. Transport checksums follow.
    SetIp6 {
        /// [`Selector::Ip6Saddr`] or [`Selector::Ip6Daddr`].
        selector: Selector,
        /// The address.
        address: Ipv6Addr,
    },
    /// `accept`, `drop`, `jump publish`.
    Verdict(Verdict),
}

impl<'a> Expr<'a> {
    /// `selector value`.
    #[must_use]
    pub const fn eq(selector: Selector, field: Field) -> Self {
        Self::Match { selector, value: Value::Is(field), negated: false }
    }

    /// `selector != value`.
    #[must_use]
    pub const fn ne(selector: Selector, field: Field) -> Self {
        Self::Match { selector, value: Value::Is(field), negated: true }
    }

    /// `selector 10.1.0.0/24`. Host bits of `network` are ignored.
    #[must_use]
    pub const fn within(selector: Selector, network: IpNetwork) -> Self {
        Self::Match { selector, value: Value::Within(network), negated: false }
    }

    /// `selector != 10.1.0.0/24`.
    #[must_use]
    pub const fn not_within(selector: Selector, network: IpNetwork) -> Self {
        Self::Match { selector, value: Value::Within(network), negated: true }
    }

    /// `ct state established,related`: any of `bits` is set ([`state`], [`status`]).
    #[must_use]
    pub const fn any_bit(selector: Selector, bits: u32) -> Self {
        Self::Match { selector, value: Value::AnyBit(bits), negated: false }
    }

    /// `ct label 93`: that bit of the flow's labels is set.
    #[must_use]
    pub const fn label(bit: u8) -> Self {
        Self::Match { selector: Selector::CtLabel, value: Value::Label(bit), negated: false }
    }

    /// `@th,96,24 4711`: the datagram is of that VXLAN network. It goes on only where the packet has the whole of the number,
    /// which a first fragment need not. A match of the port, and with it of the protocol, must stand before it.
    #[must_use]
    pub const fn vni(vni: u32) -> Self {
        Self::Match { selector: Selector::Vni, value: Value::Vni(vni), negated: false }
    }

    /// `@th,96,24 != 4711`.
    #[must_use]
    pub const fn not_vni(vni: u32) -> Self {
        Self::Match { selector: Selector::Vni, value: Value::Vni(vni), negated: true }
    }

    /// `fib daddr type local`: the destination is an address of this host.
    #[must_use]
    pub const fn to_local() -> Self {
        Self::Match { selector: Selector::FibDaddrType, value: Value::Local, negated: false }
    }

    /// `fib saddr type local`: the source is an address of this host.
    #[must_use]
    pub const fn from_local() -> Self {
        Self::Match { selector: Selector::FibSaddrType, value: Value::Local, negated: false }
    }

    /// `selectors @set`.
    #[must_use]
    pub const fn in_set(selectors: &'a [Selector], set: Set<'a>) -> Self {
        Self::InSet { selectors, set, negated: false }
    }

    /// `selectors != @set`.
    #[must_use]
    pub const fn not_in_set(selectors: &'a [Selector], set: Set<'a>) -> Self {
        Self::InSet { selectors, set, negated: true }
    }

    /// `selectors vmap @map`.
    #[must_use]
    pub const fn vmap(selectors: &'a [Selector], map: Set<'a>) -> Self {
        Self::Vmap { selectors, map }
    }

    /// `dnat to selectors map @map`.
    #[must_use]
    pub const fn dnat_map(selectors: &'a [Selector], map: Set<'a>) -> Self {
        Self::DnatMap { selectors, map }
    }

    /// `accept`.
    #[must_use]
    pub const fn accept() -> Self {
        Self::Verdict(Verdict::Accept)
    }

    /// `drop`.
    #[must_use]
    pub const fn drop() -> Self {
        Self::Verdict(Verdict::Drop)
    }

    /// `return`.
    #[must_use]
    pub const fn to_caller() -> Self {
        Self::Verdict(Verdict::Return)
    }

    /// `jump chain`.
    pub fn jump(chain: impl Into<String>) -> Self {
        Self::Verdict(Verdict::jump(chain))
    }

    /// `goto chain`.
    pub fn goto(chain: impl Into<String>) -> Self {
        Self::Verdict(Verdict::goto(chain))
    }
}
