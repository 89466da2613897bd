//! One network that a container is on, and what the cache keeps of it.

use std::path::Path;
use std::time::SystemTime;

use cni::cache::Entry;
use cni::{AddResult, Attachment, NetworkList};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::inventory::kept_result;
use crate::runtime::{Making, Runtime};

/// Under which key of its capabilities an attachment has its priority.
const PRIORITY: &str = "io.cleat.gwPriority";

/// What is kept of a priority: nothing of the usual one.
pub(crate) fn priority(priority: i64) -> Option<(String, Value)> {
    (priority != 0).then(|| (PRIORITY.to_owned(), priority.into()))
}

/// One network that a container is on.
pub(super) struct Standing {
    pub(super) attachment: Attachment,
    pub(super) entry: Entry,
    pub(super) list: NetworkList,
    pub(super) since: Option<SystemTime>,
}

impl Standing {
    pub(super) fn priority(&self) -> i64 {
        self.capability(PRIORITY).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn capability(&self, key: &str) -> Option<&Value> {
        self.entry.capability_args.as_ref().and_then(|capabilities| capabilities.get(key))
    }

    pub(super) fn result(&self) -> AddResult {
        kept_result(&self.entry)
    }

    pub(super) fn making(&self, netns: &Path) -> Making {
        Making {
            list: self.list.clone(),
            netns: netns.to_owned(),
            args: self.entry.args.clone().unwrap_or_default(),
            capabilities: self.entry.capability_args.clone().unwrap_or_default(),
        }
    }

    /// Keeps a value under a key, or nothing; the attachment stays as old as it was.
    pub(super) fn keep(
        &mut self,
        runtime: &Runtime<'_>,
        key: &str,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let capabilities = self.entry.capability_args.get_or_insert_with(Map::new);
        let before = match value {
            Some(value) => capabilities.insert(key.to_owned(), value.clone()) == Some(value),
            None => capabilities.remove(key).is_none(),
        };
        if capabilities.is_empty() {
            self.entry.capability_args = None;
        }
        if before {
            return Ok(());
        }
        let doing = format!("keep what {} is to have", self.attachment);
        runtime.cache.amend(&self.attachment, &self.entry).map_err(Error::contract(doing))
    }
}
