//! What conf/kubernetes offers, as far as it goes without a cluster.

use runtimes::cri::{Cri, PodSpec};
use runtimes::{Containerd, Release, machine};

use crate::cri::{await_network, end};

const TEMPLATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/kubernetes/10-pods.conflist.template");

#[test]
fn a_nodes_network_follows_its_pod_cidr() {
    follows(Release::Debian12, "10.244.3.0/24", &["10.244.3."]);
}

#[test]
fn a_nodes_network_follows_its_pod_cidrs_of_both_families() {
    follows(Release::Newest, "10.244.4.0/24,fd00:244:4::/64", &["10.244.4.", "fd00:244:4::"]);
}

/// The runtime makes the network of the template and of the range that the kubelet tells it.
fn follows(release: Release, pod_cidr: &str, prefixes: &[&str]) {
    machine(|machine| {
        let containerd = Containerd::start_with(release, &format!("    conf_template = {TEMPLATE:?}"));
        let cri = Cri::new(containerd.socket());
        assert!(!cri.network_status().unwrap().0, "there is no network yet");
        cri.set_pod_cidr(pod_cidr);
        await_network(&cri);
        let before = machine.snapshot();
        let pod = cri.run_pod(&PodSpec { name: "web".to_owned(), ..PodSpec::default() }).unwrap();
        let addresses = cri.addresses(&pod);
        assert_eq!(addresses.len(), prefixes.len(), "{addresses:?}");
        for (address, prefix) in addresses.iter().zip(prefixes) {
            assert!(address.starts_with(prefix), "{addresses:?}");
        }
        end(&cri, &pod);
        machine.assert_as(&before);
    });
}
