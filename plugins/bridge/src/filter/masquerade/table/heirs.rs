//! Two attachments with one address: networks whose subnets meet, or an address that was given twice. The elements belong to
//! the first, whose record names the second as its heir. Nothing is taken from either before it goes.

use nftables::{Batch, Element, Socket};

use super::layout::{OWNERS, Place, owned_places, owner_element};
use super::owner_record::Record;
use crate::error::Result;
use crate::filter::owner::{interface, key_of};

/// Another owner who has some of the same addresses.
#[derive(Debug)]
pub(super) struct Heir {
    name: String,
    record: Record,
    /// The one who goes names it.
    is_named: bool,
}

impl Heir {
    /// Whether it needs an element. One that is named and whose record had no room for everything may need any.
    fn needs(&self, place: &Place) -> Result<bool> {
        Ok(self.is_named && self.record.is_cut() || owned_places(&self.record)?.contains(place))
    }
}

/// Who needs what an owner has when that one goes: by its record, and where that had no room, by all others'.
pub(super) fn heirs(
    socket: &mut Socket,
    owner: &str,
    record: Option<&Record>,
    going: &[Place],
) -> Result<Vec<Heir>> {
    let readable = record.filter(|record| record.is_readable() && !record.is_cut());
    let mut elements = Vec::new();
    match readable {
        Some(record) => {
            for name in record.heirs() {
                elements.extend(socket.get_element(&OWNERS, &[interface(name)?])?);
            }
        }
        None => elements = socket.elements(&OWNERS)?,
    }
    let heir = |element: Element| {
        let name = key_of(&element).filter(|name| name != owner)?;
        Some(Heir { name, record: Record::of(element.comment), is_named: readable.is_some() })
    };
    let mut heirs: Vec<Heir> = elements.into_iter().filter_map(heir).collect();
    // What another program has written over may name what is no interface: that one needs nothing.
    heirs.retain(|heir| going.iter().any(|place| heir.needs(place).unwrap_or_default()));
    Ok(heirs)
}

/// Adds to a transaction that takes elements out that some of them stay, as an heir's. The first takes what it needs, and
/// its record names those after it.
pub(super) fn bequeath(batch: &mut Batch, going: &[Place], heirs: &[Heir]) -> Result<()> {
    let mut left: Vec<&Place> = going.iter().collect();
    for (at, heir) in heirs.iter().enumerate() {
        let mut taken = Vec::new();
        for place in std::mem::take(&mut left) {
            if heir.needs(place)? { taken.push(place) } else { left.push(place) }
        }
        let Heir { name, record, .. } = heir;
        let comment = format!("{name} {}", record.label());
        for place in &taken {
            batch.create_element(&place.set(), &Element::new(&place.key).comment(comment.trim_end()));
        }
        let mut after = Vec::new();
        for other in &heirs[at + 1..] {
            let mut shares = false;
            for place in &taken {
                shares |= other.needs(place)?;
            }
            if shares && !record.heirs().any(|heir| heir == other.name) {
                after.push(other.name.as_str());
            }
        }
        if !after.is_empty() {
            let record = record.with_heirs(record.heirs().chain(after));
            batch.del_element(&OWNERS, &[interface(name)?]);
            batch.create_element(&OWNERS, &owner_element(name, &record)?);
        }
    }
    Ok(())
}
