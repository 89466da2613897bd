//! Clauses to kernel expressions: one `NFTA_LIST_ELEM` of name and attributes each.

use std::net::IpAddr;

use nix::libc::{NFT_CT_LABELS, c_int};
use wire::Writer;

#[allow(clippy::wildcard_imports, reason = "nothing but the numbers that this file writes")]
use crate::expr::numbers::*;
use crate::expr::register::{self, FIRST};
use crate::expr::{Dependency, Source, label};
use crate::{Expr, Family, Field, Selector, Set, Table, Type, Value, key};

/// Writes the expressions of one rule in `table`.
pub(crate) fn write(list: &mut Writer, table: Table, exprs: &[Expr]) {
    let mut encoder = Encoder { list, table, known: Vec::new() };
    for expr in exprs {
        encoder.expr(expr);
    }
}

struct Encoder<'w, 't> {
    list: &'w mut Writer,
    table: Table<'t>,
    /// What the rule has tested already.
    known: Vec<Dependency>,
}

impl Encoder<'_, '_> {
    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Match { selector, value, negated } => self.compare(*selector, *value, *negated),
            Expr::InSet { selectors, set, negated } => {
                self.load_key(selectors, set);
                self.lookup(set, None, *negated);
            }
            Expr::Vmap { selectors, map } => {
                self.refuse_unless(map.is_vmap(), "map has no verdicts");
                self.load_key(selectors, map);
                self.lookup(map, Some(register::VERDICT), false);
            }
            Expr::DnatMap { selectors, map } => self.dnat_map(selectors, map),
            Expr::Masquerade => self.push("masq", |_| {}),
            Expr::Counter => self.push("counter", |counter| {
                counter.bytes(NFTA_COUNTER_BYTES, &[0; 8]);
                counter.bytes(NFTA_COUNTER_PACKETS, &[0; 8]);
            }),
            Expr::SetLabel(bit) => {
                self.immediate(&label(*bit));
                self.push("ct", |ct| {
                    ct.be32(NFTA_KEY, NFT_CT_LABELS.cast_unsigned());
                    ct.be32(NFTA_CT_SREG, FIRST);
                });
            }
            Expr::SetIp4 { selector, address } => self.set_ip(*selector, IpAddr::V4(*address)),
            Expr::SetIp6 { selector, address } => self.set_ip(*selector, IpAddr::V6(*address)),
            Expr::Verdict(verdict) => self.push("immediate", |immediate| {
                immediate.be32(NFTA_IMMEDIATE_DREG, register::VERDICT);
                immediate.nest(NFTA_IMMEDIATE_DATA, |data| verdict.write(data));
            }),
        }
    }

    fn push(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.list.nest(NFTA_LIST_ELEM, |expr| {
            expr.string(NFTA_EXPR_NAME, name);
            expr.nest(NFTA_EXPR_DATA, fill);
        });
    }

    fn refuse_unless(&mut self, fits: bool, reason: &'static str) {
        if !fits {
            self.list.refuse(reason);
        }
    }

    fn compare(&mut self, selector: Selector, value: Value, negated: bool) {
        let fits = match value {
            Value::Is(field) => selector.kind() == Some(field.kind()),
            Value::Within(network) => {
                selector.kind() == Some(if network.is_ipv4() { Type::Ipv4Addr } else { Type::Ipv6Addr })
            }
            Value::AnyBit(_) => {
                matches!(selector, Selector::CtState | Selector::CtStatus | Selector::Mark)
            }
            Value::Label(_) => selector == Selector::CtLabel,
            Value::Vni(vni) => selector == Selector::Vni && vni < 1 << 24,
            Value::Local => matches!(selector, Selector::FibSaddrType | Selector::FibDaddrType),
        };
        self.refuse_unless(fits, "value is not of the selector's type");
        let comparison = value.comparison();
        self.require(selector);
        self.load(selector, FIRST, comparison.bytes.len());
        if let Some(mask) = &comparison.mask {
            self.mask(mask);
        }
        self.cmp(negated != comparison.inverted, &comparison.bytes);
    }

    /// Tests what `selector` depends on, once a rule.
    fn require(&mut self, selector: Selector) {
        for dependency in selector.dependencies() {
            if self.known.contains(dependency) {
                continue;
            }
            self.known.push(*dependency);
            if let Some((key, bytes)) = dependency.test(self.table.family) {
                self.load_from(Source::Meta(key), FIRST, 0);
                self.cmp(false, &bytes);
            }
        }
    }

    /// Loads what makes a key of `set`, after all that any part of it depends on.
    fn load_key(&mut self, selectors: &[Selector], set: &Set) {
        let types = selectors.iter().map(|selector| selector.kind());
        self.refuse_unless(
            types.eq(set.key.iter().copied().map(Some)),
            "selectors are not of the set's types",
        );
        self.refuse_unless(set.table == self.table, "set is of another table");
        for &selector in selectors {
            self.require(selector);
        }
        match register::layout(selectors) {
            None => self.list.refuse("key is longer than the kernel's registers"),
            Some(registers) => {
                for (&selector, register) in selectors.iter().zip(registers) {
                    self.load(selector, register, selector.size());
                }
            }
        }
    }

    fn load(&mut self, selector: Selector, register: u32, length: usize) {
        self.load_from(selector.source(), register, length);
    }

    fn load_from(&mut self, source: Source, register: u32, length: usize) {
        // meta and ct number their attributes alike: NFTA_META_DREG, NFTA_CT_DREG; NFTA_META_KEY, NFTA_CT_KEY.
        let keyed = |key: c_int| {
            move |load: &mut Writer| {
                load.be32(NFTA_KEY, key.cast_unsigned());
                load.be32(NFTA_DREG, register);
            }
        };
        match source {
            Source::Meta(key) => self.push("meta", keyed(key)),
            Source::Ct(key) => self.push("ct", keyed(key)),
            Source::CtOriginal(key) => self.push("ct", |load| {
                keyed(key)(load);
                load.bytes(NFTA_CT_DIRECTION, &[IP_CT_DIR_ORIGINAL]);
            }),
            Source::Payload { base, offset } => self.push("payload", |load| {
                load.be32(NFTA_PAYLOAD_DREG, register);
                load.be32(NFTA_PAYLOAD_BASE, base.cast_unsigned());
                load.be32(NFTA_PAYLOAD_OFFSET, offset);
                load.be32(NFTA_PAYLOAD_LEN, u32::try_from(length).unwrap_or(u32::MAX));
            }),
            Source::FibAddrtype(flags) => self.push("fib", |load| {
                load.be32(NFTA_FIB_DREG, register);
                load.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
                load.be32(NFTA_FIB_FLAGS, flags);
            }),
        }
    }

    fn cmp(&mut self, unequal: bool, bytes: &[u8]) {
        self.push("cmp", |cmp| {
            cmp.be32(NFTA_CMP_SREG, FIRST);
            cmp.be32(NFTA_CMP_OP, u32::from(unequal));
            cmp.nest(NFTA_CMP_DATA, |data| data.bytes(NFTA_DATA_VALUE, bytes));
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        self.push("bitwise", |bitwise| {
            bitwise.be32(NFTA_BITWISE_SREG, FIRST);
            bitwise.be32(NFTA_BITWISE_DREG, FIRST);
            bitwise.be32(NFTA_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            bitwise.nest(NFTA_BITWISE_MASK, |data| data.bytes(NFTA_DATA_VALUE, mask));
            bitwise.nest(NFTA_BITWISE_XOR, |data| data.bytes(NFTA_DATA_VALUE, &vec![0; mask.len()]));
        });
    }

    fn immediate(&mut self, bytes: &[u8]) {
        self.push("immediate", |immediate| {
            immediate.be32(NFTA_IMMEDIATE_DREG, FIRST);
            immediate.nest(NFTA_IMMEDIATE_DATA, |data| data.bytes(NFTA_DATA_VALUE, bytes));
        });
    }

    /// `into`: the register that a map's data go to.
    fn lookup(&mut self, set: &Set, into: Option<u32>, negated: bool) {
        self.push("lookup", |lookup| {
            lookup.be32(NFTA_LOOKUP_SREG, FIRST);
            if let Some(register) = into {
                lookup.be32(NFTA_LOOKUP_DREG, register);
            }
            lookup.string(NFTA_LOOKUP_SET, set.name);
            if negated {
                lookup.be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
            }
        });
    }

    fn dnat_map(&mut self, selectors: &[Selector], map: &Set) {
        // The port comes after the address, which takes one slot or four.
        let (family, port) = match map.data {
            Some([Type::Ipv4Addr]) => (Family::Ip, None),
            Some([Type::Ipv4Addr, Type::InetService]) => (Family::Ip, Some(register::number(1))),
            Some([Type::Ipv6Addr]) => (Family::Ip6, None),
            Some([Type::Ipv6Addr, Type::InetService]) => (Family::Ip6, Some(register::number(4))),
            _ => {
                return self.list.refuse("map does not lead to an address, or address and port");
            }
        };
        self.load_key(selectors, map);
        self.lookup(map, Some(FIRST), false);
        self.push("nat", |nat| {
            nat.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
            nat.be32(NFTA_NAT_FAMILY, family.number().into());
            nat.be32(NFTA_NAT_REG_ADDR_MIN, FIRST);
            if let Some(register) = port {
                nat.be32(NFTA_NAT_REG_PROTO_MIN, register);
            }
        });
    }

    fn set_ip(&mut self, selector: Selector, address: IpAddr) {
        let field = Field::from(address);
        self.refuse_unless(selector.kind() == Some(field.kind()), "selector is no address of that family");
        let Source::Payload { base, offset } = selector.source() else {
            return self.list.refuse("selector is no address");
        };
        let bytes = key::encode(&[field]);
        self.immediate(&bytes);
        // The header of IPv6 has no checksum of its own.
        let (own, at) = match address {
            IpAddr::V4(_) => (NFT_PAYLOAD_CSUM_INET, IPV4_CHECKSUM),
            IpAddr::V6(_) => (NFT_PAYLOAD_CSUM_NONE, 0),
        };
        self.push("payload", |write| {
            write.be32(NFTA_PAYLOAD_SREG, FIRST);
            write.be32(NFTA_PAYLOAD_BASE, base.cast_unsigned());
            write.be32(NFTA_PAYLOAD_OFFSET, offset);
            write.be32(NFTA_PAYLOAD_LEN, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            write.be32(NFTA_PAYLOAD_CSUM_TYPE, own);
            write.be32(NFTA_PAYLOAD_CSUM_OFFSET, at);
            write.be32(NFTA_PAYLOAD_CSUM_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR);
        });
    }
}
