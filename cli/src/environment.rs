//! What `cleat` takes from its environment: the variables of `cnitool`, with their defaults.
//!
//! The only module that reads variables. Values are parsed where they are used, so that a verb without a use for `CAP_ARGS` does
//! not fail because of it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::{Map, Value};

use cni::IfName;

use crate::error::Error;

/// The specification's folder, and that of Debian's and Fedora's packages: on their nodes a network may name plugins that cleat
/// does not have, such as `firewall`.
const DEFAULT_PATH: &str = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni";
const DEFAULT_FOLDER: &str = "/etc/cni/net.d";
const DEFAULT_INTERFACE: &str = "eth0";

/// The environment of one call of `cleat`.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// `CNI_PATH`: the folders of plugins.
    pub(crate) path: Vec<PathBuf>,
    /// `NETCONFPATH`: the folder of network configurations.
    pub(crate) folder: PathBuf,
    ifname: String,
    args: String,
    capabilities: String,
}

impl Environment {
    /// Reads the process's variables; an empty one counts as absent, as for `cnitool`.
    pub(crate) fn read() -> Result<Self, Error> {
        let text = |name| {
            let text = variable(name).map(OsString::into_string).transpose();
            text.map_err(|bytes| refused(name, &bytes.to_string_lossy(), "it is not UTF-8 text".to_owned()))
        };
        let path = variable("CNI_PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        Ok(Self {
            path: std::env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty()).collect(),
            folder: variable("NETCONFPATH").map_or_else(|| DEFAULT_FOLDER.into(), PathBuf::from),
            ifname: text("CNI_IFNAME")?.unwrap_or_else(|| DEFAULT_INTERFACE.to_owned()),
            args: text("CNI_ARGS")?.unwrap_or_default(),
            capabilities: text("CAP_ARGS")?.unwrap_or_default(),
        })
    }

    /// `CNI_IFNAME`.
    pub(crate) fn ifname(&self) -> Result<IfName, Error> {
        IfName::new(self.ifname.as_str()).map_err(Error::contract("read CNI_IFNAME"))
    }

    /// `CNI_ARGS` as pairs.
    pub(crate) fn args(&self) -> Result<Vec<(String, String)>, Error> {
        let args = cni::Args::parse(&self.args).map_err(Error::contract("read CNI_ARGS"))?;
        Ok(args.pairs().to_vec())
    }

    /// The pairs of `CNI_ARGS`, without parts that are not pairs.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        cni::Args::read(&self.args).pairs().to_vec()
    }

    /// `CAP_ARGS`: values by capability.
    pub(crate) fn capabilities(&self) -> Result<Map<String, Value>, Error> {
        if self.capabilities.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_str(&self.capabilities).map_err(|error| {
            let reason = format!("it must be a JSON object by capability: {error}");
            refused("CAP_ARGS", &self.capabilities, reason)
        })
    }
}

fn refused(variable: &str, text: &str, reason: String) -> Error {
    Error::Refused { doing: format!("read {variable} {text:?}"), reason, cure: None }
}

/// Whether a variable is CNI's, which a command in a container must not inherit.
pub(crate) fn is_of_contract(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"CNI_")
}

/// Those that a command in a container inherits.
pub(crate) fn inherited() -> Vec<(OsString, OsString)> {
    let mut all = all();
    all.retain(|(name, _)| !is_of_contract(name));
    all
}

/// The variable of an option such as `-e`: `KEY=VALUE`, or `KEY` with the value that it has here, if it has one.
pub(crate) fn variable_of_option(text: &str) -> Result<Option<(OsString, OsString)>, &'static str> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    if key.is_empty() {
        return Err("it has no name");
    }
    let value = value.map(OsString::from).or_else(|| of_name(key));
    Ok(value.map(|value| (key.into(), value)))
}

#[expect(clippy::disallowed_methods, reason = "the process boundary of the cleat command")]
fn of_name(key: &str) -> Option<OsString> {
    std::env::var_os(key)
}

/// All variables. A container in the background is started with them, also when it is restarted.
pub(crate) fn all() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The folders of `PATH`, in which programs other than plugins are looked for.
pub(crate) fn programs() -> Vec<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

#[expect(clippy::disallowed_methods, reason = "the process boundary of the cleat command")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
impl Environment {
    /// An environment that names a folder of networks and nothing else.
    pub(crate) fn of_folder(folder: &std::path::Path) -> Self {
        Self {
            path: vec![],
            folder: folder.to_owned(),
            ifname: DEFAULT_INTERFACE.into(),
            args: String::new(),
            capabilities: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(args: &str, capabilities: &str) -> Environment {
        Environment {
            args: args.into(),
            capabilities: capabilities.into(),
            ..Environment::of_folder("".as_ref())
        }
    }

    #[test]
    fn arguments_are_read_as_cnitool_reads_them() {
        let given = environment("A=1;B=2", r#"{"mac":"02:00:00:00:00:01"}"#);
        assert_eq!(given.args().unwrap(), [("A".into(), "1".into()), ("B".into(), "2".into())]);
        assert_eq!(given.capabilities().unwrap()["mac"], "02:00:00:00:00:01");
        let none = environment("", "");
        assert!(none.args().unwrap().is_empty() && none.capabilities().unwrap().is_empty());
    }

    #[test]
    fn wrong_arguments_name_their_variable() {
        let wrong = environment("A", "[1]");
        assert!(wrong.args().unwrap_err().to_string().contains("CNI_ARGS"));
        assert_eq!(wrong.pairs(), []);
        let error = wrong.capabilities().unwrap_err().to_string();
        assert!(error.contains("CAP_ARGS") && error.contains("JSON object"), "{error}");
    }
}
