//! The files of conf/kubernetes, as far as they can be tested without a cluster.

use std::fs;
use std::path::Path;

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, Machine, Podman, Release, eventually, machine, run};
use serde_json::{Value, json};

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

/// The runtime fills in the template with the pod CIDRs that it gets from the kubelet.
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

/// containerd's configuration in Debian's package, which names Debian's folder of plugins.
const PACKAGED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/containerd/config-debian-12.toml"));
/// The configuration that the tests' containerd runs with.
const RUNNING: &str = "/etc/containerd.toml";
/// Where a node has its configuration.
const NODES: &str = "/etc/containerd/config.toml";

#[test]
fn podman_loads_the_image() {
    machine(|machine| {
        let (image, manifest) = machine.node_image();
        let podman = Podman::new();
        let said = podman.run(&["load", "-i", image.to_str().unwrap()]);
        assert!(said.contains("registry.example/cleat:"), "{said}");
        let digest = podman.run(&["images", "--format", "{{.Digest}}", "registry.example/cleat"]);
        let manifest = fs::read_to_string(manifest).unwrap();
        assert_eq!(
            manifest.matches(&format!("registry.example/cleat@{}", digest.trim())).count(),
            2,
            "{digest}"
        );
        let tagged = concat!("registry.example/cleat:", env!("CARGO_PKG_VERSION"));
        fs::create_dir_all("/run/node").unwrap();
        let words = ["run", "--rm", "--network", "none", "-v", "/run/node:/host", tagged];
        let said = podman.run(&words);
        assert!(said.contains("installed plugins of CNI in /opt/cni/bin"), "{said}");
        assert!(Path::new("/run/node/opt/cni/bin/bridge").exists());
    });
}

#[test]
fn the_daemon_set_equips_a_node() {
    machine(|machine| equips(machine, "/opt/cni/bin", |running| running));
}

#[test]
fn the_daemon_set_follows_the_configuration_of_debians_containerd() {
    machine(|machine| equips(machine, "/usr/lib/cni", |_| PACKAGED.to_owned()));
}

/// The pod runs the image as the manifest says that was made with it. It replaces the node's plugins, and links reach the node's
/// pods. `folder` is the node's folder of plugins; `nodes` makes the node's configuration from the running
/// one.
fn equips(machine: &Machine, folder: &str, nodes: impl FnOnce(String) -> String) {
    let plugins = Path::new(folder);
    fs::remove_dir_all("/opt/cni/bin").unwrap();
    fs::create_dir("/opt/cni/bin").unwrap();
    machine.reference(&["bridge", "host-local", "loopback", "portmap"]);
    if folder != "/opt/cni/bin" {
        for entry in fs::read_dir("/opt/cni/bin").unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), plugins.join(entry.file_name())).unwrap();
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let reference = fs::read(plugins.join("bridge")).unwrap();
    let mut containerd = Containerd::start(Release::Newest);
    let running = fs::read_to_string(RUNNING).unwrap();
    fs::create_dir_all("/etc/containerd").unwrap();
    fs::write(RUNNING, running.replace("/opt/cni/bin", folder)).unwrap();
    fs::write(NODES, nodes(running)).unwrap();
    let (image, manifest) = machine.node_image();
    containerd.load(&image);
    let manifest: Value = serde_yaml_ng::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
    let spec = &manifest["spec"]["template"]["spec"];
    // A runtime that has pulled it knows it by this name as well.
    let named = spec["containers"][0]["image"].as_str().unwrap();
    let tagged = format!("{}:{}", named.split_once('@').unwrap().0, env!("CARGO_PKG_VERSION"));
    run(containerd.ctr().args(["-n", "k8s.io", "images", "tag", &tagged, named]));
    let cri = Cri::new(containerd.socket());
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");

    // Twice, as at an update: the second run must not keep our own plugins as those that the node had before.
    for _ in 0..2 {
        let pod = run_pod(&cri, spec);
        assert_eq!(fs::read(plugins.join("bridge.before-cleat")).unwrap(), reference);
        assert_ne!(fs::read(plugins.join("bridge")).unwrap(), reference);
        assert!(!plugins.join("link-env.before-cleat").exists());
        end(&cri, &pod);
        fs::write(plugins.join("link-env"), "an older one of ours").unwrap();
    }
    let said = fs::read_to_string(Path::new("/run/pods").join(INSTALL_LOG)).unwrap();
    assert!(
        said.contains(&format!("{NODES} has the runtime look for plugins of CNI in {folder} first")),
        "{said}"
    );
    assert_eq!(Path::new("/opt/cni/bin/bridge").exists(), folder == "/opt/cni/bin");
    let is_left = |name: &str| name.starts_with('.') && name != ".cleat";
    let entries = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> =
        entries.map(|name| name.into_string().unwrap()).filter(|name| is_left(name)).collect();
    assert!(left.is_empty(), "{left:?}");

    let pod = run_pod(&cri, spec);
    // The runtime starts NRI plugins only at its own start. The pods keep running.
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
}

/// Runs the pod of a manifest as a kubelet does: each init container to its end, then the other containers.
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

/// The output of the init container, in the pods' log folder.
const INSTALL_LOG: &str = "install.log";

fn run_container(cri: &Cri, pod: &Pod, spec: &Value, container: &Value) -> String {
    let text = |value: &'_ Value| value.as_str().unwrap().to_owned();
    let volumes = spec["volumes"].as_array().unwrap();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        (text(&volume["hostPath"]["path"]), text(&mount["mountPath"]))
    });
    let mounts: Vec<(String, String)> = mounts.collect();
    let mounts: Vec<(&str, &str)> = mounts.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let command: Vec<&str> =
        container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let context = &container["securityContext"];
    assert_eq!(
        [
            &context["allowPrivilegeEscalation"],
            &context["readOnlyRootFilesystem"],
            &context["capabilities"]["drop"][0]
        ],
        [&json!(false), &json!(true), &json!("ALL")]
    );
    let container = ContainerSpec {
        name: container["name"].as_str(),
        image: container["image"].as_str(),
        command: &command,
        mounts: &mounts,
        log: (container["name"] == "install").then_some(INSTALL_LOG),
        confined_as: context["runAsUser"].as_i64(),
        ..ContainerSpec::default()
    };
    assert!(container.confined_as.is_some());
    cri.run_container(pod, &container).unwrap()
}
