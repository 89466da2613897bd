//! The agent's file of a network: how this node takes part in it. It is root's alone, as it names keys and passwords.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::NetworkName;
use folder::{Folder, PRIVATE};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The folder of the files. The agent reads those that end with `.json`.
const FOLDER: &str = "/etc/cleat/overlay";

/// What is written of a network, and read again. Further keys that the agent knows are for people to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conf {
    /// Where the nodes' records are.
    pub(crate) engine: Engine,
    /// The network's ID: of another network of this name nothing is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// This node's name, unless it is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// The interface whose address others send to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<String>,
    /// The address that others send to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
}

/// A cluster of etcd. There are paths of secrets in it, and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Engine {
    /// `etcd`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `http://host:port` or `https://host:port` of each member.
    pub(crate) endpoints: Vec<String>,
    /// File with the certificate of the CA that signed the servers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// File with this node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// File with its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// The user, unless the certificate says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// What all keys begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
}

/// The path of a network's file.
pub(crate) fn file(network: &NetworkName) -> PathBuf {
    Path::new(FOLDER).join(name(network))
}

fn name(network: &NetworkName) -> String {
    format!("{network}.json")
}

impl Conf {
    /// Reads a network's file; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not of this form.
    pub(crate) fn read(network: &NetworkName) -> Result<Option<Self>, Error> {
        Self::read_in(Path::new(FOLDER), network)
    }

    /// Writes a network's file, whole or not at all.
    ///
    /// # Errors
    /// A failure to make the folder, or to write.
    pub(crate) fn write(&self, network: &NetworkName) -> Result<(), Error> {
        self.write_in(Path::new(FOLDER), network)
    }

    /// Removes a network's file; the agent's part for the network ends with it. One that is not there is no error.
    ///
    /// # Errors
    /// A failure to remove it.
    pub(crate) fn remove(network: &NetworkName) -> Result<(), Error> {
        let Some(folder) = Folder::open(Path::new(FOLDER)).map_err(failed)? else {
            return Ok(());
        };
        folder.remove(&name(network)).map_err(failed)
    }

    fn read_in(folder: &Path, network: &NetworkName) -> Result<Option<Self>, Error> {
        let read = || Folder::open(folder)?.map_or(Ok(None), |folder| folder.read(&name(network)));
        let Some(bytes) = read().map_err(failed)? else { return Ok(None) };
        let invalid =
            |error| Error::io(format!("read {}", file(network).display()), std::io::Error::other(error));
        serde_json::from_slice(&bytes).map(Some).map_err(|error: serde_json::Error| invalid(error))
    }

    fn write_in(&self, folder: &Path, network: &NetworkName) -> Result<(), Error> {
        let doing = || format!("write {}", file(network).display());
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| Error::io(doing(), error))?;
        text.push(b'\n');
        let write = || {
            let folder = Folder::at_or_create(folder, 0o755)?;
            folder.replace(&name(network), &text, PRIVATE)?;
            Ok((folder.open_file(&name(network), OFlag::O_RDONLY)?, folder))
        };
        let (written, folder) = write().map_err(failed)?;
        // It is to be there after a crash, as what the engine knows of this node is.
        let synced = written.map_or(Ok(()), |file| file.sync_all()).and_then(|()| folder.file().sync_all());
        synced.map_err(|error| Error::io(doing(), error))
    }
}

fn failed(error: folder::Error) -> Error {
    Error::io(format!("{} {}", error.verb, error.path.display()), error.source)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_roots_alone_and_has_no_more_than_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("cleat/overlay");
        let network = NetworkName::new("shop").unwrap();
        assert_eq!(Conf::read_in(&at, &network).unwrap(), None);
        let engine = Engine {
            kind: "etcd".to_owned(),
            endpoints: vec!["https://h1:2379".to_owned()],
            ca: Some("/etc/ca.pem".into()),
            cert: None,
            key: None,
            user: Some("node-1".to_owned()),
            password_file: Some("/etc/password".into()),
            prefix: None,
        };
        let conf = Conf { engine, id: Some("a-b".to_owned()), node: None, interface: None, address: None };
        conf.write_in(&at, &network).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&at.join("shop.json")), mode(&at)), (0o600, 0o755));
        let text = fs::read_to_string(at.join("shop.json")).unwrap();
        let wanted = serde_json::json!({"engine": {"type": "etcd", "endpoints": ["https://h1:2379"],
            "ca": "/etc/ca.pem", "user": "node-1", "passwordFile": "/etc/password"}, "id": "a-b"});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), wanted);
        assert_eq!(Conf::read_in(&at, &network).unwrap(), Some(conf));
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1, "nothing else is left");
        // What a person added is for the agent to judge; a torn file is not taken for none.
        fs::write(at.join("shop.json"), text.replacen('{', "{\"metrics\": \"127.0.0.1:9100\",", 1)).unwrap();
        assert!(Conf::read_in(&at, &network).unwrap().is_some());
        fs::write(at.join("shop.json"), &text[..20]).unwrap();
        assert!(
            Conf::read_in(&at, &network).unwrap_err().to_string().contains("/etc/cleat/overlay/shop.json")
        );
    }
}
