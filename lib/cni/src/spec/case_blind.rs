//! Reads JSON as Go does: keys of structures without regard to case, `null` as if the key were absent.
//!
//! containerd sends `HostPort` where CRI-O sends `hostPort`, and `"Options": null` for an empty list. The keys of
//! maps are the user's own and stay as they are. Errors name the path of keys at which they arose.

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, serde_json::Error>;

/// Reads a value into a type.
///
/// # Errors
/// A value of the wrong type, or a missing key, with the path to it: `ipam.ranges[0][1].subnet: …`.
pub fn from_value<'a, T: Deserialize<'a>>(value: &'a Value) -> Result<T> {
    T::deserialize(Blind::new(value))
}

/// Reads an object into a type; as [`from_value`].
///
/// # Errors
/// As [`from_value`].
pub fn from_object<'a, T: Deserialize<'a>>(object: &'a Map<String, Value>) -> Result<T> {
    T::deserialize(Blind::Object(object))
}

/// The value of a key, exactly as spelled first, then in any other case.
#[must_use]
pub fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object
        .get(key)
        .or_else(|| object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

/// A value that is being read.
#[derive(Clone, Copy)]
enum Blind<'a> {
    Object(&'a Map<String, Value>),
    /// Any other value.
    Value(&'a Value),
}

impl<'a> Blind<'a> {
    fn new(value: &'a Value) -> Self {
        value.as_object().map_or(Self::Value(value), Self::Object)
    }
}

fn at(path: &str, error: &serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    // `a: message` within `b` reads `b.a: message`; a bare message gets its colon here.
    let joint = match text.split_once(": ") {
        Some((head, _)) if is_path(head) && head.starts_with('[') => "",
        Some((head, _)) if is_path(head) => ".",
        _ => ": ",
    };
    de::Error::custom(format!("{path}{joint}{text}"))
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-[]/".contains(&byte))
}

impl<'de> Deserializer<'de> for Blind<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Object(object) => visitor.visit_map(Entries::new(object, &[])),
            Self::Value(Value::Array(values)) => {
                visitor.visit_seq(Elements { values: values.iter().enumerate() })
            }
            Self::Value(value) => value.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Self::Object(object) => visitor.visit_map(Entries::new(object, fields)),
            Self::Value(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Value(Value::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Self::Object(object) => object.deserialize_enum(name, variants, visitor),
            Self::Value(value) => value.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'a> {
    values: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((index, value)) = self.values.next() else {
            return Ok(None);
        };
        seed.deserialize(Blind::new(value)).map(Some).map_err(|error| at(&format!("[{index}]"), &error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

struct Entries<'a> {
    object: &'a Map<String, Value>,
    rest: serde_json::map::Iter<'a>,
    fields: &'static [&'static str],
    current: Option<(&'a str, &'a Value)>,
}

impl<'a> Entries<'a> {
    fn new(object: &'a Map<String, Value>, fields: &'static [&'static str]) -> Self {
        Self { object, rest: object.iter(), fields, current: None }
    }
}

/// The structure's own spelling of a key, or `None` where the exact spelling is there as well: that one wins.
fn canonical<'a>(
    object: &Map<String, Value>,
    fields: &'static [&'static str],
    key: &'a str,
) -> Option<&'a str> {
    if fields.contains(&key) {
        return Some(key);
    }
    match fields.iter().find(|field| field.eq_ignore_ascii_case(key)) {
        Some(field) if object.contains_key(*field) => None,
        Some(field) => Some(field),
        None => Some(key),
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        for (key, value) in self.rest.by_ref() {
            let is_struct = !self.fields.is_empty();
            if is_struct && value.is_null() {
                continue;
            }
            let Some(key) =
                (if is_struct { canonical(self.object, self.fields, key) } else { Some(key.as_str()) })
            else {
                continue;
            };
            self.current = Some((key, value));
            return seed.deserialize(de::value::StrDeserializer::new(key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let (key, value) =
            self.current.take().ok_or_else(|| de::Error::custom("value asked for before its key"))?;
        seed.deserialize(Blind::new(value)).map_err(|error| at(key, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    struct Mapping {
        host_port: u16,
        host_ip: Option<String>,
        servers: Vec<String>,
        labels: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Conf {
        port_mappings: Vec<Mapping>,
    }

    #[test]
    fn keys_of_structures_are_matched_in_any_case_and_those_of_maps_are_kept() {
        let conf: Conf = from_value(&json!({"PortMappings": [
            {"HostPort": 80, "HOSTIP": "::1", "Servers": null, "labels": {"Aa": "b"}, "unknown": [1]},
        ]}))
        .unwrap();
        let wanted = Mapping {
            host_port: 80,
            host_ip: Some("::1".into()),
            servers: vec![],
            labels: BTreeMap::from([("Aa".into(), "b".into())]),
        };
        assert_eq!(conf.port_mappings, [wanted]);
    }

    #[test]
    fn the_exact_spelling_wins_over_another_one() {
        let mapping: Mapping = from_value(&json!({"HOSTPORT": 1, "hostPort": 2, "hostport": 3})).unwrap();
        assert_eq!(mapping.host_port, 2);
    }

    #[test]
    fn errors_name_the_path_of_keys() {
        let error = from_value::<Conf>(&json!({"portMappings": [{}, {"HostPort": "x"}]})).unwrap_err();
        assert_eq!(error.to_string(), "portMappings[1].hostPort: invalid type: string \"x\", expected u16");
        let error = from_value::<Conf>(&json!({"portMappings": [{"hostPort": 70000}]})).unwrap_err();
        assert!(
            error.to_string().starts_with("portMappings[0].hostPort: invalid value: integer `70000`"),
            "{error}"
        );
    }
}
