//! The place of each member's lines in the block of its tenant, as the registry keeps it.

use registry::{Network, Slot};

/// In bytes: no registry holds as many members as would fill it.
const MAX_BLOCK: usize = 16 << 20;

/// The slots of a network in their order, each with the index of its member.
pub(crate) fn sorted(network: &Network) -> Vec<(Slot, usize)> {
    let members = network.members.iter().enumerate();
    let mut slots: Vec<(Slot, usize)> =
        members.filter_map(|(index, member)| Some((member.slot?, index))).collect();
    // A member without addresses has an empty slot, where another one may begin.
    slots.sort_unstable_by_key(|(slot, _)| (slot.start, slot.length));
    slots
}

/// Takes slots away that overlap others or exceed the longest block, as only a damaged registry has them. Returns whether
/// there were any.
pub(crate) fn take_impossible(network: &mut Network) -> bool {
    let mut end = 0;
    let mut impossible = Vec::new();
    for (slot, index) in sorted(network) {
        match slot.start.checked_add(slot.length) {
            Some(own) if slot.start >= end && own <= MAX_BLOCK => end = own,
            _ => impossible.push(index),
        }
    }
    for index in &impossible {
        network.members[*index].slot = None;
    }
    !impossible.is_empty()
}

/// Takes the first gap between slots that has room for this many bytes, or what follows the last one. `taken` is in order.
pub(crate) fn allot(taken: &mut Vec<Slot>, mut length: usize) -> Slot {
    let mut start = 0;
    let mut before = taken.len();
    for (index, slot) in taken.iter().enumerate() {
        let gap = slot.start - start;
        if gap >= length {
            // A gap of one byte would have no room for a comment.
            length += usize::from(gap == length + 1);
            before = index;
            break;
        }
        start = slot.end();
    }
    let slot = Slot { start, length };
    taken.insert(before, slot);
    slot
}

/// The gaps between sorted slots that overlap this one, which is no member's any more. What follows the last slot is no gap.
pub(crate) fn gaps_in(slots: &[(Slot, usize)], gone: Slot) -> Vec<Slot> {
    let mut gaps = Vec::new();
    let first = slots.partition_point(|(slot, _)| slot.start <= gone.start);
    let mut start = first.checked_sub(1).map_or(0, |before| slots[before].0.end());
    for (slot, _) in &slots[first..] {
        if start >= gone.end() {
            break;
        }
        if slot.start > start {
            gaps.push(Slot { start, length: slot.start - start });
        }
        start = slot.end();
    }
    gaps
}
