//! Pods whose containers the runtime made without asking `cleat-nri`, which gives them their links.

use std::cell::LazyCell;
use std::fs;

use cni::NamespacesWithProcesses;
use registry::{Presence, Registry};

use super::attached::Attached;
use super::caller::argument;

/// The process that keeps a pod's namespaces, and is no container's. Every runtime has it under this name.
const PAUSE: &str = "pause\n";

/// The note on a pod that this registry has. `inhabited` are the network namespaces that containers run in.
pub(super) fn note(
    registry: &Registry,
    attached: &Attached,
    inhabited: &LazyCell<NamespacesWithProcesses>,
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

/// The network namespaces of all processes but those that keep a pod's.
pub(super) fn inhabited() -> NamespacesWithProcesses {
    NamespacesWithProcesses::of_those(|process| {
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name != PAUSE)
    })
}
