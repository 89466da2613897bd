//! Elements of sets and maps.

use wire::Writer;
use wire::attribute::{attributes, find};

use crate::expr::numbers::{NFTA_DATA_VALUE, NFTA_LIST_ELEM};
use crate::table::NFTA_TABLE;
use crate::verdict::NFTA_DATA_VERDICT;
use crate::{Field, Set, Verdict, key, userdata};

/// What a map holds for a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Bytes of the map's data types; see [`key::decode`].
    Value(Vec<u8>),
    /// In a verdict map.
    Verdict(Verdict),
}

/// An element: a key, for maps with data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Bytes of the set's key types; see [`key::decode`].
    pub key: Vec<u8>,
    /// In a map: what the key leads to.
    pub data: Option<Data>,
    /// A comment that `nft` shows, at most 127 bytes.
    pub comment: Option<String>,
}

impl Element {
    /// An element of a set; with [`Element::data`] or [`Element::verdict`] one of a map.
    #[must_use]
    pub fn new(fields: &[Field]) -> Self {
        Self { key: key::encode(fields), data: None, comment: None }
    }

    /// The same element leading to `fields`.
    #[must_use]
    pub fn data(self, fields: &[Field]) -> Self {
        Self { data: Some(Data::Value(key::encode(fields))), ..self }
    }

    /// The same element leading to `verdict`.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        Self { data: Some(Data::Verdict(verdict)), ..self }
    }

    /// The same element with a comment.
    #[must_use]
    pub fn comment(self, comment: impl Into<String>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }

    /// The attributes of `NFT_MSG_NEWSETELEM` for this one element.
    pub(crate) fn write(&self, attributes: &mut Writer, set: &Set) {
        let fits = match (&self.data, set.data) {
            (None, None) => true,
            (Some(Data::Verdict(_)), Some(_)) => set.is_vmap(),
            (Some(Data::Value(data)), Some(types)) => !set.is_vmap() && data.len() == key::size(types),
            _ => false,
        };
        if !fits {
            attributes.refuse("data are not of the map's types");
        }
        write_list(attributes, set, &self.key, |element| {
            match &self.data {
                None => {}
                Some(Data::Value(data)) => {
                    element.nest(NFTA_SET_ELEM_DATA, |nest| nest.bytes(NFTA_DATA_VALUE, data));
                }
                Some(Data::Verdict(verdict)) => element.nest(NFTA_SET_ELEM_DATA, |nest| verdict.write(nest)),
            }
            userdata::write_comment(element, NFTA_SET_ELEM_USERDATA, self.comment.as_deref());
        });
    }

    /// Reads the content of one `NFTA_LIST_ELEM`.
    fn read(payload: &[u8]) -> Option<Self> {
        let mut element = Self { key: Vec::new(), data: None, comment: None };
        for (kind, payload) in attributes(payload) {
            match kind {
                NFTA_SET_ELEM_KEY => find(payload, NFTA_DATA_VALUE)?.clone_into(&mut element.key),
                NFTA_SET_ELEM_DATA => element.data = Some(read_data(payload)?),
                NFTA_SET_ELEM_USERDATA => {
                    element.comment = userdata::comment(payload).map(str::to_owned);
                }
                _ => {}
            }
        }
        Some(element)
    }
}

fn read_data(payload: &[u8]) -> Option<Data> {
    attributes(payload).find_map(|(kind, payload)| match kind {
        NFTA_DATA_VALUE => Some(Data::Value(payload.to_owned())),
        NFTA_DATA_VERDICT => Verdict::read(payload).map(Data::Verdict),
        _ => None,
    })
}

/// The attributes that name one element of `set`, with what `fill` adds to it.
pub(crate) fn write_list(attributes: &mut Writer, set: &Set, key: &[u8], fill: impl FnOnce(&mut Writer)) {
    write_head(attributes, set);
    attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| write_key(list, set, key, fill));
}

/// The attributes that name elements of a set by nothing but their keys.
pub(crate) fn write_keys(attributes: &mut Writer, set: &Set, keys: &[Vec<u8>]) {
    write_head(attributes, set);
    attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
        for key in keys {
            write_key(list, set, key, |_| {});
        }
    });
}

fn write_head(attributes: &mut Writer, set: &Set) {
    attributes.string(NFTA_TABLE, set.table.name);
    attributes.string(NFTA_SET_ELEM_LIST_SET, set.name);
}

fn write_key(list: &mut Writer, set: &Set, key: &[u8], fill: impl FnOnce(&mut Writer)) {
    if key.len() != set.key_len() {
        list.refuse("key is not of the set's types");
    }
    list.nest(NFTA_LIST_ELEM, |element| {
        element.nest(NFTA_SET_ELEM_KEY, |nest| nest.bytes(NFTA_DATA_VALUE, key));
        fill(element);
    });
}

/// The elements that an `NFT_MSG_NEWSETELEM` answer holds. Those whose verdict this crate does not know (`queue`) are left
/// out: it cannot have written them.
pub(crate) fn read_list(body: &[u8]) -> Vec<Element> {
    let list = find(body, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| Element::read(element)).collect()
}

/// How many elements a message names.
pub(crate) fn count(body: &[u8]) -> usize {
    attributes(find(body, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default()).count()
}

/// The bytes of the first key in a message that names elements.
pub(crate) fn first_key(body: &[u8]) -> Option<&[u8]> {
    let (_, element) = attributes(find(body, NFTA_SET_ELEM_LIST_ELEMENTS)?).next()?;
    find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)
}

pub(crate) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_USERDATA: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, Table, Type};

    const TABLE: Table = Table::new(Family::Inet, "cleat");
    const PORT: Set = Set::map(TABLE, "port", &[Type::InetProto, Type::InetService], &[Type::InetService]);
    const VMAP: Set = Set::vmap(TABLE, "masq", &[Type::InetService]);

    fn through(element: &Element, set: &Set) -> (Vec<Element>, Option<&'static str>) {
        let mut writer = Writer::default();
        element.write(&mut writer, set);
        let read = read_list(&writer.buffer);
        assert_eq!(first_key(&writer.buffer), Some(&element.key[..]));
        (read, writer.fault.take())
    }

    #[test]
    fn elements_come_back() {
        let to_port =
            Element::new(&[Field::TCP, Field::Port(80)]).data(&[Field::Port(8080)]).comment("web eth0");
        assert_eq!(through(&to_port, &PORT), (vec![to_port.clone()], None));
        let to_chain = Element::new(&[Field::Port(80)]).verdict(Verdict::goto("net_a"));
        assert_eq!(through(&to_chain, &VMAP), (vec![to_chain.clone()], None));
    }

    #[test]
    fn other_lengths_and_kinds_are_refused() {
        let short_key = Element::new(&[Field::Port(80)]).data(&[Field::Port(8080)]);
        let no_data = Element::new(&[Field::TCP, Field::Port(80)]);
        let long_data = no_data.clone().data(&[Field::Mark(1)]);
        let verdict = no_data.clone().verdict(Verdict::Accept);
        for element in [short_key, no_data, long_data, verdict] {
            assert!(through(&element, &PORT).1.is_some(), "{element:?}");
        }
        assert!(through(&Element::new(&[Field::Port(1)]).data(&[]), &VMAP).1.is_some());
    }
}
