//! Network configuration lists on disk (`*.conflist`, and single `*.conf` files), found as libcni finds them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::file;
use crate::spec::attachment::NetworkName;
use crate::spec::case_blind;
use crate::spec::conf;
use crate::spec::error::{Code, Error};
use crate::spec::version::Version;

/// A network: a name, and the plugins that make its attachments, in order.
#[derive(Clone, Debug)]
pub struct NetworkList {
    /// The network's name.
    pub name: NetworkName,
    /// The version in which its plugins are called.
    pub version: Version,
    /// Whether the runtime is asked not to CHECK.
    pub disable_check: bool,
    /// Whether the runtime is asked not to GC.
    pub disable_gc: bool,
    /// Each plugin's own configuration, as it stands in the file.
    pub plugins: Vec<Map<String, Value>>,
    /// The list as bytes, which the result cache keeps.
    pub bytes: Vec<u8>,
    /// The file it came from, where it came from one.
    pub file: Option<PathBuf>,
}

/// A file of a configuration folder that is no network, and why.
pub type Unreadable = (PathBuf, Error);

impl NetworkList {
    /// Reads a list, or a single plugin's configuration as a list of one.
    ///
    /// # Errors
    /// Codes 1, 6 and 7, as of [`crate::Conf`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let mut object = conf::read_object(bytes)?;
        let flag = |key: &str| match case_blind::get(&object, key) {
            // libcni takes the words as well.
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        let name =
            NetworkName::new(case_blind::get(&object, "name").and_then(Value::as_str).unwrap_or_default())?;
        let version = newest_version(&object);
        let (disable_check, disable_gc) = (flag("disableCheck"), flag("disableGC"));
        let plugins = match key(&object, "plugins").and_then(|key| object.remove(&key)) {
            Some(Value::Array(plugins)) => plugins.into_iter().map(plugin).collect::<Result<_, _>>()?,
            Some(_) => return Err(Error::new(Code::InvalidConfig, "\"plugins\" must be a list")),
            None => vec![plugin(Value::Object(object))?],
        };
        if plugins.is_empty() {
            return Err(Error::new(Code::InvalidConfig, format!("network {name} has no plugins")));
        }
        let version = version?;
        Ok(Self { name, version, disable_check, disable_gc, plugins, bytes: bytes.to_vec(), file: None })
    }

    /// One plugin's configuration as it goes to the plugin, but for what a runtime adds about an attachment.
    #[must_use]
    pub fn conf_of(&self, plugin: &Map<String, Value>) -> Map<String, Value> {
        let mut conf = plugin.clone();
        conf.remove("capabilities");
        conf.insert("name".into(), self.name.as_str().into());
        conf.insert("cniVersion".into(), self.version.as_str().into());
        conf
    }

    /// The same network with its plugins changed, and its bytes with them: what the result cache keeps is what the
    /// plugins were really given.
    ///
    /// # Errors
    /// Codes 6 and 999 where the bytes are no list or cannot be written anew.
    pub fn with_plugins(mut self, change: impl FnOnce(&mut Vec<Map<String, Value>>)) -> Result<Self, Error> {
        let mut object = conf::read_object(&self.bytes)?;
        change(&mut self.plugins);
        match (key(&object, "plugins"), self.plugins.as_slice()) {
            (Some(key), plugins) => {
                let plugins = plugins.iter().cloned().map(Value::Object).collect();
                object.insert(key, Value::Array(plugins));
            }
            // A single plugin's configuration is its own list.
            (None, [single, ..]) => object.clone_from(single),
            (None, []) => {}
        }
        self.bytes = serde_json::to_vec(&object)
            .map_err(|error| Error::new(Code::Internal, format!("encode network {}: {error}", self.name)))?;
        Ok(self)
    }

    /// Finds a network by name in a folder: the first list of that name in the order of file names, then the
    /// first single configuration. Files that cannot be read are skipped; the error has them.
    ///
    /// # Errors
    /// Code 7 with the names that the folder does have; code 5 where it cannot be read.
    pub fn find(folder: &Path, name: &str) -> Result<Self, Error> {
        let (lists, broken) = Self::all(folder)?;
        let mut known = Vec::new();
        for list in lists {
            if list.name.as_str() == name {
                return Ok(list);
            }
            known.push(list.name.to_string());
        }
        let error = Error::new(Code::InvalidConfig, format!("no network {name:?} in {}", folder.display()));
        let mut details = if known.is_empty() {
            "the folder has none (NETCONFPATH names another one)".to_owned()
        } else {
            format!("it has {}", known.join(", "))
        };
        for (file, problem) in broken {
            details = format!("{details}; {}: {problem}", file.display());
        }
        Err(error.details(details))
    }

