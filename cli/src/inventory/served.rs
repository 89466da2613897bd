//! Pods whose containers the runtime made without asking `cleat-nri`, which gives them their links.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use registry::{Presence, Registry};

use super::attached::Attached;
use super::caller::argument;

/// The process that keeps a pod's namespaces, and is no container's. Every runtime has it under this name.
const PAUSE: &str = "pause\n";

/// The note on a pod that this registry has. `inhabited` are the network namespaces that containers run in.
pub(super) fn note(
    registry: &Registry,
    attached: &Attached,
    inhabited: &LazyCell<Inhabited>,
) -> Option<String> {
    let entry = attached.entry.as_ref()?;
    attached.member.as_ref()?;
    argument(entry, "K8S_POD_INFRA_CONTAINER_ID")?;
    let id = attached.container_id();
    if !registry.container_dir(id).is_dir() {
        return None;
    }
    let presence = match registry.agent() {
        Ok(presence) => presence,
        Err(error) => return Some(format!("whether there is a cleat-nri is not known: {error}")),
    };
    if presence == Presence::Never {
        return None;
    }
    if !registry.is_served(id).unwrap_or(true) && inhabited.has(&attached.netns) {
        return Some(
            "its containers were made while cleat-nri was away: they have neither names nor variables of links until \
             they are made again"
                .to_owned(),
        );
    }
    (presence == Presence::Away).then(|| {
        "cleat-nri is away: containers that are made now get neither names nor variables of links".to_owned()
    })
}

/// The network namespaces of all other processes.
#[derive(Debug)]
pub(super) struct Inhabited(HashSet<(u64, u64)>);

impl Inhabited {
    /// Looks at each process; one that ends meanwhile is skipped.
    pub(super) fn read() -> Self {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        let is_containers = |process: &std::path::PathBuf| {
            fs::read_to_string(process.join("comm")).is_ok_and(|name| name != PAUSE)
        };
        let processes = processes.filter(is_containers);
        Self(processes.filter_map(|process| inode(&process.join("ns/net"))).collect())
    }

    fn has(&self, netns: &Path) -> bool {
        inode(netns).is_some_and(|inode| self.0.contains(&inode))
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
