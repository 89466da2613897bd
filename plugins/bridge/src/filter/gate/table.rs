//! The table of all gates: its maps, and how its elements and rules are read.

use nftables::{Chain, Data, Element, Family, HookPoint, Kind, Set, Socket, Table, Type, priority};

use crate::error::Result;
use crate::filter::owner::key_of;

pub(super) const TABLE: Table = Table::new(Family::Inet, cni::links::TABLE);
pub(super) const INTO: Set = Set::vmap(TABLE, "into", &[Type::Ifname]);
pub(super) const FROM: Set = Set::vmap(TABLE, "from", &[Type::Ifname]);
/// The ports that have a gate.
pub(crate) const MEMBERS: Set = Set::vmap(TABLE, "members", &[Type::Ifname]);
pub(super) const GATES: Chain = Chain::new(TABLE, "gates");
pub(super) const FORWARD: Chain =
    Chain::base(TABLE, "forward", Kind::Filter, HookPoint::Forward, priority::FILTER);

/// What the comment of each gate's first rule begins with, before the boot's ID.
pub(super) const BOOT: &str = "boot ";

/// The ID of this boot of the host: the first part of the kernel's.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// The boot that a gate's rules are of; `None` where they do not say, as those of older versions.
pub(super) fn mark(socket: &mut Socket, chain: &Chain) -> Result<Option<String>> {
    let rules = socket.rules(chain)?;
    let mut comments = rules.iter().filter_map(|rule| rule.comment.as_deref());
    Ok(comments.find_map(|comment| comment.strip_prefix(BOOT)).map(str::to_owned))
}

/// The ports that lead to a gate, the bridge's own element not among them.
pub(super) fn members(socket: &mut Socket, chain: &str) -> Result<Vec<String>> {
    if socket.is_as_set(&MEMBERS)? != Some(true) {
        return Ok(Vec::new());
    }
    let elements = socket.elements(&MEMBERS)?;
    let of_gate = elements.iter().filter(|found| found.comment.is_some());
    Ok(of_gate.filter(|found| chain_of(found).as_deref() == Some(chain)).filter_map(key_of).collect())
}

/// The chain that an element leads to.
pub(super) fn chain_of(element: &Element) -> Option<String> {
    match &element.data {
        Some(Data::Verdict(verdict)) => verdict.chain().map(str::to_owned),
        _ => None,
    }
}