    /// The files of a folder that should hold networks: lists first, each kind in the order of file names.
    ///
    /// # Errors
    /// Code 5 where the folder cannot be read.
    pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let unreadable = |error| Error::new(Code::Io, format!("read folder {}: {error}", folder.display()));
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("conflist") => files.push((0, file)),
                Some("conf" | "json") => files.push((1, file)),
                _ => {}
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Every network of a folder, lists first, each kind in the order of file names; and the files that are
    /// not readable as networks, with the reason.
    ///
    /// # Errors
    /// Code 5 where the folder cannot be read.
    pub fn all(folder: &Path) -> Result<(Vec<Self>, Vec<Unreadable>), Error> {
        let (mut lists, mut broken) = (Vec::new(), Vec::new());
        for file in Self::files(folder)? {
            let list = file::read(&file, conf::MAX_INPUT)
                .map_err(|error| Error::new(Code::Io, format!("read {}: {error}", file.display())))
                .and_then(|bytes| Self::from_slice(&bytes));
            match list {
                Ok(list) => lists.push(Self { file: Some(file), ..list }),
                Err(error) => broken.push((file, error)),
            }
        }
        Ok((lists, broken))
    }
}

/// A key as an object spells it: exactly so where it can.
fn key(object: &Map<String, Value>, key: &str) -> Option<String> {
    if object.contains_key(key) {
        return Some(key.to_owned());
    }
    object.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned()
}

fn plugin(value: Value) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(object) if case_blind::get(&object, "type").is_some_and(Value::is_string) => Ok(object),
        _ => Err(Error::new(Code::InvalidConfig, "every plugin must be an object with a \"type\"")),
    }
}

/// `cniVersion`, or the newest supported one of `cniVersions` (specification 1.1.0).
fn newest_version(object: &Map<String, Value>) -> Result<Version, Error> {
    let offered = case_blind::get(object, "cniVersions").and_then(Value::as_array).into_iter().flatten();
    let best = offered.filter_map(Value::as_str).filter_map(|text| Version::parse(text).ok()).max();
    match (best, conf::version_of(object)) {
        (Some(best), Ok(single)) => Ok(best.max(single)),
        (Some(best), Err(_)) => Ok(best),
        (None, single) => single,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_a_single_configuration_are_both_networks() {
        let list = NetworkList::from_slice(
            br#"{"cniVersion":"0.4.0","name":"n","disableCheck":"true","plugins":[{"type":"bridge"},{"type":"portmap"}]}"#,
        )
        .unwrap();
        assert_eq!((list.plugins.len(), list.disable_check, list.version), (2, true, Version::V0_4_0));
        let single =
            NetworkList::from_slice(br#"{"cniVersion":"1.0.0","name":"lo","type":"loopback"}"#).unwrap();
        assert_eq!((single.plugins.len(), single.version), (1, Version::V1_0_0));
        for bad in [
            &br#"{"name":"n","plugins":[]}"#[..],
            br#"{"name":"n","plugins":[{}]}"#,
            br#"{"name":"n","plugins":7}"#,
        ] {
            assert_eq!(NetworkList::from_slice(bad).unwrap_err().code(), 7);
        }
    }

    #[test]
    fn a_change_of_plugins_is_in_the_bytes() {
        let add = |plugins: &mut Vec<Map<String, Value>>| {
            plugins[0].insert("args".into(), serde_json::json!({"cni": {"ips": ["10.1.0.5"]}}));
        };
        for text in [
            r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"},{"type":"portmap"}],"x":1}"#,
            r#"{"cniVersion":"1.0.0","name":"n","type":"bridge","x":1}"#,
        ] {
            let list = NetworkList::from_slice(text.as_bytes()).unwrap().with_plugins(add).unwrap();
            let kept = NetworkList::from_slice(&list.bytes).unwrap();
            assert_eq!(kept.plugins, list.plugins);
            assert_eq!(kept.plugins[0]["args"]["cni"]["ips"][0], "10.1.0.5");
            assert!(String::from_utf8(list.bytes).unwrap().contains(r#""x":1"#));
        }
    }

    #[test]
    fn the_newest_version_on_offer_is_taken() {
        let version = |text: &str| NetworkList::from_slice(text.as_bytes()).map(|list| list.version);
        let with = |versions: &str| version(&format!(r#"{{"name":"n","type":"x",{versions}}}"#));
        assert_eq!(with(r#""cniVersions":["0.4.0","1.1.0","9.0.0"]"#).unwrap(), Version::V1_1_0);
        assert_eq!(with(r#""cniVersion":"1.0.0","cniVersions":["0.4.0"]"#).unwrap(), Version::V1_0_0);
        assert_eq!(with(r#""cniVersion":"9.0.0""#).unwrap_err().code(), 1);
    }

    #[test]
    fn networks_are_found_by_name_and_a_missing_one_names_the_others() {
        let folder = std::env::temp_dir().join(format!("cni-list-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("20-b.conflist", r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"second"}]}"#);
        write("10-b.conflist", r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"first"}]}"#);
        write("00-b.conf", r#"{"cniVersion":"1.0.0","name":"b","type":"single"}"#);
        write("05-broken.conflist", "{");
        write("notes.txt", "not a network");
        assert_eq!(NetworkList::find(&folder, "b").unwrap().plugins[0]["type"], "first");
        let error = NetworkList::find(&folder, "a").unwrap_err().to_string();
        assert!(error.contains("it has b, b, b") && error.contains("05-broken.conflist"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(NetworkList::find(&folder, "a").unwrap_err().code(), 5);
    }
}
