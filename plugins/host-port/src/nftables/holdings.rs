//! What an attachment has in the table, read back by its owner record.

use nftables::{Element, Field, Set, Socket, key};

use super::owner::Owner;
use super::owner_record::Record;
use super::place::Place;
use super::table::OF_ATTACHMENTS;
use crate::error::Error;
use crate::port::Port;

/// What an attachment has.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Its element in `owners`.
    pub record: Option<Record>,
    /// Every other element.
    pub places: Vec<Place>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// The comment of its elements.
    pub comment: Option<String>,
}

/// What an owner has, of the elements that its record names and of `also`: those that still have its comment. `None` where it has
/// nothing.
pub(crate) fn recall(socket: &mut Socket, owner: &Owner, also: &[Place]) -> Result<Option<Holdings>, Error> {
    let mut holdings = Holdings { record: Record::find(socket, owner)?, ..Holdings::default() };
    if holdings.record.as_ref().is_some_and(|record| !record.is_whole()) {
        for map in OF_ATTACHMENTS {
            for element in socket.elements(map)? {
                if let Ok(key) = key::decode(map.key, &element.key) {
                    holdings.take(owner, map, key, &element);
                }
            }
        }
    } else {
        let mut places = also.to_vec();
        if let Some(record) = &holdings.record {
            record.add_places(&mut places);
        }
        for (map, key) in places {
            if let Some(element) = socket.get_element(map, &key)? {
                holdings.take(owner, map, key, &element);
            }
        }
    }
    Ok((holdings.record.is_some() || !holdings.places.is_empty()).then_some(holdings))
}

impl Holdings {
    fn take(&mut self, owner: &Owner, map: &'static Set<'static>, key: Vec<Field>, element: &Element) {
        if owner.has(element.comment.as_deref()) {
            self.ports.extend(Port::read(map, element));
            self.comment.clone_from(&element.comment);
            self.places.push((map, key));
        }
    }
}
