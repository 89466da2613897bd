//! The clauses of an existing rule, written by `nft`, iptables or this crate, as far as this crate understands them.

use wire::attribute::{attributes, find, find_be32, find_string};

use crate::expr::Source;
use crate::expr::numbers::{
    NFT_LOOKUP_F_INV, NFT_NAT_DNAT, NFTA_BITWISE_MASK, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_DATA_VALUE,
    NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_KEY, NFTA_LIST_ELEM,
    NFTA_LOOKUP_DREG, NFTA_LOOKUP_FLAGS, NFTA_LOOKUP_SET, NFTA_NAT_REG_ADDR_MIN, NFTA_NAT_REG_PROTO_MIN,
    NFTA_NAT_TYPE, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET,
};
use crate::expr::register::VERDICT;
use crate::verdict::NFTA_DATA_VERDICT;
use crate::{Selector, Verdict};

/// One clause of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// A comparison for equality: the packet goes on where it agrees.
    Compare {
        /// What is compared; `None` for what [`Selector`] has no name for.
        selector: Option<Selector>,
        /// The bits of it that count, where not all do.
        mask: Option<Vec<u8>>,
        /// Goes on where it does *not* agree.
        negated: bool,
        /// What it is compared with: an address or its first bytes, an interface name with or without its NUL.
        bytes: Vec<u8>,
    },
    /// A lookup in a set, or in a map of verdicts: the packet goes on where its key is there, or has the verdict that is
    /// kept with the key.
    Lookup {
        /// What is looked for; `None` for what [`Selector`] has no name for, or of which only some bits count.
        selector: Option<Selector>,
        /// The set's name, in the rule's table.
        set: String,
        /// Goes on where it is *not* there.
        negated: bool,
    },
    /// An extension of iptables, match or target (`nft_compat`).
    Extension {
        /// Its name: `conntrack`, `comment`, `REJECT`.
        name: String,
        /// Its own structure, as in its kernel header.
        info: Vec<u8>,
    },
    /// A verdict.
    Verdict(Verdict),
    /// `dnat to` an address that the rule itself names.
    Dnat {
        /// The address, in as many bytes as its family has.
        address: Vec<u8>,
        /// The port; `None` for the packet's own.
        port: Option<u16>,
    },
    /// Any other, by the kernel's name for it: `counter`, `lookup`, `masq`, `reject`.
    Other(String),
}

/// Reads the content of `NFTA_RULE_EXPRESSIONS`. A load is no clause of its own, but part of the comparison after it.
pub(crate) fn read(expressions: &[u8]) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let (mut loaded, mut mask) = (None, None);
    // What the registers hold, for the translation that takes it from there.
    let mut registers: Vec<(u32, Vec<u8>)> = Vec::new();
    for (_, expression) in attributes(expressions).filter(|(kind, _)| *kind == NFTA_LIST_ELEM) {
        let name = find_string(expression, NFTA_EXPR_NAME).unwrap_or_default();
        let data = find(expression, NFTA_EXPR_DATA).unwrap_or_default();
        let number = |attribute| find_be32(data, attribute).unwrap_or_default();
        let value = |attribute| Some(find(find(data, attribute)?, NFTA_DATA_VALUE)?.to_vec());
        let source = match name {
            "meta" => Some(Source::Meta(number(NFTA_KEY).cast_signed())),
            "ct" => Some(Source::Ct(number(NFTA_KEY).cast_signed())),
            "payload" => {
                let base = number(NFTA_PAYLOAD_BASE).cast_signed();
                Some(Source::Payload { base, offset: number(NFTA_PAYLOAD_OFFSET) })
            }
            _ => None,
        };
        if let Some(source) = source {
            (loaded, mask) = (Selector::of(source), None);
            continue;
        }
        match name {
            "bitwise" => mask = value(NFTA_BITWISE_MASK),
            "cmp" if number(NFTA_CMP_OP) <= NFT_CMP_NEQ => clauses.push(Clause::Compare {
                selector: loaded,
                mask: mask.clone(),
                negated: number(NFTA_CMP_OP) == NFT_CMP_NEQ,
                bytes: value(NFTA_CMP_DATA).unwrap_or_default(),
            }),
            "lookup" if !is_data(data) => {
                clauses.push(Clause::Lookup {
                    selector: loaded.filter(|_| mask.is_none()),
                    set: find_string(data, NFTA_LOOKUP_SET).unwrap_or_default().to_owned(),
                    negated: number(NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV != 0,
                });
            }
            "match" | "target" => clauses.push(Clause::Extension {
                name: find_string(data, NFTA_MATCH_NAME).unwrap_or_default().to_owned(),
                info: find(data, NFTA_MATCH_INFO).unwrap_or_default().to_vec(),
            }),
            "immediate" if number(NFTA_IMMEDIATE_DREG) == VERDICT => {
                let verdict = find(data, NFTA_IMMEDIATE_DATA).and_then(|data| find(data, NFTA_DATA_VERDICT));
                clauses.extend(verdict.and_then(Verdict::read).map(Clause::Verdict));
            }
            "immediate" => {
                let value = find(data, NFTA_IMMEDIATE_DATA).and_then(|data| find(data, NFTA_DATA_VALUE));
                registers.push((number(NFTA_IMMEDIATE_DREG), value.unwrap_or_default().to_vec()));
            }
            "nat" if number(NFTA_NAT_TYPE) == NFT_NAT_DNAT => clauses.push(dnat(data, &registers)),
            _ => {
                // It may load something that has no name here.
                (loaded, mask) = (None, None);
                clauses.push(Clause::Other(name.to_owned()));
            }
        }
    }
    clauses
}

/// Whether a lookup in a map loads its data, rather than a verdict.
fn is_data(lookup: &[u8]) -> bool {
    find_be32(lookup, NFTA_LOOKUP_DREG).is_some_and(|register| register != VERDICT)
}

/// A translation, by what the registers hold; where it is by a map, they hold nothing that was read.
fn dnat(data: &[u8], registers: &[(u32, Vec<u8>)]) -> Clause {
    let held = |attribute| {
        let wanted = find_be32(data, attribute)?;
        registers.iter().rfind(|(register, _)| *register == wanted).map(|(_, value)| value.clone())
    };
    let port = held(NFTA_NAT_REG_PROTO_MIN).and_then(|value| value.first_chunk().copied());
    match held(NFTA_NAT_REG_ADDR_MIN) {
        Some(address) => Clause::Dnat { address, port: port.map(u16::from_be_bytes) },
        None => Clause::Other("nat".to_owned()),
    }
}

const NFT_CMP_NEQ: u32 = 1;
/// The same as `NFTA_TARGET_NAME` and `NFTA_TARGET_INFO` (`linux/netfilter/nf_tables_compat.h`).
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
