//! The network configuration that comes on standard input: the keys that every plugin shares.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::spec::attachment::{ContainerId, IfName, NetworkName};
use crate::spec::case_blind;
use crate::spec::error::{Code, Error};
use crate::spec::result::AddResult;
use crate::spec::version::Version;

/// The most that is read from standard input, in bytes. A GC with 5,000 attachments takes about one mebibyte.
pub const MAX_INPUT: usize = 2 << 20;

/// The most keys and values that a configuration may have: the same GC has half of it. A list takes up to sixty times the
/// memory of its text, so the length alone would bound nothing.
pub const MAX_VALUES: usize = 1 << 16;

/// The most of them that may be objects: the same GC has a third of it. Each takes some 600 bytes, as a node of `BTreeMap`
/// has place for eleven keys.
pub const MAX_OBJECTS: usize = 1 << 14;

/// A configuration whose common keys are valid; a plugin reads its own with [`Conf::parse`].
#[derive(Clone, Debug)]
pub struct Conf {
    /// The version that results and errors are written in.
    pub version: Version,
    /// The network's name.
    pub network: NetworkName,
    /// The plugin's `type`, which is its program's name.
    pub plugin: String,
    /// What can be read of the result of the plugins before this one (ADD), or of the whole ADD (CHECK, DEL, GC). ADD and
    /// CHECK use [`Conf::previous`], which refuses a damaged one.
    pub prev_result: Option<AddResult>,
    /// What is wrong with it.
    odd: Option<Error>,
    raw: Map<String, Value>,
}

impl Conf {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Code 6 for content that is not one JSON object or too long, 1 for a version that is not supported, 7 for
    /// a bad name or type.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_object(read_object(bytes)?)
    }

    /// Takes an object over as a configuration.
    ///
    /// # Errors
    /// As [`Conf::from_slice`].
    pub fn from_object(raw: Map<String, Value>) -> Result<Self, Error> {
        let version = version_of(&raw)?;
        let network = network_of(&raw)?;
        let plugin = text_of(&raw, "type")?.to_owned();
        Ok(Self::new(version, network, plugin, raw))
    }

    /// Takes an object over as the configuration of a DEL or GC, of which no more has to be valid than these need: an
    /// unknown version is taken for the newest one.
    ///
    /// # Errors
    /// Code 7 for a bad name.
    pub fn for_removal(raw: Map<String, Value>) -> Result<Self, Error> {
        let version = version_of(&raw).unwrap_or(Version::NEWEST);
        let plugin = text_of(&raw, "type").unwrap_or_default().to_owned();
        Ok(Self::new(version, network_of(&raw)?, plugin, raw))
    }

    fn new(version: Version, network: NetworkName, plugin: String, raw: Map<String, Value>) -> Self {
        let given = case_blind::get(&raw, "prevResult").filter(|value| !value.is_null());
        let (prev_result, odd) = match given.map(|value| (value, AddResult::parse(value, version))) {
            None => (None, None),
            Some((_, Ok(result))) => (Some(result), None),
            Some((value, Err(error))) => (Some(AddResult::salvage(value)), Some(error.within("prevResult"))),
        };
        Self { version, network, plugin, prev_result, odd, raw }
    }

    /// Reads the plugin's own keys into its own type, keys in any case.
    ///
    /// # Errors
    /// Code 7 with the path of the key that is wrong.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse_object(&self.raw)
    }

    /// The value of one key, by the keys that lead to it, in any case: for removing, where no other key that is wrong may
    /// be in the way. `None` where there is no such key.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let first = case_blind::get(&self.raw, first);
        let found = rest.iter().try_fold(first?, |value, key| case_blind::get(value.as_object()?, key));
        found.filter(|value| !value.is_null())
    }

    /// As [`Conf::value`], where that is a text.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.value(path).and_then(Value::as_str)
    }

    /// The complete configuration as it came, which is what a delegate must get.
    #[must_use]
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The previous result, where there is one.
    ///
    /// # Errors
    /// What [`AddResult::parse`] says of it. The reference's host-local and bridge, and the CHECK of its loopback, never
    /// look at it, and so are given what is none at times.
    pub fn previous(&self) -> Result<Option<&AddResult>, Error> {
        self.odd.clone().map_or(Ok(self.prev_result.as_ref()), Err)
    }

    /// The previous result, for plugins that only work after another one.
    ///
    /// # Errors
    /// As [`Conf::previous`], and code 7 where there is none.
    pub fn require_prev_result(&self) -> Result<&AddResult, Error> {
        self.previous()?.ok_or_else(|| {
            Error::new(Code::InvalidConfig, format!("plugin {:?} was called without prevResult", self.plugin))
                .details("it works behind another plugin: put it after the one that makes the interface")
        })
    }

    /// The attachments that GC must keep: `None` where the runtime gave no list, which says nothing about any
    /// attachment; an empty list, also written `null`, says that none is valid.
    ///
    /// # Errors
    /// Code 7 for a list that is not made of container IDs and interface names.
    pub fn valid_attachments(&self) -> Result<Option<Vec<(ContainerId, IfName)>>, Error> {
        #[derive(Deserialize)]
        struct Valid {
            #[serde(rename = "containerID")]
            container_id: String,
            ifname: String,
        }
        // The specification's key; libcni repeats the list under a second one.
        let Some(value) =
            self.raw.get("cni.dev/valid-attachments").or_else(|| self.raw.get("cni.dev/attachments"))
        else {
            return Ok(None);
        };
        let invalid = |error: &dyn fmt::Display| {
            Error::new(Code::InvalidConfig, format!("cni.dev/valid-attachments: {error}"))
        };
        let list: Option<Vec<Valid>> = case_blind::from_value(value).map_err(|error| invalid(&error))?;
        let pairs = list
            .unwrap_or_default()
            .into_iter()
            .map(|valid| Ok((ContainerId::new(valid.container_id)?, IfName::new(valid.ifname)?)));
        pairs.collect::<Result<_, Error>>().map(Some).map_err(|error| invalid(&error))
    }

    /// The same configuration with that list of valid attachments, for a plugin that GC is handed on to.
    #[must_use]
    pub fn with_valid_attachments(&self, valid: &[(ContainerId, IfName)]) -> Self {
        let mut conf = self.clone();
        set_valid_attachments(&mut conf.raw, valid);
        conf
    }
}

