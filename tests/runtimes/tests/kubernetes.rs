//! What conf/kubernetes offers, as far as it goes without a cluster.

use std::fs;
use std::path::Path;

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, IMAGE, Machine, Podman, Release, eventually, machine};
use serde_json::Value;

use crate::cri::{await_network, end};
use crate::nri;

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
        before.assert_unchanged();
    });
}

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/kubernetes");

/// The image is built as its file says, and the pod run as the manifest says: the node's plugins are replaced, and links
/// reach its pods.
#[test]
fn the_daemon_set_equips_a_node() {
    machine(|machine| {
        let plugins = Path::new("/opt/cni/bin");
        fs::remove_dir_all(plugins).unwrap();
        fs::create_dir(plugins).unwrap();
        machine.reference(&["bridge", "host-local", "loopback", "portmap"]);
        let reference = fs::read(plugins.join("bridge")).unwrap();
        let mut containerd = Containerd::start(Release::Newest);
        containerd.load(&built_image(machine));
        let cri = Cri::new(containerd.socket());
        let manifest = fs::read_to_string(Path::new(CONF).join("daemonset.yaml")).unwrap();
        let manifest: Value = serde_yaml_ng::from_str(&manifest).unwrap();
        let spec = &manifest["spec"]["template"]["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);

        // Twice: an update must not take our plugins for those of the node.
        for _ in 0..2 {
            let pod = run_pod(&cri, spec);
            assert_eq!(fs::read(plugins.join("bridge.before-cleat")).unwrap(), reference);
            assert_ne!(fs::read(plugins.join("bridge")).unwrap(), reference);
            assert!(!plugins.join("link-env.before-cleat").exists());
            end(&cri, &pod);
            fs::write(plugins.join("link-env"), "an older one of ours").unwrap();
        }
        let is_left = |name: &str| name.starts_with('.') && name != ".cleat";
        let entries = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<String> =
            entries.map(|name| name.into_string().unwrap()).filter(|name| is_left(name)).collect();
        assert!(left.is_empty(), "{left:?}");

        let pod = run_pod(&cri, spec);
        // The runtime starts NRI plugins when it starts itself; the pods go on.
        containerd.restart();
        let cri = Cri::new(containerd.socket());
        machine.network("10-pods.conflist", &nri::network());
        await_network(&cri);
        let db = nri::database(&cri, "db");
        let web = nri::run(&cri, &nri::linked("web"), &ContainerSpec::default());
        let address = cri.exec(&web.container, &["printenv", "WEBDB_PORT_5432_TCP_ADDR"]).unwrap();
        assert_eq!(address.trim(), cri.addresses(&db.pod)[0]);
        for pod in [&web.pod, &db.pod, &pod] {
            end(&cri, pod);
        }
    });
}

/// Builds the image of what `make install` makes, without asking a registry.
fn built_image(machine: &Machine) -> std::path::PathBuf {
    let context = Path::new("/run/context");
    machine.install_into(context);
    let archive = Path::new("/run/cleat-image.tar");
    let podman = Podman::new();
    let base = format!("BASE={IMAGE}");
    let file = format!("{CONF}/Containerfile");
    podman.run(&[
        "build",
        "-q",
        "--build-arg",
        &base,
        "-f",
        &file,
        "-t",
        "registry.example/cleat",
        "/run/context",
    ]);
    podman.run(&["save", "-q", "-o", archive.to_str().unwrap(), "registry.example/cleat"]);
    archive.to_owned()
}

/// Runs a pod of a manifest as a kubelet does: each init container to its end, then the others.
fn run_pod(cri: &Cri, spec: &Value) -> Pod {
    let host_network = spec["hostNetwork"] == true;
    let pod = cri.run_pod(&PodSpec { name: "cleat".to_owned(), host_network, ..PodSpec::default() }).unwrap();
    for container in spec["initContainers"].as_array().unwrap() {
        let container = run_container(cri, &pod, spec, container);
        assert_eq!(eventually("the init container ends", || cri.exit_code(&container)), 0);
    }
    for container in spec["containers"].as_array().unwrap() {
        run_container(cri, &pod, spec, container);
    }
    pod
}

fn run_container(cri: &Cri, pod: &Pod, spec: &Value, container: &Value) -> String {
    let text = |value: &'_ Value| value.as_str().unwrap().to_owned();
    let volumes = spec["volumes"].as_array().unwrap();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let path = text(&volume["hostPath"]["path"]);
        if volume["hostPath"]["type"] == "DirectoryOrCreate" {
            fs::create_dir_all(&path).unwrap();
        }
        (path, text(&mount["mountPath"]))
    });
    let mounts: Vec<(String, String)> = mounts.collect();
    let mounts: Vec<(&str, &str)> = mounts.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let command: Vec<&str> =
        container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let (name, image) = (container["name"].as_str(), container["image"].as_str());
    let container =
        ContainerSpec { name, image, command: &command, mounts: &mounts, ..ContainerSpec::default() };
    cri.run_container(pod, &container).unwrap()
}
