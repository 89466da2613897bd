//! kubelet's hosts file, whose entries a container is to keep: the pod's own name, and the pod's `hostAliases`. Pure.

use registry::ExtraHost;

/// How kubelet begins the file.
const KUBELETS: &str = "# Kubernetes-managed hosts file";

/// The entries of a hosts file that kubelet wrote, less those that every hosts file has; `None` where somebody else
/// wrote it.
pub(crate) fn entries(text: &str) -> Option<Vec<ExtraHost>> {
    if !text.starts_with(KUBELETS) {
        return None;
    }
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some(words.map(move |name| ExtraHost { name: name.to_owned(), address }))
    });
    let entries =
        lines.flatten().filter(|entry| entry.name != "localhost" && !entry.name.starts_with("ip6-"));
    Some(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::0\tip6-localnet\nfe00::1\tip6-allnodes\n10.1.0.2\tweb.sub.default.svc.cluster.local\tweb\n\n\
                        # Entries added by HostAliases.\n192.0.2.9\tprinter\tscanner # upstairs\nnonsense\n";

    #[test]
    fn the_pods_names_and_aliases_are_kept() {
        let entries = entries(TEXT).unwrap();
        let entries: Vec<String> =
            entries.iter().map(|entry| format!("{} {}", entry.address, entry.name)).collect();
        assert_eq!(
            entries,
            [
                "10.1.0.2 web.sub.default.svc.cluster.local",
                "10.1.0.2 web",
                "192.0.2.9 printer",
                "192.0.2.9 scanner",
            ]
        );
    }

    #[test]
    fn the_file_of_somebody_else_is_not_read() {
        assert_eq!(entries("127.0.0.1\tlocalhost\n192.0.2.9\tprinter\n"), None);
        assert_eq!(entries(""), None);
    }
}