/// Writes the list of valid attachments into a configuration of GC.
pub(crate) fn set_valid_attachments(conf: &mut Map<String, Value>, valid: &[(ContainerId, IfName)]) {
    let list = valid
        .iter()
        .map(|(id, ifname)| serde_json::json!({"containerID": id.as_str(), "ifname": ifname.as_str()}));
    conf.insert("cni.dev/valid-attachments".to_owned(), list.collect());
}

/// Refuses text that would take more memory, once read as JSON, than a configuration ever needs.
///
/// # Errors
/// Code 6 with the limit: [`MAX_INPUT`], [`MAX_VALUES`] or [`MAX_OBJECTS`].
pub fn expect_bounded(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > MAX_INPUT {
        return Err(Error::new(Code::Decode, format!("the configuration is longer than {MAX_INPUT} bytes")));
    }
    match beyond(bytes, 1) {
        Some(more) => Err(Error::new(Code::Decode, format!("the configuration has {more}"))),
        None => Ok(()),
    }
}

/// Reads bytes as one JSON object.
///
/// # Errors
/// Code 6 with what is wrong and where.
pub fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    expect_bounded(bytes)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::new(Code::Decode, "the configuration is empty")
            .details("the network configuration must come as JSON on standard input"));
    }
    // serde_json itself refuses more than 128 levels of nesting.
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Code::Decode, format!("the configuration is not a JSON object: {error}")))
}

/// What a JSON text has more of than a number of configurations may have. A value ends before each of the characters that are
/// counted; those within texts count as well.
pub(crate) fn beyond(bytes: &[u8], configurations: usize) -> Option<String> {
    let count = |characters: &[u8]| bytes.iter().filter(|byte| characters.contains(byte)).count();
    let limits = [("values", &b",[{"[..], MAX_VALUES), ("objects", b"{", MAX_OBJECTS)];
    limits.into_iter().find_map(|(what, characters, most)| {
        let most = most * configurations;
        (count(characters) > most).then(|| format!("more than {most} {what}"))
    })
}

/// Reads an object into a plugin's own type.
pub(crate) fn parse_object<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, Error> {
    case_blind::from_object(object).map_err(|error| Error::new(Code::InvalidConfig, error.to_string()))
}

fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, Error> {
    match case_blind::get(object, key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => {
            Err(Error::new(Code::InvalidConfig, format!("key {key:?} must be a string, not {other}")))
        }
    }
}

/// The name of the network.
fn network_of(object: &Map<String, Value>) -> Result<NetworkName, Error> {
    let name = text_of(object, "name")?;
    if name.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "the configuration has no \"name\"")
            .details("give the network a name"));
    }
    NetworkName::new(name)
}

/// The version that a configuration names.
pub(crate) fn version_of(object: &Map<String, Value>) -> Result<Version, Error> {
    match case_blind::get(object, "cniVersion") {
        None | Some(Value::Null) => Ok(Version::parse("")?),
        Some(Value::String(text)) => Ok(Version::parse(text)?),
        Some(other) => Err(Error::new(Code::Decode, format!("cniVersion must be a string, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conf(value: &Value) -> Result<Conf, Error> {
        Conf::from_slice(value.to_string().as_bytes())
    }

    #[test]
    fn bad_input_gets_the_specifications_code() {
        for (bytes, code, words) in [
            (&b"{"[..], 6, "not a JSON object: EOF"),
            (b"", 6, "empty"),
            (b"[]", 6, "not a JSON object"),
            (b"\xff\xfe", 6, "not a JSON object"),
            (br#"{"cniVersion":"9.0.0","name":"a"}"#, 1, "\"9.0.0\""),
            (br#"{"cniVersion":1,"name":"a"}"#, 6, "cniVersion"),
            (br#"{"cniVersion":"1.0.0"}"#, 7, "no \"name\""),
            (br#"{"cniVersion":"1.0.0","name":"a/b"}"#, 7, "\"a/b\""),
            (br#"{"cniVersion":"1.0.0","name":7}"#, 7, "name"),
        ] {
            let error = Conf::from_slice(bytes).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(Conf::from_slice(&vec![b' '; MAX_INPUT + 1]).unwrap_err().code(), 6);
        assert_eq!(Conf::from_slice("[".repeat(1 << 20).as_bytes()).unwrap_err().code(), 6);
        let many = format!("[{}]", r#"{"":0},"#.repeat(200_000));
        assert!(Conf::from_slice(many.as_bytes()).unwrap_err().to_string().contains("65536 values"));
    }

    #[test]
    fn a_previous_result_is_judged_by_those_who_want_it() {
        let odd = conf(&json!({"cniVersion": "1.0.0", "name": "a", "prevResult": {"ips": 1, "routes": [
            {"dst": "0.0.0.0/0"}]}}));
        let odd = odd.unwrap();
        for error in [odd.previous().unwrap_err(), odd.require_prev_result().unwrap_err()] {
            assert!(error.code() == 6 && error.to_string().contains("prevResult: "), "{error}");
        }
        assert_eq!(odd.prev_result.unwrap().routes.len(), 1);
        let none = conf(&json!({"cniVersion": "1.0.0", "name": "a"})).unwrap();
        assert_eq!(none.previous().unwrap(), None);
        assert_eq!(none.require_prev_result().unwrap_err().code(), 7);
    }

    #[test]
    fn an_absent_list_of_attachments_differs_from_an_empty_one() {
        let list = |mut value: Value, attachments: Option<Value>| {
            if let Some(attachments) = attachments {
                value["cni.dev/valid-attachments"] = attachments;
            }
            conf(&value).unwrap().valid_attachments()
        };
        let base = json!({"cniVersion": "1.1.0", "name": "a", "type": "bridge"});
        assert_eq!(list(base.clone(), None).unwrap(), None);
        assert_eq!(list(base.clone(), Some(Value::Null)).unwrap(), Some(vec![]));
        assert_eq!(list(base.clone(), Some(json!([]))).unwrap(), Some(vec![]));
        let one = list(base.clone(), Some(json!([{"containerID": "c", "ifname": "eth0"}]))).unwrap().unwrap();
        assert_eq!((one[0].0.as_str(), one[0].1.as_str()), ("c", "eth0"));
        assert_eq!(list(base, Some(json!([{"containerID": "/", "ifname": "eth0"}]))).unwrap_err().code(), 7);
    }
}
