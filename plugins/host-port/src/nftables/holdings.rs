//! What an attachment has in the table, read back by its owner record.

use nftables::{Element, Field, Set, Socket};

use super::owner::Owner;
use super::owner_record::{self as record, MORE};
use super::place::Place;
use super::table::{HAIR4, HAIR6, LOCALHOST, OWNERS, PORTS, SPARE4, SPARE6};
use crate::error::Error;
use crate::port::Port;

/// What an attachment has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// The network's chain.
    pub chain: Option<String>,
    /// The interfaces by which localhost leads to it.
    pub locals: Vec<String>,
    /// Every element, that in `owners` excepted.
    pub places: Vec<Place>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// The attachments that take over what it leaves, in order, as far as the record names them.
    pub heirs: Vec<Owner>,
    /// Whether the record names all of it.
    pub is_whole: bool,
    /// The comment of its elements.
    pub comment: Option<String>,
    /// What the element in `owners` says.
    pub text: String,
}

/// What an owner has, of the elements that its record names and of `also`: those that still have its comment. `None` where it has
/// nothing.
pub(crate) fn recall(socket: &mut Socket, owner: &Owner, also: &[Place]) -> Result<Option<Holdings>, Error> {
    let mut holdings = Holdings::default();
    let mut candidates = also.to_vec();
    let mut search = false;
    let element = socket.get_element(&OWNERS, &[owner.key()?])?;
    let is_remembered = element.is_some();
    if let Some(element) = element {
        holdings.chain = record::chain(&element).map(str::to_owned);
        holdings.locals = record::locals(&element);
        let text = element.comment.unwrap_or_default();
        search = text.ends_with(MORE);
        record::add_remembered(&mut candidates, owner, &text);
        holdings.heirs = record::heirs(&text);
        holdings.text = text;
    }
    holdings.is_whole = !search;
    if search {
        for map in PORTS.into_iter().chain(LOCALHOST).chain([&HAIR4, &HAIR6, &SPARE4, &SPARE6]) {
            for element in socket.elements(map)? {
                if let Ok(key) = nftables::key::decode(map.key, &element.key) {
                    holdings.take(owner, map, key, &element);
                }
            }
        }
    } else {
        for (map, key) in candidates {
            if let Some(element) = socket.get_element(map, &key)? {
                holdings.take(owner, map, key, &element);
            }
        }
    }
    Ok((is_remembered || !holdings.places.is_empty()).then_some(holdings))
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
