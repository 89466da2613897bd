//! Containers that exist when the plugin joins the runtime (`Synchronize`): those that were created without it are noted
//! for `cleat check`.

use std::path::Path;

use link_env::Pod;
use registry::Registry;

use crate::hosts_owner::{HOSTS, HostsOwner};
use crate::log::{log, name, printable};
use crate::request::Container;
use crate::workers::Workers;

/// How many containers are remembered: more than a node has.
const MOST: usize = 20_000;

/// The runtime's containers, which come in several messages.
#[derive(Debug, Default)]
pub(crate) struct Existing(Vec<ExistingContainer>);

#[derive(Debug)]
struct ExistingContainer {
    pod_id: String,
    container: String,
    /// Whether it has the hosts file that this plugin mounts.
    is_served: bool,
}

impl Existing {
    /// Takes in those of one message. Of a container with its author's `/etc/hosts` it cannot be known whether it was given
    /// variables: it is left out.
    pub(crate) fn add<'a>(&mut self, state_dir: &Path, containers: impl Iterator<Item = Container<'a>>) {
        for container in containers.filter(|container| !container.is_over).take(MOST - self.0.len()) {
            let source = container.mounted(HOSTS).unwrap_or_default();
            let ours = Registry::at(state_dir).container_dir(container.pod_id).join("hosts");
            let is_served = Path::new(source) == ours;
            let owner = HostsOwner::of(container.pod_id, &container);
            if is_served || !matches!(owner, HostsOwner::Author(_)) {
                let (pod_id, container) = (container.pod_id.to_owned(), container.name.to_owned());
                self.0.push(ExistingContainer { pod_id, container, is_served });
            }
        }
    }

    /// Notes which of them were created without the plugin, on a thread: the runtime does not wait for it.
    pub(crate) fn keep(self, state_dir: &Path, workers: &Workers) {
        if self.0.is_empty() {
            return;
        }
        let registry = Registry::at(state_dir);
        let kept = workers.start(move || {
            if let Err(error) = self.write(&registry) {
                log(&format!("keep for cleat check which containers were made without links: {error}"));
            }
        });
        if let Err(trouble) = kept {
            log(&format!("cleat check will not know which containers were made without links: {trouble}"));
        }
    }

    fn write(&self, registry: &Registry) -> Result<(), registry::Error> {
        let Some(locked) = registry.lock_existing()? else {
            return Ok(());
        };
        for ExistingContainer { pod_id, container, is_served } in &self.0 {
            let outcome = if *is_served {
                locked.mark_served(pod_id)
            } else {
                locked.note(pod_id, &without(container))
            };
            // Such as an ID that cannot be a folder's name: link-env knows no such pod.
            if let Err(error) = outcome {
                log(&format!("pod {}: {error}", name(pod_id)));
            }
        }
        Ok(())
    }
}

/// Notes that a container is created with the plugin: a note about its predecessor ends.
pub(crate) fn is_served(pod: &Pod<'_>, container: &Container<'_>) {
    if let Err(error) = pod.serve(&without(container.name)) {
        log(&format!("keep for cleat check that container {} has its links: {error}", name(container.name)));
    }
}

fn without(container: &str) -> String {
    let name = name(container);
    printable(
        &format!(
            "container {name} was made while cleat-nri was away: it has neither names nor variables of links until it is made again"
        ),
        1000,
    )
}
