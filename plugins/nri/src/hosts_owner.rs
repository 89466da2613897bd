//! Who provides the `/etc/hosts` of a container, by what the runtime is to mount there.

use crate::request::Container;

/// The path in the container.
pub(crate) const HOSTS: &str = "/etc/hosts";

/// Whose file a container would have without this plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostsOwner<'a> {
    /// The runtime's copy of the node's file, or none.
    Runtime,
    /// kubelet's, whose entries are to be kept.
    Kubelet(&'a str),
    /// The pod's author, who mounts a file there: it stays.
    Author(&'a str),
}

impl<'a> HostsOwner<'a> {
    /// Decides by the file's path alone, which only kubelet and the runtime choose. A file that an author mounts is not
    /// opened: that may hang, and its text may begin as kubelet's does.
    pub(crate) fn of(pod_id: &str, container: &Container<'a>) -> Self {
        let Some(source) = container.mounted(HOSTS) else {
            return Self::Runtime;
        };
        let has = |name: &str| source.split('/').any(|part| part == name);
        // The runtime's copy lies in a folder of the pod.
        if !pod_id.is_empty() && has(pod_id) {
            Self::Runtime
        } else if source.ends_with("/etc-hosts") && !has("volumes") && !has("volume-subpaths") {
            Self::Kubelet(source)
        } else {
            Self::Author(source)
        }
    }
}

#[cfg(test)]
mod tests {
    use sandbox::nri;

    use super::*;
    use crate::request::created;

    #[test]
    fn a_hosts_file_that_the_author_mounts_stays() {
        for (source, expected) in [
            ("/var/lib/kubelet/pods/1-2/volume-subpaths/files/app/0", HostsOwner::Author as fn(_) -> _),
            ("/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~empty-dir/files/etc-hosts", HostsOwner::Author),
            ("/srv/of-0abc", HostsOwner::Author),
            ("/var/lib/kubelet/pods/1-2/etc-hosts", HostsOwner::Kubelet),
            ("/run/containerd/io.containerd.grpc.v1.cri/sandboxes/0abc/hosts", |_| HostsOwner::Runtime),
        ] {
            let message = nri::created("0abc", "web", &[], &nri::mount(HOSTS, source));
            let (pod, container) = created(&message).unwrap().unwrap();
            assert_eq!(HostsOwner::of(pod.id, &container), expected(source));
            // A runtime that gives no ID has no folder of it.
            assert_ne!(HostsOwner::of("", &container), HostsOwner::Runtime);
        }
    }
}
