//! docs/runtimes and README's quick start: every block of commands is run as it stands there, on a host with the files of
//! Debian's packages as they are packaged, and what it prints is compared with what the page says.

use std::fs;
use std::path::Path;

use runtimes::cri::{ContainerSpec, Cri, PodSpec};
use runtimes::page::{Block, path};
use runtimes::{Exception, IMAGE, Node, Session, assert_complete, node, tell};
use sandbox::is_inside;

use crate::cri::{await_network, end};
use crate::live_node::await_addresses;
use crate::nri;

/// What is not run as it stands, and why. This is the whole list; each test prints what it takes of it.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        page: README,
        lines: "make test      # all tests; installs (as root) or names the Debian packages they need: half an hour",
        instead: "",
        why: "this is one of them",
    },
    Exception {
        page: CONTAINERD,
        lines: "curl -fL https://github.com/kubernetes-sigs/cri-tools/releases/download/v1.26.1/crictl-v1.26.1-linux-amd64.tar.gz | tar -xzC /usr/local/bin",
        instead: "cp /run/crictl /usr/local/bin/crictl",
        why: "no package of Debian has crictl: a stand-in that takes the same files",
    },
    Exception {
        page: CONTAINERD,
        lines: "ctr -n k8s.io image pull docker.io/library/busybox:stable",
        instead: "",
        why: "no registry: the image is there",
    },
    Exception {
        page: CONTAINERD,
        lines: "ctr image pull docker.io/library/busybox:stable",
        instead: "",
        why: "no registry: the image is there",
    },
    Exception {
        page: CNITOOL,
        lines: "GOBIN=/usr/local/bin go install github.com/containernetworking/cni/cnitool@v1.1.2",
        instead: "cp /run/cnitool /usr/local/bin/cnitool",
        why: "no Go module proxy: the same program, built from Debian's source package",
    },
    Exception {
        page: KUBERNETES,
        lines: "make packages IMAGE=registry.example/cleat\ncd target/packages",
        instead: "cd /run/node-image",
        why: "it makes an RPM and a tarball, too: here packaging/image alone is run, which it calls",
    },
    Exception {
        page: KUBERNETES,
        lines: "skopeo copy oci-archive:cleat-0.2.0-oci.tar docker://registry.example/cleat:0.2.0",
        instead: "",
        why: "no registry",
    },
    Exception {
        page: KUBERNETES,
        lines: "kubectl apply -f cleat-0.2.0-daemonset.yaml\nkubectl -n kube-system rollout status daemonset/cleat\nkubectl -n kube-system logs daemonset/cleat -c install",
        instead: "",
        why: "no cluster: kubernetes.rs runs the DaemonSet's pod as a kubelet does",
    },
    Exception {
        page: KUBERNETES,
        lines: "kubectl delete -f cleat-0.2.0-daemonset.yaml",
        instead: "",
        why: "no cluster",
    },
    Exception { page: CRIO, lines: "systemctl restart crio", instead: "", why: NO_CRIO },
    Exception {
        page: CRIO,
        lines: r#"crictl pull docker.io/library/busybox:stable
DB=$(crictl runp db-pod.yaml)
crictl start "$(crictl create "$DB" db.yaml db-pod.yaml)"
WEB=$(crictl runp web-pod.yaml)
crictl start "$(crictl create "$WEB" web.yaml web-pod.yaml)"
curl -sS http://localhost:8080/"#,
        instead: "",
        why: NO_CRIO,
    },
    Exception {
        page: CRIO,
        lines: r#"crictl stopp "$WEB" && crictl rmp "$WEB"
crictl stopp "$DB" && crictl rmp "$DB""#,
        instead: "",
        why: NO_CRIO,
    },
];

const NO_CRIO: &str = "no release of Debian has CRI-O";
const README: &str = "README.md";
const QUICK_START: &str = "Quick start";
const CRIO: &str = "docs/runtimes/crio.md";
const KUBERNETES: &str = "docs/runtimes/kubernetes.md";
const CNITOOL: &str = "docs/runtimes/cnitool.md";
const CONTAINERD: &str = "docs/runtimes/containerd.md";
const PODMAN: &str = "docs/runtimes/podman.md";

