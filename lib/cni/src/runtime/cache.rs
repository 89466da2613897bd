//! The result cache of libcni: one file an attachment, in the place and format of libcni, so that what one program
//! added another can delete.

mod damaged;
mod entry;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::spec::attachment::{Attachment, ContainerId};
use crate::spec::error::{Code, Error};

pub use damaged::Damaged;
pub use entry::Entry;

/// The default folder of libcni; the files are in `results` below it.
pub const DEFAULT_FOLDER: &str = "/var/lib/cni";

/// The cache in a folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache whose files are in `results` below a folder, [`DEFAULT_FOLDER`] as a rule.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.join("results") }
    }

    /// The folder of the results.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, attachment: &Attachment) -> PathBuf {
        let Attachment { network, container_id, ifname } = attachment;
        self.folder.join(format!("{network}-{container_id}-{ifname}"))
    }

    /// Keeps an entry; a reader sees the old file or the new one, never a part.
    ///
    /// # Errors
    /// Code 5 where the file cannot be written.
    pub fn write(&self, attachment: &Attachment, entry: &Entry) -> Result<(), Error> {
        self.write_as_of(attachment, entry, None)
    }

    /// As [`write`](Self::write), for an attachment that goes on with other capabilities: it stays as old as it was.
    ///
    /// # Errors
    /// Code 5 where the file cannot be written.
    pub fn amend(&self, attachment: &Attachment, entry: &Entry) -> Result<(), Error> {
        self.write_as_of(attachment, entry, self.written(attachment))
    }

    fn write_as_of(
        &self,
        attachment: &Attachment,
        entry: &Entry,
        modified: Option<SystemTime>,
    ) -> Result<(), Error> {
        let file = self.file(attachment);
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let bytes = serde_json::to_vec(entry)?;
            // libcni skips what is not one of its entries, such as the temporary file.
            let temporary = self.unfinished(attachment);
            // What a killed process left, or somebody else put there, is never written through.
            let _ = fs::remove_file(&temporary);
            let written = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)
                .and_then(|mut handle| {
                    handle.write_all(&bytes)?;
                    modified.map_or(Ok(()), |time| handle.set_modified(time))
                })
                .and_then(|()| fs::rename(&temporary, &file));
            if written.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            written
        };
        write()
            .map_err(|error| Error::new(Code::Io, format!("write result cache {}: {error}", file.display())))
    }

    /// Where an attachment's entry is while it is written.
    fn unfinished(&self, attachment: &Attachment) -> PathBuf {
        self.folder.join(format!(".{}", attachment.token()))
    }

    /// Removes what processes left that were killed while they wrote. Nobody else may be writing.
    ///
    /// # Errors
    /// Code 5 where the folder cannot be read, or a file not be removed.
    pub fn remove_unfinished(&self) -> Result<(), Error> {
        let is_unfinished = |name: &str| {
            name.strip_prefix('.')
                .is_some_and(|token| token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let clear = || -> io::Result<()> {
            let holds = fs::read_dir(self.folder.with_file_name(""))?;
            for entry in holds.chain(fs::read_dir(&self.folder)?) {
                let entry = entry?;
                if entry.file_name().to_str().is_some_and(is_unfinished) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        match clear() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::new(
                Code::Io,
                format!("clear unfinished entries of {}: {error}", self.folder.display()),
            )),
            _ => Ok(()),
        }
    }

    /// Reads an attachment's entry; `None` where there is none.
    ///
    /// # Errors
    /// Code 5 where the file cannot be read, code 6 where it is not an entry.
    pub fn read(&self, attachment: &Attachment) -> Result<Option<Entry>, Error> {
        Ok(entry::read(&self.file(attachment))?)
    }

    /// When an attachment's entry was written, which is when its ADD succeeded; `None` where that is unknown.
    #[must_use]
    pub fn written(&self, attachment: &Attachment) -> Option<SystemTime> {
        fs::metadata(self.file(attachment)).and_then(|metadata| metadata.modified()).ok()
    }

    /// Removes the entry of an attachment; one that is not there counts as removed.
    ///
    /// # Errors
    /// Code 5 where the file cannot be removed.
    pub fn remove(&self, attachment: &Attachment) -> Result<(), Error> {
        let file = self.file(attachment);
        // What an ADD left that was killed while it wrote.
        let _ = fs::remove_file(self.unfinished(attachment));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::new(Code::Io, format!("remove result cache {}: {error}", file.display())))
            }
            _ => Ok(()),
        }
    }

    /// Every readable entry, in the order of file names. What is no entry is skipped, as libcni does.
    ///
    /// # Errors
    /// Code 5 where the folder cannot be read; a missing folder holds nothing.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.all()?.0)
    }

    /// Every readable entry, and every file that should be one and is not, in the order of file names.
    ///
    /// # Errors
    /// As [`Cache::entries`].
    pub fn all(&self) -> Result<(Vec<Entry>, Vec<Damaged>), Error> {
        self.all_in(|_| true)
    }

    /// The entries of one container. Only files that may be its own are read.
    ///
    /// # Errors
    /// As [`Cache::entries`].
    pub fn entries_of(&self, container_id: &ContainerId) -> Result<Vec<Entry>, Error> {
        Ok(self.all_of(container_id)?.0)
    }

    /// The entries of one container, and the files that may be its own and are not readable.
    ///
    /// # Errors
    /// As [`Cache::entries`].
    pub fn all_of(&self, container_id: &ContainerId) -> Result<(Vec<Entry>, Vec<Damaged>), Error> {
        let part = format!("-{container_id}-");
        let (mut entries, damaged) = self.all_in(|name| name.contains(&part))?;
        entries.retain(|entry| entry.container_id == container_id.as_str());
        Ok((entries, damaged))
    }

    fn all_in(&self, is_wanted: impl Fn(&str) -> bool) -> Result<(Vec<Entry>, Vec<Damaged>), Error> {
        let unreadable =
            |error| Error::new(Code::Io, format!("read folder {}: {error}", self.folder.display()));
        let listing = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            listing => listing.map_err(unreadable)?,
        };
        let mut names = Vec::new();
        for entry in listing {
            let name = entry.map_err(unreadable)?.file_name();
            // What begins with a dot is being written.
            if is_wanted(&name.to_string_lossy()) && !name.as_encoded_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        names.sort();
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for name in names {
            match entry::read(&self.folder.join(&name)) {
                Ok(entry) => entries.extend(entry),
                Err(failure) => damaged.push(Damaged {
                    file: name.to_string_lossy().into_owned(),
                    is_unread: failure.is_unread,
                    reason: failure.error.to_string(),
                }),
            }
        }
        Ok((entries, damaged))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::attachment::{IfName, NetworkName};

    fn attachment() -> Attachment {
        Attachment {
            network: NetworkName::new("net").unwrap(),
            container_id: ContainerId::new("id").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn entries_have_libcnis_keys_and_place() {
        let folder = std::env::temp_dir().join(format!("cni-cache-{}", std::process::id()));
        let cache = Cache::new(&folder);
        assert_eq!(cache.entries().unwrap(), []);
        let mut entry = Entry::new(
            &attachment(),
            Path::new("/run/netns/a"),
            b"{\"name\":\"net\"}",
            json!({"cniVersion": "1.0.0"}),
        );
        entry.args = Some(vec![("K".into(), "V".into())]);
        entry.capability_args = json!({"portMappings": []}).as_object().cloned();
        cache.write(&attachment(), &entry).unwrap();
        let text = fs::read_to_string(folder.join("results/net-id-eth0")).unwrap();
        let wanted = json!({
            "kind": "cniCacheV1", "containerId": "id", "config": "eyJuYW1lIjoibmV0In0=", "ifName": "eth0",
            "networkName": "net", "netns": "/run/netns/a", "cniArgs": [["K", "V"]],
            "capabilityArgs": {"portMappings": []}, "result": {"cniVersion": "1.0.0"}
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted);
        assert_eq!(cache.read(&attachment()).unwrap(), Some(entry.clone()));
        fs::write(folder.join("results/other"), "{}").unwrap();
        assert_eq!(cache.entries().unwrap(), [entry.clone()]);
        assert_eq!(cache.entries_of(&attachment().container_id).unwrap().len(), 1);
        assert_eq!(cache.entries_of(&ContainerId::new("net").unwrap()).unwrap(), []);
        let written = cache.written(&attachment()).unwrap();
        assert!(written <= SystemTime::now());
        std::thread::sleep(std::time::Duration::from_millis(20));
        cache.amend(&attachment(), &Entry { capability_args: None, ..entry.clone() }).unwrap();
        assert_eq!(cache.read(&attachment()).unwrap().unwrap().capability_args, None);
        assert_eq!(cache.written(&attachment()), Some(written), "the attachment is no younger");
        cache.amend(&attachment(), &entry).unwrap();
        // Links in the way of a file, and of the one that becomes it, lead nowhere.
        let (victim, [file, temporary]) =
            (folder.join("victim"), [cache.file(&attachment()), cache.unfinished(&attachment())]);
        fs::write(&victim, "precious").unwrap();
        fs::remove_file(&file).unwrap();
        for link in [&file, &temporary] {
            std::os::unix::fs::symlink(&victim, link).unwrap();
        }
        cache.write(&attachment(), &entry).unwrap();
        assert_eq!(cache.read(&attachment()).unwrap(), Some(entry));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        cache.remove(&attachment()).unwrap();
        cache.remove(&attachment()).unwrap();
        assert_eq!(cache.read(&attachment()).unwrap(), None);
        fs::write(folder.join("results/net-id-eth0"), "{").unwrap();
        assert_eq!(cache.read(&attachment()).unwrap_err().code(), 6);
        fs::create_dir(folder.join("results/net-a-b-c")).unwrap();
        let (entries, damaged) = cache.all().unwrap();
        let files: Vec<_> = damaged.iter().map(|damaged| damaged.file.as_str()).collect();
        assert_eq!((entries.len(), files), (0, vec!["net-a-b-c", "net-id-eth0", "other"]));
        let candidates = damaged[0].candidates(&attachment().network);
        let candidates: Vec<_> =
            candidates.iter().map(|found| (found.container_id.as_str(), found.ifname.as_str())).collect();
        assert_eq!(candidates, [("a-b", "c"), ("a", "b-c")]);
        assert_eq!(damaged[2].candidates(&attachment().network), []);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_result_tells_the_interface_where_older_libcnis_keep_no_namespace() {
        let entry = |recorded: &str| serde_json::from_str::<Entry>(recorded).unwrap();
        for (recorded, netns, sandbox) in [
            (include_str!("../../../../tests/data/caches/containerd-1.6.json"), "", "/var/run/netns/cni-"),
            (
                include_str!("../../../../tests/data/caches/containerd-1.6-loopback.json"),
                "",
                "/var/run/netns/cni-",
            ),
            (
                include_str!("../../../../tests/data/caches/containerd-2.1.json"),
                "/var/run/netns/cni-",
                "/var/run/netns/cni-",
            ),
            (include_str!("../../../../tests/data/caches/ctr-1.6.json"), "", "/proc/"),
            (include_str!("../../../../tests/data/caches/podman-4.3.json"), "", "/run/netns/netns-"),
            (include_str!("../../../../tests/data/caches/libcni-1.1.json"), "", "/run/netns/web"),
        ] {
            let entry = entry(recorded);
            let interface = entry.interface().unwrap();
            assert!(interface.sandbox.starts_with(sandbox) && interface.name == entry.ifname, "{recorded}");
            assert!(interface.mac.len() == 17 && entry.netns.starts_with(netns), "{recorded}");
            assert_eq!(entry.netns.is_empty(), netns.is_empty(), "{recorded}");
        }
        let mut old = entry(include_str!("../../../../tests/data/caches/podman-4.3.json"));
        // As many as there may be, in any state.
        let eth0 = |sandbox: &str| json!({"name": "eth0", "sandbox": sandbox});
        old.result = Some(json!({"Interfaces": [7, eth0("/a"), {"name": []}, eth0("/b"), eth0("")]}));
        assert_eq!(old.interface().unwrap().sandbox, "/b");
        for nothing in
            [json!({"ip4": {"ip": "10.1.0.5/24"}}), json!({"interfaces": null}), json!([]), json!(7)]
        {
            old.result = Some(nothing);
            assert_eq!(old.interface(), None);
        }
        old.result = None;
        assert_eq!(old.interface(), None);
    }
}
