//! Clauses to kernel expressions: one `NFTA_LIST_ELEM` of name and attributes each.

use std::net::IpAddr;

use wire::Writer;

#[allow(clippy::wildcard_imports, reason = "nothing but the numbers that this file writes")]
use crate::expr::numbers::*;
use crate::expr::register::{self, FIRST, SECOND};
use crate::expr::{Dependency, NFT_CT_LABELS, NFT_META_MARK, Source, label};
use crate::{Expr, Family, Field, Reject, Selector, Set, Table, Type, Value, key};

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
            Expr::Dnat { address, port } => self.dnat(*address, *port),
            Expr::Masquerade => self.push("masq", |_| {}),
            Expr::Counter => self.push("counter", |counter| {
                counter.bytes(NFTA_COUNTER_BYTES, &[0; 8]);
                counter.bytes(NFTA_COUNTER_PACKETS, &[0; 8]);
            }),
            Expr::Reject(reject) => self.reject(*reject),
            Expr::SetMark(mark) => {
                self.immediate(FIRST, &mark.to_ne_bytes());
                self.set_mark();
            }
            Expr::OrMark(bits) => {
                self.load(Selector::Mark, FIRST, 4);
                self.bitwise(&(!bits).to_ne_bytes(), &bits.to_ne_bytes());
                self.set_mark();
            }
            Expr::SetLabel(bit) => {
                self.immediate(FIRST, &label(*bit));
                self.push("ct", |ct| {
                    ct.be32(NFTA_KEY, NFT_CT_LABELS);
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
            Value::Begins(_) => selector.kind() == Some(Type::Ifname),
            Value::AnyBit(_) | Value::Masked { .. } => {
                matches!(selector, Selector::CtState | Selector::CtStatus | Selector::CtMark | Selector::Mark)
            }
            Value::Label(_) => selector == Selector::CtLabel,
            Value::AddressType(_) => matches!(selector, Selector::FibSaddrType | Selector::FibDaddrType),
        };
        self.refuse_unless(fits, "value is not of the selector's type");
        let comparison = value.comparison();
        self.require(selector);
        self.load(selector, FIRST, comparison.bytes.len());
        if let Some(mask) = &comparison.mask {
            self.bitwise(mask, &vec![0; mask.len()]);
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
        let keyed = |key: u32| {
            move |load: &mut Writer| {
                load.be32(NFTA_KEY, key);
                load.be32(NFTA_DREG, register);
            }
        };
        match source {
            Source::Meta(key) => self.push("meta", keyed(key)),
            Source::Ct(key) => self.push("ct", keyed(key)),
            Source::CtOriginal(key) => self.push("ct", |load| {
                load.be32(NFTA_KEY, key);
                load.be32(NFTA_DREG, register);
                load.bytes(NFTA_CT_DIRECTION, &[IP_CT_DIR_ORIGINAL]);
            }),
            Source::Payload { base, offset } => self.push("payload", |load| {
                load.be32(NFTA_PAYLOAD_DREG, register);
                load.be32(NFTA_PAYLOAD_BASE, base);
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

    fn bitwise(&mut self, mask: &[u8], xor: &[u8]) {
        self.push("bitwise", |bitwise| {
            bitwise.be32(NFTA_BITWISE_SREG, FIRST);
            bitwise.be32(NFTA_BITWISE_DREG, FIRST);
            bitwise.be32(NFTA_BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            bitwise.nest(NFTA_BITWISE_MASK, |data| data.bytes(NFTA_DATA_VALUE, mask));
            bitwise.nest(NFTA_BITWISE_XOR, |data| data.bytes(NFTA_DATA_VALUE, xor));
        });
    }

    fn immediate(&mut self, register: u32, bytes: &[u8]) {
        self.push("immediate", |immediate| {
            immediate.be32(NFTA_IMMEDIATE_DREG, register);
            immediate.nest(NFTA_IMMEDIATE_DATA, |data| data.bytes(NFTA_DATA_VALUE, bytes));
        });
    }

    fn set_mark(&mut self) {
        self.push("meta", |meta| {
            meta.be32(NFTA_KEY, NFT_META_MARK);
            meta.be32(NFTA_META_SREG, FIRST);
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
        let (family, with_port) = match map.data {
            Some([Type::Ipv4Addr]) => (Family::Ip, false),
            Some([Type::Ipv4Addr, Type::InetService]) => (Family::Ip, true),
            Some([Type::Ipv6Addr]) => (Family::Ip6, false),
            Some([Type::Ipv6Addr, Type::InetService]) => (Family::Ip6, true),
            _ => {
                return self.list.refuse("map does not lead to an address, or address and port");
            }
        };
        self.load_key(selectors, map);
        self.lookup(map, Some(FIRST), false);
        let address = if family == Family::Ip { Type::Ipv4Addr } else { Type::Ipv6Addr };
        let slots = u32::try_from(register::slots(address.size())).unwrap_or(u32::MAX);
        self.nat(family, with_port.then(|| register::number(slots)), false);
    }

    fn dnat(&mut self, address: IpAddr, port: Option<u16>) {
        self.immediate(FIRST, &key::encode(&[Field::from(address)]));
        if let Some(port) = port {
            self.immediate(SECOND, &port.to_be_bytes());
        }
        let family = if address.is_ipv4() { Family::Ip } else { Family::Ip6 };
        self.nat(family, port.map(|_| SECOND), true);
    }

    /// A translation to the address in the first register, and to the port in `port`.
    fn nat(&mut self, family: Family, port: Option<u32>, literal: bool) {
        self.push("nat", |nat| {
            nat.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
            nat.be32(NFTA_NAT_FAMILY, family.number().into());
            nat.be32(NFTA_NAT_REG_ADDR_MIN, FIRST);
            if let Some(register) = port {
                nat.be32(NFTA_NAT_REG_PROTO_MIN, register);
                if literal {
                    nat.be32(NFTA_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
                }
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
        self.immediate(FIRST, &bytes);
        // The header of IPv6 has no checksum of its own.
        let (own, at) = match address {
            IpAddr::V4(_) => (NFT_PAYLOAD_CSUM_INET, IPV4_CHECKSUM),
            IpAddr::V6(_) => (NFT_PAYLOAD_CSUM_NONE, 0),
        };
        self.push("payload", |write| {
            write.be32(NFTA_PAYLOAD_SREG, FIRST);
            write.be32(NFTA_PAYLOAD_BASE, base);
            write.be32(NFTA_PAYLOAD_OFFSET, offset);
            write.be32(NFTA_PAYLOAD_LEN, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            write.be32(NFTA_PAYLOAD_CSUM_TYPE, own);
            write.be32(NFTA_PAYLOAD_CSUM_OFFSET, at);
            write.be32(NFTA_PAYLOAD_CSUM_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR);
        });
    }

    fn reject(&mut self, reject: Reject) {
        // Codes of ICMPX (enum nft_reject_inet_code) for tables of both families, else of the family's ICMP.
        let (kind, code) = match (reject, self.table.family) {
            (Reject::TcpReset, _) => (NFT_REJECT_TCP_RST, 0),
            (Reject::PortUnreachable, Family::Ip) => (NFT_REJECT_ICMP_UNREACH, ICMP_PORT_UNREACH),
            (Reject::PortUnreachable, Family::Ip6) => (NFT_REJECT_ICMP_UNREACH, ICMPV6_PORT_UNREACH),
            (Reject::PortUnreachable, _) => (NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH),
            (Reject::AdminProhibited, Family::Ip) => (NFT_REJECT_ICMP_UNREACH, ICMP_PKT_FILTERED),
            (Reject::AdminProhibited, Family::Ip6) => (NFT_REJECT_ICMP_UNREACH, ICMPV6_ADM_PROHIBITED),
            (Reject::AdminProhibited, _) => (NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED),
        };
        self.push("reject", |expr| {
            expr.be32(NFTA_REJECT_TYPE, kind);
            expr.bytes(NFTA_REJECT_ICMP_CODE, &[code]);
        });
    }
}
