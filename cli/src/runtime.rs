//! What every verb shares: the networks on disk, the attachments that are kept, and the lock between verbs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::cache::{DEFAULT_FOLDER, Entry};
use cni::{
    Attachment, Cache, Chain, Command, ContainerId, ContainerLock, NetworkList, Parameters, case_blind,
};
use lock::{Holder, Mode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::container_id::attachment;
use crate::environment::Environment;
use crate::error::Error;
use crate::network::is_created;
use crate::place::Place;

/// Where results are kept.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
#[serde(transparent)]
pub(crate) struct CacheFolder {
    /// Where the results of attachments are kept
    #[arg(long = "cache-dir", value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    folder: PathBuf,
}

/// A runtime with its plugins, its networks and its cache.
#[derive(Clone, Debug)]
pub(crate) struct Runtime<'a> {
    environment: &'a Environment,
    folder: PathBuf,
    /// The attachments that are kept.
    pub(crate) cache: Cache,
}

/// With what an attachment is made, compared and removed.
#[derive(Clone, Debug)]
pub(crate) struct Making {
    /// The network.
    pub(crate) list: NetworkList,
    /// The container's namespace; empty where it has gone, or nothing tells it.
    pub(crate) netns: PathBuf,
    /// `CNI_ARGS` as pairs.
    pub(crate) args: Vec<(String, String)>,
    /// Values by capability.
    pub(crate) capabilities: Map<String, Value>,
}

impl Making {
    /// The making of an attachment as its cache entry tells it, whatever the disk says of the network today.
    pub(crate) fn of(entry: Entry) -> Result<Self, Error> {
        let netns = Place::of(&entry, None).certain().to_owned();
        Self::within(entry, netns)
    }

    /// The same, in a namespace that is known already.
    pub(crate) fn within(entry: Entry, netns: PathBuf) -> Result<Self, Error> {
        let doing = format!("read the kept configuration of network {}", entry.network);
        Ok(Self {
            list: NetworkList::from_slice(&entry.config).map_err(Error::contract(doing))?,
            netns,
            args: entry.args.unwrap_or_default(),
            capabilities: entry.capability_args.unwrap_or_default(),
        })
    }

    /// Whether its network can be checked; or why not.
    pub(crate) fn expect_check(&self) -> Result<(), &'static str> {
        if self.list.disable_check {
            return Err("its network asks not to be checked");
        }
        if self.list.version < Command::Check.since() {
            return Err("CHECK came with version 0.4.0");
        }
        Ok(())
    }

    /// The parameters of a call about an attachment.
    pub(crate) fn parameters<'a>(&'a self, attachment: &'a Attachment) -> Parameters<'a> {
        Parameters { attachment, netns: &self.netns, args: &self.args, capabilities: &self.capabilities }
    }
}

/// The lock between commands, while this lives.
#[derive(Debug)]
#[must_use = "the lock is released at once unless it is kept"]
pub(crate) struct Lock {
    _results: File,
    _cache: Option<File>,
}

impl<'a> Runtime<'a> {
    /// The runtime that the environment and the choice of a cache make.
    pub(crate) fn new(environment: &'a Environment, cache: &CacheFolder) -> Self {
        Self { environment, cache: Cache::new(&cache.folder), folder: cache.folder.clone() }
    }

    /// Runs a network's plugins.
    pub(crate) fn chain<'b>(&'b self, list: &'b NetworkList) -> Chain<'b> {
        Chain { list, path: &self.environment.path, cache: &self.cache }
    }

    /// The network of a name.
    pub(crate) fn find(&self, network: &str) -> Result<NetworkList, Error> {
        NetworkList::find(&self.environment.folder, network).map_err(Error::contract("find network"))
    }

    /// Every network that can be read, none where there is no folder of them. Of several files with one name the first
    /// counts, as where it is looked for by that name.
    pub(crate) fn networks(&self) -> Vec<NetworkList> {
        NetworkList::all(&self.environment.folder).map(|(lists, _)| first_of_each(lists)).unwrap_or_default()
    }

