//! The record of a container: how it was started, so that it can be started again, and how it ended.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::spec::{Options, Spec};

/// The file `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The container's ID.
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// What the container is to be.
    #[serde(rename = "spec", alias = "arguments")]
    pub(crate) start: Start,
    /// The folder in which it was started.
    pub(crate) folder: PathBuf,
    /// The environment in which it was started. It may hold secrets: only root may read it.
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
    /// The process number of its supervisor. It is only valid while the folder is locked.
    #[serde(rename = "keeper")]
    pub(crate) supervisor: Option<i32>,
    /// The process that is the container.
    pub(crate) process: Option<i32>,
    /// The exit code, once it has ended.
    pub(crate) exit_code: Option<u8>,
}

/// What a container is to be, in either of the formats that `run.json` has had.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Start {
    /// What is written today, under the key `spec`.
    Spec(Box<Spec>),
    /// The command line of `cleat run`, under the key `arguments`: what versions up to 0.1 wrote.
    CommandLine(Vec<OsString>),
}

impl Record {
    /// What the container is to be.
    ///
    /// # Errors
    /// An older version kept a command line that this one does not understand.
    pub(crate) fn spec(&self) -> Result<Spec, Error> {
        match &self.start {
            Start::Spec(spec) => Ok(Spec::clone(spec)),
            Start::CommandLine(arguments) => {
                Options::of_command_line(arguments).map(|options| options.spec).ok_or_else(|| {
                    Error::refused(
                        format!("start container {}", self.container_id),
                        "this version does not understand with what it was started",
                        format!("`cleat rm {}`, then run it anew", self.container_id),
                    )
                })
            }
        }
    }

    /// Whether a text is its name, or its ID in full or short.
    pub(super) fn is_called(&self, text: &str) -> bool {
        self.name.as_deref() == Some(text)
            || self.container_id == text
            || registry::short_id(&self.container_id) == text
    }
}

/// Reads one of a container's files.
pub(super) fn read_json<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&cni::file::read(file, cni::file::LONGEST)?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A `run.json` as version 0.1 wrote it, with every option of that version.
    const OLD: &[u8] = include_bytes!("recorded/run-0.1.json");

    #[test]
    fn the_command_line_of_an_older_version_says_what_the_container_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.json");
        std::fs::write(&file, OLD).unwrap();
        let record: Record = read_json(&file).unwrap();
        assert!(record.is_called("web") && record.is_called(&record.container_id));
        assert_eq!((record.supervisor, record.process, record.exit_code), (Some(4711), Some(4712), None));
        let wanted = json!({
            "network": [
                [{"name": "front", "aliases": ["www"], "addresses": ["10.1.0.5"], "gwPriority": 1}],
                [{"name": "back", "aliases": [], "addresses": [], "gwPriority": 0}],
            ],
            "ip": "10.1.0.9",
            "ip6": "fd00:91::77",
            "publish": [
                {"hostIp": "127.0.0.1", "host": {"start": 8080, "end": 8080}, "container": {"start": 80, "end": 80},
                 "protocol": "tcp"},
                {"hostIp": null, "host": null, "container": {"start": 53, "end": 53}, "protocol": "udp"},
            ],
            "publishAll": true,
            "expose": ["90-91/tcp"],
            "link": ["db:sql"],
            "networkAlias": ["alias"],
            "hostname": "h",
            "addHost": ["printer=192.0.2.9"],
            "env": [{"key": "A", "value": "b=c"}],
            "cache": "/var/lib/cni",
            "command": [{"Unix": b"sh"}, {"Unix": b"-c"}, {"Unix": b"exec sleep 1000 -p"}],
        });
        assert_eq!(serde_json::to_value(record.spec().unwrap()).unwrap(), wanted);
    }

    #[test]
    fn what_is_written_today_is_read_again() {
        let mut record: Record = serde_json::from_slice(OLD).unwrap();
        let spec = record.spec().unwrap();
        record.start = Start::Spec(Box::new(spec));
        let written: Value = serde_json::to_value(&record).unwrap();
        assert!(written.get("arguments").is_none());
        let read: Record = serde_json::from_value(written.clone()).unwrap();
        assert!(matches!(read.start, Start::Spec(_)));
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }

    #[test]
    fn a_command_line_that_is_not_understood_is_refused_and_kept() {
        for arguments in
            [vec!["cleat", "run", "--colour", "red", "sh"], vec!["cleat", "ps"], vec!["cleat"], vec![]]
        {
            let mut record: Record = serde_json::from_slice(OLD).unwrap();
            record.start = Start::CommandLine(arguments.iter().map(OsString::from).collect());
            let written = serde_json::to_value(&record).unwrap();
            let read: Record = serde_json::from_value(written).unwrap();
            assert!(read.spec().unwrap_err().to_string().contains("does not understand"));
            assert!(read.is_called("web"));
        }
    }
}
