//! One file of the cache.

mod base64_bytes;

use std::io;
use std::path::Path;

use nix::libc::ELOOP;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file;
use crate::spec::attachment::Attachment;
use crate::spec::case_blind;
use crate::spec::conf;
use crate::spec::error::{Code, Error};
use crate::spec::result::Interface;

const KIND: &str = "cniCacheV1";

/// In bytes. A list is as long as a configuration may be, and takes four thirds of that in here; so does a result.
const LONGEST: usize = 8 << 20;
/// What was offered came to plugins within a configuration; the result is as long as one at most.
const CONFIGURATIONS: usize = 2;

/// What the cache keeps of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub(super) kind: String,
    /// The container's ID.
    #[serde(rename = "containerId")]
    pub container_id: String,
    #[serde(with = "base64_bytes")]
    /// The network list, byte for byte as it was when the attachment was made.
    pub config: Vec<u8>,
    /// The interface inside the container.
    #[serde(rename = "ifName")]
    pub ifname: String,
    /// The network's name.
    #[serde(rename = "networkName")]
    pub network: String,
    /// The container's network namespace. libcni before 1.2.0 keeps none: see [`Entry::interface`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// `CNI_ARGS` as pairs.
    #[serde(rename = "cniArgs", default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<(String, String)>>,
    /// What the runtime offered by capability.
    #[serde(rename = "capabilityArgs", default, skip_serializing_if = "Option::is_none")]
    pub capability_args: Option<Map<String, Value>>,
    /// The result of the whole ADD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Entry {
    /// An entry for an attachment whose ADD has succeeded.
    #[must_use]
    pub fn new(attachment: &Attachment, netns: &Path, config: &[u8], result: Value) -> Self {
        Self {
            kind: KIND.to_owned(),
            container_id: attachment.container_id.to_string(),
            config: config.to_vec(),
            ifname: attachment.ifname.to_string(),
            network: attachment.network.to_string(),
            netns: netns.to_string_lossy().into_owned(),
            args: None,
            capability_args: None,
            result: Some(result),
        }
    }

    /// The interface inside the container, from the result, with the path of its namespace. Results before 0.3.0 have no
    /// interfaces.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        let listed = case_blind::get(self.result.as_ref()?.as_object()?, "interfaces")?.as_array()?;
        // What else is wrong with the result does not matter here.
        let mut interfaces = listed.iter().filter_map(|one| case_blind::from_value::<Interface>(one).ok());
        interfaces.rfind(|interface| interface.name == self.ifname && !interface.sandbox.is_empty())
    }
}

/// Why there is no entry of a file.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// See [`super::Damaged::is_unread`].
    pub(super) is_unread: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Reads a file; `None` where there is none.
pub(super) fn read(file: &Path) -> Result<Option<Entry>, Failure> {
    let broken = |why: &str| {
        let error = Error::new(Code::Decode, format!("result cache {} is damaged: {why}", file.display()));
        Failure { error, is_unread: false }
    };
    let bytes = match file::read(file, LONGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            // What is no file, too long, or a link to itself, is that the next time as well.
            let is_unread = error.raw_os_error().is_some_and(|errno| errno != ELOOP);
            let error = Error::new(Code::Io, format!("read result cache {}: {error}", file.display()));
            return Err(Failure { error, is_unread });
        }
    };
    if let Some(more) = conf::beyond(&bytes, CONFIGURATIONS) {
        return Err(broken(&format!("it has {more}")));
    }
    let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| broken(&error.to_string()))?;
    if entry.kind == KIND { Ok(Some(entry)) } else { Err(broken("it is of another kind")) }
}