    /// The one network that there is. Lists of nothing but loopback, which many nodes have beside it, do not count; nor do
    /// networks that `network create` made, as long as there is another: what a command meant before, it means after.
    pub(crate) fn only(&self) -> Result<NetworkList, Error> {
        let folder = &self.environment.folder;
        let (lists, _) = NetworkList::all(folder).map_err(Error::contract("choose network"))?;
        let mut lists = first_of_each(lists);
        lists.retain(|list| {
            let types = list.plugins.iter().map(|plugin| case_blind::get(plugin, "type"));
            !types.eq([Some(&Value::from("loopback"))])
        });
        if !lists.iter().all(is_created) {
            lists.retain(|list| !is_created(list));
        }
        let names = lists.iter().map(|list| list.name.to_string()).collect();
        match lists.pop() {
            Some(list) if lists.is_empty() => Ok(list),
            _ => Err(Error::Choice { folder: folder.clone(), names }),
        }
    }

    /// What the environment says of an attachment that is to be made.
    pub(crate) fn making(&self, list: NetworkList, netns: PathBuf) -> Result<Making, Error> {
        Ok(Making {
            list,
            netns,
            args: self.environment.args()?,
            capabilities: self.environment.capabilities()?,
        })
    }

    /// With what an attachment was made: what is kept of it, or else what disk and environment say. A namespace that
    /// is given goes before the kept one.
    pub(crate) fn recall(&self, attachment: &Attachment, netns: Option<&Path>) -> Result<Making, Error> {
        let doing = format!("look up {attachment}");
        let entry = self.cache.read(attachment).map_err(Error::contract(doing))?;
        self.recall_from(entry, attachment, netns)
    }

    /// The same for a removal, which does with what disk and environment say where the entry cannot be read.
    pub(crate) fn recall_to_remove(
        &self,
        attachment: &Attachment,
        netns: Option<&Path>,
    ) -> Result<Making, Error> {
        self.recall_from(self.cache.read(attachment).ok().flatten(), attachment, netns)
    }

    fn recall_from(
        &self,
        entry: Option<Entry>,
        attachment: &Attachment,
        netns: Option<&Path>,
    ) -> Result<Making, Error> {
        match (entry, netns) {
            (Some(entry), Some(netns)) => Making::within(entry, netns.to_owned()),
            (Some(entry), None) => Making::of(entry),
            // Of an attachment that nobody has made by this cache, no more is known than what can be read.
            (None, netns) => Ok(Making {
                list: self.find(attachment.network.as_str())?,
                netns: netns.unwrap_or(Path::new("")).to_owned(),
                args: self.environment.pairs(),
                capabilities: self.environment.capabilities()?,
            }),
        }
    }

    /// Removes every attachment that the cache has of a container, with what each was made with; goes on past failures.
    pub(crate) fn detach(&self, container_id: &ContainerId) -> Result<(), Error> {
        let (entries, damaged) =
            self.cache.all_of(container_id).map_err(Error::contract("read the result cache"))?;
        let remove = |entry: Entry| -> Result<(), Error> {
            let attachment = attachment(&entry.network, container_id.as_str(), &entry.ifname)
                .map_err(Error::contract("read the result cache"))?;
            self.remove(&Making::of(entry)?, &attachment)
        };
        // The last one first, as a failed ADD is undone.
        let mut errors: Vec<Error> =
            entries.into_iter().rev().filter_map(|entry| remove(entry).err()).collect();
        let networks = if damaged.is_empty() { Vec::new() } else { self.networks() };
        for attachment in damaged.iter().flat_map(|file| {
            let candidates = networks.iter().flat_map(|list| file.candidates(&list.name));
            candidates.filter(|attachment| attachment.container_id == *container_id)
        }) {
            let making = self.recall_to_remove(&attachment, None);
            errors.extend(making.and_then(|making| self.remove(&making, &attachment)).err());
        }
        Error::all(errors)
    }

    /// Removes an attachment of a container; what is left of it on failure is for `gc`.
    pub(crate) fn remove(&self, making: &Making, attachment: &Attachment) -> Result<(), Error> {
        let removed = self.chain(&making.list).del(&making.parameters(attachment));
        removed.map_err(|source| Error::Removal { attachment: Box::new(attachment.clone()), source })
    }

    /// Waits until no other process works on the container, and keeps every other one waiting until the hold is dropped. It
    /// comes after the lock: a process that waits for a hold waits for one that has the lock.
    pub(crate) fn hold(&self, container_id: &ContainerId) -> Result<ContainerLock, Error> {
        self.cache.hold(container_id).map_err(Error::contract(format!("hold container {container_id}")))
    }

