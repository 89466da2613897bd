//! Rules. They are written as a list of expressions, and read as handle, comment, and the clauses that decide what
//! happens to a packet.

use wire::Writer;
use wire::attribute::{NESTED, attributes, find, find_string, u16_at};

use crate::expr::numbers::NFTA_EXPR_NAME;
use crate::table::NFTA_TABLE;
use crate::{Chain, Clause, Expr, Table, Verdict, clause, encode, userdata};

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The number by which it is deleted.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// What it consists of, in order.
    pub clauses: Vec<Clause>,
}

impl Rule {
    /// The attributes of `NFT_MSG_NEWRULE`.
    pub(crate) fn write(attributes: &mut Writer, chain: &Chain, exprs: &[Expr], comment: Option<&str>) {
        write_chain(attributes, chain);
        attributes.nest(NFTA_RULE_EXPRESSIONS, |list| {
            encode::write(list, chain.table, exprs);
        });
        userdata::write_comment(attributes, NFTA_RULE_USERDATA, comment);
    }

    /// Reads the attributes of an `NFT_MSG_NEWRULE` answer.
    pub(crate) fn read(attributes: &[u8]) -> Option<Self> {
        let handle = u64::from_be_bytes(find(attributes, NFTA_RULE_HANDLE)?.try_into().ok()?);
        let stored = find(attributes, NFTA_RULE_USERDATA).unwrap_or_default();
        let expressions = find(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
        Some(Self {
            handle,
            comment: userdata::comment(stored).map(str::to_owned),
            clauses: clause::read(expressions),
        })
    }

    /// Its comment as `nft` has it, or the extension of iptables (`struct xt_comment_info`), which programs that load a
    /// saved ruleset anew make of the former.
    #[must_use]
    pub fn iptables_comment(&self) -> Option<String> {
        let extension = self.clauses.iter().find_map(|clause| match clause {
            Clause::Extension { name, info } if name == "comment" => info.split(|byte| *byte == 0).next(),
            _ => None,
        });
        extension.map(|text| String::from_utf8_lossy(text).into_owned()).or_else(|| self.comment.clone())
    }

    /// Whether it leads to a chain.
    #[must_use]
    pub fn leads_to(&self, chain: &str) -> bool {
        matches!(self.verdict(), Some(Verdict::Jump(to) | Verdict::Goto(to)) if to == chain)
    }

    /// The verdict that it ends with, where it has one of its own.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.clauses.iter().rev().find_map(|clause| match clause {
            Clause::Verdict(verdict) => Some(verdict),
            _ => None,
        })
    }
}

/// A rule as the kernel has it, with all its expressions, to be compared with one that could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeRule {
    /// What can be read of it.
    pub rule: Rule,
    /// The content of `NFTA_RULE_EXPRESSIONS`.
    expressions: Vec<u8>,
}

