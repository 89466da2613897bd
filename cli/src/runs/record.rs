//! With what a container was started, so that it can be started again just so, and how it ended.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use registry::Folder;
use serde::{Deserialize, Serialize};

/// The file `run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The container's ID.
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// The command line of `cleat run`.
    pub(crate) arguments: Vec<OsString>,
    /// Where it was given.
    pub(crate) folder: PathBuf,
    /// The environment in which it was given. It may hold secrets: only root may read it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// What runs in it, for people.
    pub(crate) command: String,
    /// The networks by their names.
    pub(crate) networks: Vec<String>,
    /// Whether it runs in the background.
    pub(crate) detached: bool,
    /// Whether nothing is kept of it when it has ended.
    pub(crate) vanishes: bool,
    /// When it was made.
    pub(crate) created: SystemTime,
    /// The process that looks after it. Without the folder's lock this says nothing.
    pub(crate) keeper: Option<i32>,
    /// The process that is the container.
    pub(crate) process: Option<i32>,
    /// The exit code, once it has ended.
    pub(crate) exit_code: Option<u8>,
}

impl Record {
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&cni::file::read(file, cni::file::LONGEST)?)?)
    }

    /// A reader sees the old record or the new one.
    pub(super) fn write(&self, folder: &Path, file: &str) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let folder = Folder::open(folder).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        folder.replace(file, &text, 0o600).map_err(io::Error::other)
    }

    /// Whether a text is its name, or its ID in full or short.
    pub(super) fn is_called(&self, text: &str) -> bool {
        self.name.as_deref() == Some(text)
            || self.container_id == text
            || registry::short_id(&self.container_id) == text
    }
}