    /// Waits until no GC is under way, and keeps any from starting until the lock is dropped.
    ///
    /// A GC between an ADD's plugins and its cache entry would remove what has just been made (specification 1.1.0, "GC":
    /// no other operation at the same time).
    pub(crate) fn lock_shared(&self) -> Result<Lock, Error> {
        Ok(Lock { _results: self.lock(Mode::Shared)?, _cache: None })
    }

    /// Waits until nothing else is under way, and keeps everything from starting until the lock is dropped.
    pub(crate) fn lock_exclusive(&self) -> Result<Lock, Error> {
        let results = self.lock(Mode::Exclusive)?;
        Ok(Lock { _results: results, _cache: self.lock_of_before()? })
    }

    /// flock(2) on the folder of the results, which leaves no file behind. That folder is for its owner alone, as libcni makes
    /// it; the one above it others may open, and could hold its lock.
    fn lock(&self, mode: Mode) -> Result<File, Error> {
        let path = self.cache.folder();
        let open = || -> io::Result<File> {
            let folder = match open_folder(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                    open_folder(path)?
                }
                folder => folder?,
            };
            // On a disk that is read-only nobody makes attachments.
            let _ = lock::close_to_others(&folder, folder.metadata()?.mode());
            Ok(folder)
        };
        let folder =
            open().map_err(|error| Error::io(format!("lock result cache {}", path.display()), error))?;
        lock::take(&folder, path, mode)?;
        Ok(folder)
    }

    /// The lock of the version before: waits for its commands that are still at work, and for no other holder.
    fn lock_of_before(&self) -> Result<Option<File>, Error> {
        let Ok(folder) = open_folder(&self.folder) else { return Ok(None) };
        let is_free = lock::try_take(&folder, Mode::Exclusive).unwrap_or(true);
        if !is_free {
            if !lock::holders(&folder).iter().any(Holder::is_of_own_user) {
                return Ok(None);
            }
            lock::take(&folder, &self.folder, Mode::Exclusive)?;
        }
        Ok(Some(folder))
    }
}

/// Opens a folder; anything else in its place, a FIFO for one, is an error and holds nobody up.
fn open_folder(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(nix::libc::O_DIRECTORY).open(path)
}

fn first_of_each(mut lists: Vec<NetworkList>) -> Vec<NetworkList> {
    let mut known = BTreeSet::new();
    lists.retain(|list| known.insert(list.name.clone()));
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of networks that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let folder = std::env::temp_dir().join(format!("cleat-{test}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            for (file, text) in files {
                fs::write(folder.join(file), text).unwrap();
            }
            Self(folder)
        }

        fn choice(&self) -> Result<String, Error> {
            let environment = Environment::of_folder(&self.0);
            let cache = CacheFolder { folder: self.0.clone() };
            Runtime::new(&environment, &cache).only().map(|list| list.name.to_string())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const ONE: &str = r#"{"cniVersion":"1.0.0","name":"one","plugins":[{"type":"bridge"}]}"#;
    const TWO: &str = r#"{"cniVersion":"1.0.0","name":"two","type":"bridge"}"#;
    const LO: &str = r#"{"cniVersion":"1.0.0","name":"lo","type":"loopback"}"#;

    #[test]
    fn the_only_network_needs_no_name() {
        let folder =
            Folder::new("only", &[("10-one.conflist", ONE), ("20-one.conflist", ONE), ("99-lo.conf", LO)]);
        assert_eq!(folder.choice().unwrap(), "one");
    }

    #[test]
    fn networks_created_beside_the_default_one_change_nothing() {
        let folder = Folder::new("created", &[("10-one.conflist", ONE), ("zz-two.conflist", TWO)]);
        assert_eq!(folder.choice().unwrap(), "one");
        assert_eq!(Folder::new("alone", &[("zz-two.conflist", TWO)]).choice().unwrap(), "two");
    }

    #[test]
    fn several_networks_are_listed_and_none_is_said() {
        let folder = Folder::new("several", &[("10-one.conflist", ONE), ("20-two.conf", TWO)]);
        let error = folder.choice().unwrap_err();
        assert!(error.to_string().ends_with("it has one, two"), "{error}");
        assert!(error.cure().unwrap().contains("--network"));
        let error = Folder::new("none", &[]).choice().unwrap_err();
        assert!(error.to_string().ends_with("it has none"), "{error}");
        assert!(error.cure().unwrap().contains("NETCONFPATH"));
    }
}