impl WholeRule {
    /// Reads the attributes of an `NFT_MSG_NEWRULE` answer.
    pub(crate) fn read(attributes: &[u8]) -> Option<Self> {
        let expressions = find(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default().to_vec();
        Some(Self { rule: Rule::read(attributes)?, expressions })
    }

    /// Whether it is the rule that these clauses make in a table, to the last bit of it. Comments do not count, nor what a
    /// counter has counted.
    #[must_use]
    pub fn consists_of(&self, table: Table, exprs: &[Expr]) -> bool {
        let mut writer = Writer::default();
        encode::write(&mut writer, table, exprs);
        let (mut found, mut wanted) = (attributes(&self.expressions), attributes(&writer.buffer));
        loop {
            match (found.next(), wanted.next()) {
                (None, None) => return true,
                (Some((_, found)), Some((_, wanted)))
                    if are_counters(found, wanted) || agrees(found, wanted) => {}
                _ => return false,
            }
        }
    }
}

/// Whether both expressions count packets.
fn are_counters(found: &[u8], wanted: &[u8]) -> bool {
    [found, wanted].iter().all(|expression| find_string(expression, NFTA_EXPR_NAME) == Some("counter"))
}

/// Whether `found` is how the kernel shows `wanted`: the same attributes with the same payloads, and apart from them only
/// zeros, such as flags of which none is set.
fn agrees(found: &[u8], wanted: &[u8]) -> bool {
    let nothing = |payload: &[u8]| payload.iter().all(|byte| *byte == 0);
    marked(wanted).all(|(kind, is_nest, payload)| match find(found, kind) {
        Some(found) if is_nest => agrees(found, payload),
        Some(found) => found == payload,
        None => false,
    }) && attributes(found).all(|(kind, payload)| find(wanted, kind).is_some() || nothing(payload))
}

/// The attributes that a [`Writer`] wrote, with whether they are nests.
fn marked(mut bytes: &[u8]) -> impl Iterator<Item = (u16, bool, &[u8])> {
    std::iter::from_fn(move || {
        let kind = u16_at(bytes, 2)?;
        let (plain, payload) = attributes(bytes).next()?;
        bytes = bytes.get((4 + payload.len()).next_multiple_of(4)..).unwrap_or_default();
        Some((plain, kind & NESTED != 0, payload))
    })
}

/// The chain's rules, all of them: what lists or flushes them.
pub(crate) fn write_chain(attributes: &mut Writer, chain: &Chain) {
    attributes.string(NFTA_TABLE, chain.table.name);
    attributes.string(NFTA_RULE_CHAIN, chain.name);
}

/// One rule of the chain.
pub(crate) fn write_handle(attributes: &mut Writer, chain: &Chain, handle: u64) {
    write_chain(attributes, chain);
    attributes.bytes(NFTA_RULE_HANDLE, &handle.to_be_bytes());
}

pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, Field, Selector, Set, Type, expr};

    const TABLE: Table = Table::new(Family::Inet, "cleat");
    const PORTS: Set = Set::new(TABLE, "ports", &[Type::Ifname]);

    /// As the kernel answers: with the flags of a lookup, which are written only where there are some.
    fn answered(exprs: &[Expr], flags: Option<u32>) -> WholeRule {
        let mut list = Writer::default();
        encode::write(&mut list, TABLE, exprs);
        let mut expressions = Writer::default();
        for (kind, expression) in attributes(&list.buffer) {
            let name = wire::attribute::find_string(expression, expr::numbers::NFTA_EXPR_NAME).unwrap();
            let data = find(expression, expr::numbers::NFTA_EXPR_DATA).unwrap();
            expressions.nest(kind, |expression| {
                expression.string(expr::numbers::NFTA_EXPR_NAME, name);
                expression.nest(expr::numbers::NFTA_EXPR_DATA, |nest| {
                    nest.raw(data);
                    if let Some(flags) = flags.filter(|_| name == "lookup") {
                        nest.be32(expr::numbers::NFTA_LOOKUP_FLAGS, flags);
                    }
                });
            });
        }
        let rule = Rule { handle: 1, comment: None, clauses: Vec::new() };
        WholeRule { rule, expressions: expressions.buffer }
    }

    #[test]
    fn a_rule_is_told_from_one_that_differs_by_a_bit() {
        let exprs = [Expr::in_set(&[Selector::Iifname], PORTS), Expr::drop()];
        assert!(answered(&exprs, Some(0)).consists_of(TABLE, &exprs));
        assert!(!answered(&exprs, Some(expr::numbers::NFT_LOOKUP_F_INV)).consists_of(TABLE, &exprs));
        for other in [
            &[Expr::in_set(&[Selector::Oifname], PORTS), Expr::drop()][..],
            &[Expr::in_set(&[Selector::Iifname], PORTS), Expr::accept()],
            &[Expr::in_set(&[Selector::Iifname], PORTS)],
            &[Expr::eq(Selector::Iifname, Field::Ifname(crate::Ifname::new("lo").unwrap())), Expr::drop()],
        ] {
            assert!(!answered(&exprs, Some(0)).consists_of(TABLE, other), "{other:?}");
            assert!(!answered(other, Some(0)).consists_of(TABLE, &exprs), "{other:?}");
        }
    }
}
