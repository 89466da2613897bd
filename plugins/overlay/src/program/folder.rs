//! The folder of the networks' files, and what changes in it, by inotify(7).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use cni::NetworkName;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe;
use tokio::time::sleep;

use crate::conf::{Conf, FOLDER};
use crate::program::conf_file;
use crate::program::error::Error;

/// An editor writes, renames and changes modes in several steps: they are seen together.
const SETTLE: Duration = Duration::from_millis(100);

/// The files of all networks, read at one time.
pub(crate) type Confs = BTreeMap<NetworkName, Result<Conf, Error>>;

/// The folder, watched since before it was first read.
#[derive(Debug)]
pub(crate) struct ConfFolder {
    /// inotify's descriptor, which like a pipe's read end can be polled and read, and nothing else.
    events: pipe::Receiver,
    /// Device and inode of what is watched.
    identity: (u64, u64),
}

impl ConfFolder {
    /// Makes the folder where there is none, and watches it.
    pub(crate) fn open() -> Result<Self, Error> {
        let failed = |errno: Errno| Error::io("watch", FOLDER)(errno.into());
        let create = fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER);
        create.map_err(Error::io("create", FOLDER))?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(failed)?;
        // IN_CREATE is for links, which nobody closes; IN_ATTRIB for modes and owners.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(FOLDER, flags).map_err(failed)?;
        let events = pipe::Receiver::from_owned_fd_unchecked(inotify.into());
        Ok(Self { events: events.map_err(Error::io("watch", FOLDER))?, identity: identity()? })
    }

    /// Waits until something in the folder has changed, and a moment longer. Nothing is lost when it is dropped meanwhile.
    pub(crate) async fn changed(&self) -> Result<(), Error> {
        self.events.readable().await.map_err(Error::io("watch", FOLDER))?;
        sleep(SETTLE).await;
        // All files are read anew: which events there were does not matter, nor whether the kernel had to drop some.
        let mut events = [0; 4096];
        loop {
            match self.events.try_read(&mut events) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::io("watch", FOLDER)(error)),
            }
        }
        if identity()? == self.identity { Ok(()) } else { Err(Error::FolderGone(FOLDER.into())) }
    }
}

fn identity() -> Result<(u64, u64), Error> {
    match fs::metadata(FOLDER) {
        Ok(folder) => Ok((folder.dev(), folder.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::FolderGone(FOLDER.into())),
        Err(error) => Err(Error::io("watch", FOLDER)(error)),
    }
}

/// Reads the files of all networks.
pub(crate) fn read_all() -> Result<Confs, Error> {
    let mut confs = Confs::new();
    let failed = |error: io::Error| Error::io("read", FOLDER)(error);
    for entry in fs::read_dir(FOLDER).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(network) = name.to_str().and_then(conf_file::network_of) else {
            continue;
        };
        // A file that goes between the two calls is none.
        if let Some(conf) = conf_file::read_file(&Path::new(FOLDER).join(&name)).transpose() {
            confs.insert(network, conf);
        }
    }
    Ok(confs)
}
