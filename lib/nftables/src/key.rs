//! Keys and data of several fields: each field begins at a multiple of four bytes, as the registers do that the
//! kernel compares them with.

use crate::{Error, Field, Type};

/// The bytes of `fields`, one after the other, each padded to four bytes where there are several.
///
/// A single field is not padded: the kernel compares its own length only.
#[must_use]
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.len() * 4);
    for field in fields {
        field.push(&mut bytes);
        if fields.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

/// The fields of the types `types` that `bytes` consists of.
///
/// Fails with [`Error::Decode`] where the length is not theirs.
pub fn decode(types: &[Type], bytes: &[u8]) -> Result<Vec<Field>, Error> {
    let fields: Option<Vec<Field>> = {
        let mut rest = bytes;
        types
            .iter()
            .map(|&kind| {
                let field = Field::read(kind, rest)?;
                rest = rest.get(kind.size().next_multiple_of(4)..).unwrap_or_default();
                Some(field)
            })
            .collect()
    };
    match fields {
        Some(fields) if bytes.len() == size(types) => Ok(fields),
        _ => Err(Error::Decode { length: bytes.len(), types: types.to_vec() }),
    }
}

/// Length in bytes of a key or of data with these types.
#[must_use]
pub const fn size(types: &[Type]) -> usize {
    if let [single] = types {
        return single.size();
    }
    let (mut total, mut at) = (0, 0);
    while at < types.len() {
        total += types[at].size().next_multiple_of(4);
        at += 1;
    }
    total
}

/// `NFTA_SET_KEY_TYPE` or `NFTA_SET_DATA_TYPE`: six bits for each type, the first in the highest (`nft`'s
/// `concat_subtype_add`).
pub(crate) const fn concatenation(types: &[Type]) -> u32 {
    let (mut id, mut at) = (0, 0);
    while at < types.len() {
        id = id << 6 | types[at].id();
        at += 1;
    }
    id
}

/// The types that make up a concatenation; `None` where one is unknown here.
pub(crate) fn types(mut id: u32) -> Option<Vec<Type>> {
    let mut types = Vec::new();
    while id != 0 {
        types.push(Type::from_id(id & 0x3f)?);
        id >>= 6;
    }
    types.reverse();
    Some(types)
}

/// The fields as `nft` writes them: `tcp . 8080`.
pub(crate) fn words(fields: &[Field]) -> String {
    fields.iter().map(Field::to_string).collect::<Vec<_>>().join(" . ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_concatenation_are_padded() {
        let bytes = encode(&[Field::TCP, Field::Port(8080)]);
        assert_eq!(bytes, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(encode(&[Field::Port(8080)]), [0x1f, 0x90]);
        assert_eq!(encode(&[Field::Ether([1; 6]), Field::Mark(0)]).len(), 12);
    }

    #[test]
    fn decoding_takes_exactly_the_length_of_the_types() {
        let types = [Type::InetProto, Type::InetService];
        let fields = [Field::UDP, Field::Port(53)];
        assert_eq!(decode(&types, &encode(&fields)).unwrap(), fields);
        assert_eq!(decode(&types[..1], &[17]).unwrap(), [Field::UDP]);
        for bad in [&[17, 0, 0, 0, 0][..], &[17, 0, 0, 0, 0, 53, 0, 0, 0], &[]] {
            assert!(matches!(decode(&types, bad), Err(Error::Decode { .. })));
        }
    }

    #[test]
    fn concatenations_are_six_bits_a_type() {
        let types_of_port4 = [Type::InetProto, Type::InetService];
        assert_eq!(concatenation(&types_of_port4), 0x30d);
        assert_eq!(types(0x30d).unwrap(), types_of_port4);
        assert_eq!(concatenation(&[Type::Ipv4Addr]), 7);
        assert_eq!(types(0x3f), None);
        assert_eq!(size(&[Type::Ifname, Type::Ipv4Addr, Type::InetProto, Type::InetService]), 28);
    }

    #[test]
    fn words_are_those_of_nft() {
        assert_eq!(words(&[Field::TCP, Field::Port(8080)]), "tcp . 8080");
    }
}
