//! The fields of a protobuf message, one after another, read in place. A pod decides how many variables and mounts its
//! containers have: decoded, a message of four mebibytes would take a hundred.

use std::str;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// A number of fixed size, which no message here has.
    Fixed,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no protobuf message")]
pub(crate) struct Malformed;

/// The fields that are not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The texts and messages of one number, up to where the message is malformed.
    pub(crate) fn all(message: &'a [u8], number: u64) -> impl Iterator<Item = &'a [u8]> {
        Self(message).map_while(Result::ok).filter_map(move |field| match field {
            (found, Value::Bytes(bytes)) if found == number => Some(bytes),
            _ => None,
        })
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for place in 0..10 {
            let byte = *self.take(1)?.first().ok_or(Malformed)?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Bytes as the text that they must be.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_their_order_and_end_where_the_message_is_malformed() {
        let message = [8, 0x96, 1, 18, 2, b'a', b'b', 25, 0, 0, 0, 0, 0, 0, 0, 0, 37, 1, 2, 3, 4];
        let fields: Vec<_> = Fields::of(&message).collect();
        assert_eq!(
            fields,
            [
                Ok((1, Value::Number(150))),
                Ok((2, Value::Bytes(b"ab"))),
                Ok((3, Value::Fixed)),
                Ok((4, Value::Fixed))
            ]
        );
        for cut in [1, 2, 4, 5, 6, 10, 18] {
            assert_eq!(Fields::of(&message[..cut]).last(), Some(Err(Malformed)), "{cut}");
        }
        // A group, a length beyond any end, a number without one.
        for message in
            [&[11_u8][..], &[18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[8; 1], &[0x88; 20]]
        {
            assert_eq!(Fields::of(message).last(), Some(Err(Malformed)), "{message:?}");
        }
    }
}
