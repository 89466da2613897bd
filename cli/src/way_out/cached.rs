//! One attachment of the container, as the cache keeps it.

use std::path::Path;
use std::time::SystemTime;

use cni::Attachment;
use cni::cache::Entry;
use serde_json::Value;

use crate::container_id::attachment;
use crate::error::Error;
use crate::runtime::{Making, Runtime};

/// The key of an attachment's capabilities that has its priority.
const PRIORITY: &str = "io.cleat.gwPriority";

/// A priority as it is kept; 0, which is the default, is not.
pub(crate) fn priority(priority: i64) -> Option<(String, Value)> {
    (priority != 0).then(|| (PRIORITY.to_owned(), priority.into()))
}

/// One attachment of the container.
pub(super) struct CachedAttachment {
    pub(super) attachment: Attachment,
    pub(super) entry: Entry,
    pub(super) making: Making,
    pub(super) since: Option<SystemTime>,
}

impl CachedAttachment {
    pub(super) fn of(entry: Entry, runtime: &Runtime<'_>, netns: &Path) -> Option<Self> {
        let attachment = attachment(&entry.network, &entry.container_id, &entry.ifname).ok()?;
        let making = Making::within(entry.clone(), netns.to_owned()).ok()?;
        let since = runtime.cache.written(&attachment);
        Some(Self { attachment, entry, making, since })
    }

    pub(super) fn priority(&self) -> i64 {
        self.making.capabilities.get(PRIORITY).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Writes a capability to the cache, or removes it from there; the attachment stays as old as it was.
    pub(super) fn keep(
        &mut self,
        runtime: &Runtime<'_>,
        key: &str,
        value: Option<Value>,
    ) -> Result<(), Error> {
        let capabilities = &mut self.making.capabilities;
        let is_kept = match value {
            Some(value) => capabilities.insert(key.to_owned(), value.clone()) == Some(value),
            None => capabilities.remove(key).is_none(),
        };
        if is_kept {
            return Ok(());
        }
        self.entry.capability_args = (!capabilities.is_empty()).then(|| capabilities.clone());
        let doing = format!("keep what {} is to have", self.attachment);
        runtime.cache.amend(&self.attachment, &self.entry).map_err(Error::contract(doing))
    }
}