/// containerd from Debian's packages, and cleat's plugins in Debian's folder.
const DEBIAN_12: &[&str] = &[
    "Install",
    "Debian's containerd",
    "The network",
    "crictl, and two pods",
    "containerd 1.6: a port and a link",
    "Look at it",
    "Without pods: ctr",
    "Undo",
];
const BIN_DIR: &[&str] = &[
    "Install",
    "Debian's containerd, by its configuration",
    "The network",
    "crictl, and two pods",
    "containerd 1.6: a port and a link",
    "Look at it",
    "Undo",
];
const DEBIAN_UNSTABLE: &[&str] = &[
    "Install",
    "Debian's containerd",
    "The network",
    "crictl, and two pods",
    "containerd 2: a port and a link",
    "Look at it",
    "Without pods: ctr",
    "cleat-nri: link or unit",
    "Undo",
];
const DOCKER_COM: &[&str] = &[
    "Install",
    "containerd from docker.com",
    "The network",
    "crictl, and two pods",
    "containerd 2: a port and a link",
    "Look at it",
    "Undo",
];
const LIVE_NODE: &[&str] = &["Install", "Moving a live node from the reference plugins"];

const PODMANS: &[&str] = &[
    "Install",
    "Tell podman",
    "The default network",
    "A published port",
    "A link",
    "Networks that podman creates",
    "Undo",
];
const CNITOOLS: &[&str] = &["Install", "The network", "A port and a link", "Undo"];

const KUBERNETES_NETWORK: &[&str] = &["The network"];
const KUBERNETES_REST: &[&str] = &["The image", "The DaemonSet", "See it"];
const KUBERNETES_UNDO: &[&str] = &["Undo"];
const CRIOS: &[&str] = &["Install", "The network", "CRI-O's settings", "Two pods", "Undo"];

#[test]
fn no_block_and_no_exception_is_forgotten() {
    let containerd = [DEBIAN_12, BIN_DIR, DEBIAN_UNSTABLE, DOCKER_COM, LIVE_NODE].concat();
    let kubernetes = [KUBERNETES_NETWORK, KUBERNETES_REST, KUBERNETES_UNDO].concat();
    let pages = [
        (CONTAINERD, &*containerd),
        (CRIO, CRIOS),
        (PODMAN, PODMANS),
        (KUBERNETES, &*kubernetes),
        (CNITOOL, CNITOOLS),
    ];
    assert_complete(&pages, EXCEPTIONS);
    tell(EXCEPTIONS, &IMAGES);
}

const SOCKET: &str = "/run/containerd/containerd.sock";

/// The images that the page pulls, and that of the pods' pause container, which containerd pulls by itself.
const IMAGES: [&str; 3] =
    ["docker.io/library/busybox:stable", "registry.k8s.io/pause:3.6", "registry.k8s.io/pause:3.10"];

/// Follows parts of a page, after which nothing is left of them.
fn follow(node: &Node, page: &str, sections: &[&str]) {
    let before = node.state();
    node.session().follow(page, sections, EXCEPTIONS);
    before.assert_unchanged();
}

#[test]
fn a_pod_with_a_port_and_a_link_on_debian_12() {
    node(&["containerd"], |node| {
        node.start_containerd(&IMAGES);
        follow(node, CONTAINERD, DEBIAN_12);
    });
}

#[test]
fn a_pod_with_a_port_and_a_link_on_debian_12_by_bin_dir() {
    node(&["containerd"], |node| {
        node.start_containerd(&IMAGES);
        follow(node, CONTAINERD, BIN_DIR);
    });
}

#[test]
fn a_pod_with_a_port_and_a_link_on_debian_unstable() {
    node(&["containerd"], |node| {
        node.newest_containerd();
        node.start_containerd(&IMAGES);
        follow(node, CONTAINERD, DEBIAN_UNSTABLE);
    });
}

/// The programs are Debian's, with the configuration of docker.com's package: what differs is the folder of plugins that is
/// compiled in, and Debian's is empty here but for containerd's own.
#[test]
fn a_pod_with_a_port_and_a_link_with_the_configuration_of_docker_com() {
    node(&["containerd"], |node| {
        node.newest_containerd();
        fs::write("/etc/containerd/config.toml", include_str!("../../data/containerd/config-docker.toml"))
            .unwrap();
        node.start_containerd(&IMAGES);
        follow(node, CONTAINERD, DOCKER_COM);
    });
}

