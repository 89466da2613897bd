//! Rules: written as a list of clauses, read back as handle, comment, and as much of the clauses as tells what becomes
//! of a packet.

use crate::attr::{self, Writer};
use crate::{Chain, Clause, Expr, Verdict, clause, expr, userdata};

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// By which it is deleted.
    pub handle: u64,
    /// What it was given for comment.
    pub comment: Option<String>,
    /// What it consists of, in order.
    pub clauses: Vec<Clause>,
}

impl Rule {
    /// The attributes of `NFT_MSG_NEWRULE`.
    pub(crate) fn write(attributes: &mut Writer, chain: &Chain, exprs: &[Expr], comment: Option<&str>) {
        write_chain(attributes, chain);
        attributes.nest(NFTA_RULE_EXPRESSIONS, |list| {
            expr::write(list, chain.table, exprs);
        });
        userdata::write(attributes, NFTA_RULE_USERDATA, Vec::new(), userdata::COMMENT, comment);
    }

    /// Reads the attributes of an `NFT_MSG_NEWRULE` answer.
    pub(crate) fn read(attributes: &[u8]) -> Option<Self> {
        let handle = u64::from_be_bytes(attr::find(attributes, NFTA_RULE_HANDLE)?.try_into().ok()?);
        let stored = attr::find(attributes, NFTA_RULE_USERDATA).unwrap_or_default();
        let expressions = attr::find(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
        Some(Self {
            handle,
            comment: userdata::comment(stored, userdata::COMMENT).map(str::to_owned),
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

/// The chain's rules, all of them: what lists or flushes them.
pub(crate) fn write_chain(attributes: &mut Writer, chain: &Chain) {
    attributes.string(NFTA_RULE_TABLE, chain.table.name);
    attributes.string(NFTA_RULE_CHAIN, chain.name);
}

/// One rule of the chain.
pub(crate) fn write_handle(attributes: &mut Writer, chain: &Chain, handle: u64) {
    write_chain(attributes, chain);
    attributes.bytes(NFTA_RULE_HANDLE, &handle.to_be_bytes());
}

pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
