//! Which program made an attachment. None of them says so. Some keep a folder for each running container; each has its own
//! forms of container IDs, namespaces and `CNI_ARGS`, taken from real calls. Where more than one program fits, none is named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cni::cache::Entry;

use crate::container_id;
use crate::error::Error;
use crate::runs;

/// Where containerd has a folder for each running container, by its own namespace and ID.
const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task";
/// The namespace of containerd's CRI.
const KUBERNETES: &str = "k8s.io";
/// The digits of an ID that an engine chose at random.
const LONG: usize = 64;

/// What is on the host besides the cache.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The containers of `cleat run`.
    runs: BTreeSet<String>,
    tasks: PathBuf,
}

impl Evidence {
    pub(super) fn read() -> Result<Self, Error> {
        let runs = runs::all()?.into_iter().map(|run| run.record.container_id).collect();
        Ok(Self { runs, tasks: TASKS.into() })
    }

    fn has_task(&self, namespace: &str, id: &str) -> bool {
        !namespace.is_empty() && !id.is_empty() && self.tasks.join(namespace).join(id).is_dir()
    }
}

/// The program, or nothing. `netns` is the namespace's path as the entry has it, whether or not it still exists.
pub(super) fn of(entry: &Entry, netns: &Path, evidence: &Evidence) -> &'static str {
    let id = entry.container_id.as_str();
    if evidence.runs.contains(id) {
        return "cleat";
    }
    let name = netns.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if argument(entry, "K8S_POD_INFRA_CONTAINER_ID").is_some() {
        // All that serve the CRI pass the same arguments.
        return if name.strip_prefix("cni-").is_some_and(is_uuid) || evidence.has_task(KUBERNETES, id) {
            "containerd"
        } else if is_uuid(name) {
            "cri-o"
        } else {
            ""
        };
    }
    if argument(entry, "NERDCTL_CNI_DHCP_HOSTNAME").is_some() {
        return "nerdctl";
    }
    if id.starts_with("cnitool-") {
        let is_cnitools = container_id::for_namespace(netns).is_ok_and(|own| own.as_str() == id);
        return if is_cnitools || netns.as_os_str().is_empty() { "cnitool" } else { "" };
    }
    let is_podmans = name.strip_prefix("netns-").is_some_and(is_uuid) || netns.as_os_str().is_empty();
    if is_podmans && is_random(id) && argument(entry, "K8S_POD_NAME").is_some() {
        return "podman";
    }
    if is_ctrs(entry, netns, evidence) { "ctr" } else { "" }
}

/// ctr passes only an ID: containerd's namespace, and what its user chose. nerdctl's IDs are random.
fn is_ctrs(entry: &Entry, netns: &Path, evidence: &Evidence) -> bool {
    let splits = entry.container_id.match_indices('-');
    let mut names = splits.map(|(at, _)| (&entry.container_id[..at], &entry.container_id[at + 1..]));
    entry.args.as_ref().is_none_or(Vec::is_empty)
        && entry.capability_args.as_ref().is_none_or(serde_json::Map::is_empty)
        && netns.starts_with("/proc")
        && names.any(|(namespace, id)| {
            !is_random(id) && (namespace == "default" || evidence.has_task(namespace, id))
        })
}

fn is_random(id: &str) -> bool {
    id.len() == LONG && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a text is written as a UUID is: 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('-').all(is_digits) && text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// A value of `CNI_ARGS` as the cache keeps them.
pub(super) fn argument<'a>(entry: &'a Entry, key: &str) -> Option<&'a str> {
    let pair = entry.args.iter().flatten().find(|(known, _)| known == key);
    pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use cni::{Attachment, ContainerId, IfName, NetworkName};

    use super::*;

    const RANDOM: &str = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";
    const POD: &str = "K8S_POD_INFRA_CONTAINER_ID=x";

    fn caller(id: &str, netns: &str, args: &str, evidence: &Evidence) -> &'static str {
        let attachment = Attachment {
            network: NetworkName::new("n").unwrap(),
            container_id: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let mut entry = Entry::new(&attachment, Path::new(""), b"", serde_json::Value::Null);
        entry.args = args.split_once('=').map(|(key, value)| vec![(key.into(), value.into())]);
        of(&entry, Path::new(netns), evidence)
    }

    #[test]
    fn programs_are_known_by_their_habits_and_not_named_where_two_fit() {
        let nothing = Evidence { runs: BTreeSet::new(), tasks: "/nowhere".into() };
        let cnitools = container_id::for_namespace(Path::new("/run/netns/a")).unwrap();
        for (id, netns, args, wanted) in [
            (cnitools.as_str(), "/run/netns/a", "", "cnitool"),
            (cnitools.as_str(), "", "", "cnitool"),
            (cnitools.as_str(), "/run/netns/b", "", ""),
            (RANDOM, "/proc/127/ns/net", "", ""),
            ("default-a", "/proc/127/ns/net", "", "ctr"),
            ("mine-a", "/proc/127/ns/net", "", ""),
            (&format!("default-{RANDOM}"), "/proc/127/ns/net", "", ""),
            ("default-a", "/run/netns/a", "", ""),
            ("default-a", "/proc/127/ns/net", "NERDCTL_CNI_DHCP_HOSTNAME=a", "nerdctl"),
            (RANDOM, "/var/run/netns/cni-b5f2d198-8b04-0233-517a-b9954f22a17a", POD, "containerd"),
            (RANDOM, "/var/run/netns/b5f2d198-8b04-0233-517a-b9954f22a17a", POD, "cri-o"),
            (RANDOM, "/proc/127/ns/net", POD, ""),
            (RANDOM, "", POD, ""),
            (RANDOM, "/run/netns/netns-a9954f22-8b04-0233-517a-b9954f22a17a", "K8S_POD_NAME=a", "podman"),
            (RANDOM, "", "K8S_POD_NAME=a", "podman"),
            ("buildah1", "/run/netns/netns-a9954f22-8b04-0233-517a-b9954f22a17a", "K8S_POD_NAME=a", ""),
            ("mine", "/run/netns/mine", "", ""),
        ] {
            assert_eq!(caller(id, netns, args, &nothing), wanted, "{id} {netns} {args}");
        }
    }

    #[test]
    fn what_is_on_the_host_goes_before_habits() {
        let tasks = std::env::temp_dir().join(format!("cleat-tasks-{}", std::process::id()));
        for folder in [format!("k8s.io/{RANDOM}"), "my-tests/web-1".to_owned()] {
            std::fs::create_dir_all(tasks.join(folder)).unwrap();
        }
        let evidence = Evidence { runs: BTreeSet::from(["f".repeat(64)]), tasks: tasks.clone() };
        assert_eq!(caller(&"f".repeat(64), "/proc/127/ns/net", "", &evidence), "cleat");
        assert_eq!(caller(RANDOM, "/proc/127/ns/net", POD, &evidence), "containerd");
        assert_eq!(caller("my-tests-web-1", "/proc/127/ns/net", "", &evidence), "ctr");
        assert_eq!(caller("my-tests-db-1", "/proc/127/ns/net", "", &evidence), "");
        std::fs::remove_dir_all(tasks).unwrap();
    }
}
