//! Which program made an attachment. None of them says so; each has habits of its own for container IDs, namespaces and
//! `CNI_ARGS`, which were read off real calls.

use cni::cache::Entry;

use super::attached::argument;

/// The program, or nothing where no habit fits.
pub(super) fn of(entry: &Entry) -> &'static str {
    let netns = entry.netns.rsplit('/').next().unwrap_or_default();
    let is_process = entry.netns.starts_with("/proc/");
    if argument(entry, "K8S_POD_INFRA_CONTAINER_ID").is_some() {
        // Both pass the same arguments; only containerd's namespaces begin so.
        return if netns.starts_with("cni-") { "containerd" } else { "cri-o" };
    }
    if entry.container_id.starts_with("cnitool-") {
        return "cnitool";
    }
    if netns.starts_with("netns-") {
        return "podman";
    }
    if argument(entry, "NERDCTL_CNI_DHCP_HOSTNAME").is_some() {
        return "nerdctl";
    }
    match entry.container_id.split_once('-') {
        Some(_) if is_process => "ctr",
        None if is_process && entry.container_id.len() == 64 => "cleat",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cni::{Attachment, ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn programs_are_known_by_their_habits() {
        let long = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";
        for (id, netns, args, wanted) in [
            ("cnitool-77383ca0f83d7f4dcdb5", "/run/netns/a", "", "cnitool"),
            (long, "/proc/127/ns/net", "", "cleat"),
            ("default-a", "/proc/127/ns/net", "", "ctr"),
            ("default-a", "/proc/127/ns/net", "NERDCTL_CNI_DHCP_HOSTNAME=a", "nerdctl"),
            (long, "/var/run/netns/cni-b5f2d198-8b04", "K8S_POD_INFRA_CONTAINER_ID=x", "containerd"),
            (long, "/var/run/netns/0c7e3f6a-1", "K8S_POD_INFRA_CONTAINER_ID=x", "cri-o"),
            (long, "/run/netns/netns-8d1a", "K8S_POD_NAME=a", "podman"),
            ("mine", "/run/netns/mine", "", ""),
        ] {
            let attachment = Attachment {
                network: NetworkName::new("n").unwrap(),
                container_id: ContainerId::new(id).unwrap(),
                ifname: IfName::new("eth0").unwrap(),
            };
            let mut entry = Entry::new(&attachment, Path::new(netns), b"", serde_json::Value::Null);
            entry.args = args.split_once('=').map(|(key, value)| vec![(key.into(), value.into())]);
            assert_eq!(of(&entry), wanted, "{id} {netns} {args}");
        }
    }
}
