//! CHECK and STATUS: what ADD set up against what the programs print.

use iptables::{Iptables, Variant};

use super::layout::{Layout, is_like};
use super::{DNAT, TABLE};
use crate::backend::Wanted;
use crate::error::{self, Error};

/// Names what differs from what [`super::add`] set up, or the reference: where the administrator's choice of a program keeps it,
/// or in the variant that is named.
pub(crate) fn check(wanted: &Wanted, variant: Option<Variant>) -> Result<(), Error> {
    for layout in Layout::of_families(wanted)? {
        let chosen = || Iptables::find(layout.family);
        let named = variant.map(|variant| Iptables::find_variant(layout.family, variant));
        let program = named.map_or_else(chosen, |program| program.or_else(|_| chosen()))?;
        let differs = |chain: &str, words: &[String]| {
            let (path, rule) = (program.path().display(), words.join(" "));
            error::differs(format!("{path} -t {TABLE} has no rule \"{rule}\" in chain {chain}"))
        };
        for (chain, words, _) in layout.common_rules() {
            let there = program.rules(TABLE, chain)?.unwrap_or_default();
            if !there.iter().any(|rule| is_like(rule, &words)) {
                return differs(chain, &words);
            }
        }
        let base = program.rules(TABLE, DNAT)?.unwrap_or_default();
        for (ports, words) in &layout.entries {
            // The reference names the ports of either family in both.
            if !ports.iter().all(|port| base.iter().any(|rule| layout.leads(rule, port))) {
                return differs(DNAT, words);
            }
        }
        let own = program.rules(TABLE, &layout.chain)?.unwrap_or_default();
        if let Some(words) = layout.rules.iter().find(|words| !own.iter().any(|rule| rule.words() == *words))
        {
            return differs(&layout.chain, words);
        }
    }
    Ok(())
}

/// Whether the programs are there and work.
pub(crate) fn status() -> Result<(), Error> {
    Ok(Iptables::expect_chain(TABLE, "PREROUTING")?)
}