#[test]
fn a_live_node_and_back() {
    node(&["containerd", "containernetworking-plugins"], |node| {
        let conflist = include_str!("../../data/conflists/containerd-net.conflist");
        fs::create_dir_all("/etc/cni/net.d").unwrap();
        fs::write("/etc/cni/net.d/10-containerd-net.conflist", conflist).unwrap();
        node.start_containerd(&IMAGES);
        let cri = Cri::new(SOCKET);
        await_network(&cri);
        let pod = PodSpec { name: "old".to_owned(), ports: vec![(8080, 80)], ..PodSpec::default() };
        let pod = cri.run_pod(&pod).unwrap();
        let command = ["sh", "-c", "echo hello from old >/tmp/index.html; exec httpd -f -p 80 -h /tmp"];
        let image = Some(IMAGES[0]);
        cri.run_container(&pod, &ContainerSpec { command: &command, image, ..ContainerSpec::default() })
            .unwrap();
        await_addresses();
        follow(node, CONTAINERD, LIVE_NODE);
        end(&cri, &pod);
    });
}

#[test]
fn a_container_with_a_port_and_a_link_under_podman() {
    node(&["podman", "containernetworking-plugins"], |node| {
        node.load_into_podman(&IMAGES);
        // What the reference's firewall makes for the first container, and keeps, belongs to the state before.
        node.reference_firewall();
        follow(node, PODMAN, PODMANS);
    });
}

#[test]
fn namespaces_with_a_port_and_a_link_by_cnitool() {
    node(&[], |node| follow(node, CNITOOL, CNITOOLS));
}

/// Without CRI-O: its files, the network and the package.
#[test]
fn the_files_of_crio() {
    node(&[], |node| {
        // What CRI-O's packages have, newer ones and older ones.
        let example = include_str!("../../../conf/crio/10-crio-bridge.conflist");
        for name in ["10-crio-bridge.conflist.disabled", "100-crio-bridge.conf"] {
            fs::create_dir_all("/etc/cni/net.d").unwrap();
            fs::write(format!("/etc/cni/net.d/{name}"), example).unwrap();
        }
        follow(node, CRIO, CRIOS);
    });
}

/// This test is the kubelet that tells the runtime the node's pod CIDR, and starts pods.
#[test]
fn a_node_of_kubernetes() {
    node(&["containerd"], |node| {
        node.newest_containerd();
        node.start_containerd(&[IMAGES[0], IMAGES[2], IMAGE]);
        node.node_image();
        let before = node.state();
        let mut session = node.session_in_source();
        session.follow(KUBERNETES, KUBERNETES_NETWORK, EXCEPTIONS);
        let cri = Cri::new(SOCKET);
        cri.set_pod_cidr("10.244.3.0/24");
        await_network(&cri);
        session.follow(KUBERNETES, KUBERNETES_REST, EXCEPTIONS);

        let cri = Cri::new(SOCKET);
        await_network(&cri);
        let db = nri::database(&cri, "db");
        let web = nri::run(&cri, &nri::linked("web"), &ContainerSpec::default());
        let address = cri.addresses(&db.pod)[0].clone();
        assert!(address.starts_with("10.244.3."), "{address}");
        let linked = cri.exec(&web.container, &["printenv", "WEBDB_PORT_5432_TCP_ADDR"]).unwrap();
        assert_eq!(linked.trim(), address);
        for running in [web, db] {
            end(&cri, &running.pod);
        }

        session.follow(KUBERNETES, KUBERNETES_UNDO, EXCEPTIONS);
        before.assert_unchanged();
    });
}

/// The commands of `make` are for an ordinary user, in the source tree, and need no host of their own. All others are for root,
/// with cleat installed.
#[test]
fn the_quick_start() {
    let is_make = |block: &Block| block.commands.starts_with("make ");
    let is_here = |block: &Block| block.section == QUICK_START;
    if !is_inside() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quick-start");
        let mut session = Session::new(&path(""), &folder, &folder);
        session.follow_those(README, |block| is_here(block) && is_make(block), EXCEPTIONS);
        fs::remove_dir_all(&folder).unwrap();
    }
    node(&[], |node| {
        let mut session = node.session();
        session.run("dpkg -i cleat_*.deb").unwrap();
        let before = node.state();
        session.follow_those(README, |block| is_here(block) && !is_make(block), EXCEPTIONS);
        before.assert_unchanged();
    });
}
