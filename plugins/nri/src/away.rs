//! What containers were made without: the runtime tells, when the plugin joins it, which are there.

use std::path::Path;

use link_env::Pod;
use registry::Registry;

use crate::adjust::{HOSTS, Place, place};
use crate::log::{log, name, printable};
use crate::request::Container;
use crate::workers::Workers;

/// More containers than a node has.
const MOST: usize = 20_000;

/// The containers that the runtime has, as it tells them bit by bit.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<One>);

#[derive(Debug)]
struct One {
    pod_id: String,
    container: String,
    /// Whether it has the hosts file that it is given at its making.
    is_served: bool,
}

impl Seen {
    /// Takes in some. What has an `/etc/hosts` of its own may have been given variables: of that nothing is known.
    pub(crate) fn add<'a>(&mut self, state_dir: &Path, containers: impl Iterator<Item = Container<'a>>) {
        for container in containers.filter(|container| !container.is_over).take(MOST - self.0.len()) {
            let source = container.mounted(HOSTS).unwrap_or_default();
            let ours = Registry::at(state_dir).container_dir(container.pod_id).join("hosts");
            let is_served = Path::new(source) == ours;
            let is_authors = matches!(place(container.pod_id, &container), Place::Taken(_));
            if is_served || !is_authors {
                let (pod_id, container) = (container.pod_id.to_owned(), container.name.to_owned());
                self.0.push(One { pod_id, container, is_served });
            }
        }
    }

    /// Keeps for `cleat check` which of them were made without the plugin, apart: the runtime does not wait for it.
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
        for One { pod_id, container, is_served } in &self.0 {
            let outcome = if *is_served {
                locked.mark_served(pod_id)
            } else {
                locked.note(pod_id, &without(container))
            };
            // An ID that can be no folder's is of no pod here.
            if let Err(error) = outcome {
                log(&format!("pod {}: {error}", name(pod_id)));
            }
        }
        Ok(())
    }
}

/// Notes that a container is being made with the plugin there: what was noted of the one before it is over.
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
