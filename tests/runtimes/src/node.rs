//! A host with the files of Debian's packages as they are packaged, on which dpkg works: for following a page of
//! documentation from its first step to its last.
//!
//! What differs from a real host, and only this:
//!
//! - There is no systemd: `systemctl` is a stand-in (`src/bin/systemctl.rs`) that starts the packaged units' programs, and
//!   podman is told to do without.
//! - Root may lack `CAP_SYS_RESOURCE`, as in a container. Then `runc` is told to leave OOM scores alone; podman is told not to raise
//!   limits.
//! - No registry can be reached: an image of busybox has the names that the pages pull, and that of a pod's pause container.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sandbox::{Host, Snapshot, copy_on_write, is_inside, on_a_machine};

use crate::image;
use crate::machine::{ROOT, built};
use crate::podman;
use crate::session::Session;
use crate::shell::{eventually, run, try_run};

/// Where a person would be who has downloaded the package.
const HOME: &str = "/run/home";
const STAND_INS: &str = "/run/stand-ins";
const BLOCKS: &str = "/run/blocks";

/// The host of a page.
#[derive(Debug)]
pub struct Node {
    /// The host and its outside host.
    pub host: Host,
}

/// Runs the calling test on a host of its own, with these packages of Debian only, of those that the tests need.
pub fn node(packages: &[&str], test: impl FnOnce(&Node)) {
    if !is_inside() {
        build();
    }
    on_a_machine(|| {
        let node = Node { host: Host::new() };
        furnish(packages);
        test(&node);
    });
}

impl Node {
    /// Puts the newest containerd that Debian has in the place of Debian 12's, with its packaged files.
    pub fn newest_containerd(&self) {
        let newest = built().join("../../debian-newer/containerd");
        assert!(newest.exists(), "{} is missing: run `make test-runtimes`", newest.display());
        for folder in ["etc", "usr"] {
            run(Command::new("cp").arg("-a").arg(newest.join(folder)).arg("/"));
        }
    }

    /// Starts containerd as its package's installation does, and gives it images of these names.
    pub fn start_containerd(&self, images: &[&str]) {
        run(Command::new(Path::new(STAND_INS).join("systemctl")).args(["start", "containerd"]));
        for namespace in ["default", "k8s.io"] {
            let archive = image::archive(images);
            eventually("load the image", || {
                try_run(Command::new("ctr").args(["-n", namespace, "images", "import"]).arg(&archive))
            });
        }
    }

    /// Gives podman images of these names.
    pub fn load_into_podman(&self, images: &[&str]) {
        run(Command::new("podman").args(["load", "--quiet", "--input"]).arg(image::archive(images)));
    }

    /// Makes the image for nodes and its `DaemonSet` in `/run/node-image`, of what `make deb` has put together.
    pub fn node_image(&self) {
        let folder = Path::new("/run/node-image");
        fs::create_dir(folder).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        run(Command::new(Path::new(ROOT).join("packaging/image"))
            .arg(built().join("../release/stage"))
            .arg(folder.join(format!("cleat-{version}-oci.tar")))
            .arg(folder.join(format!("cleat-{version}-daemonset.yaml")))
            .env("SOURCE_DATE_EPOCH", "0"));
    }

    /// A shell in a folder with the package.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(Path::new(HOME), Path::new(STAND_INS), Path::new(BLOCKS))
    }

    /// A shell in the source tree.
    #[must_use]
    pub fn session_in_source(&self) -> Session {
        Session::new(Path::new(ROOT), Path::new(STAND_INS), Path::new(BLOCKS))
    }

    /// What a page may change, as it is now.
    #[must_use]
    pub fn state(&self) -> State {
        let snapshot =
            Snapshot::with_files_of(&["/etc", "/run/cdi", "/run/cleat", "/run/netns", "/var/lib/cni"]);
        State { snapshot, programs: programs() }
    }

    /// Has the reference's firewall make the chains that it keeps for ever, by a container of podman.
    pub fn reference_firewall(&self) {
        let folder = Path::new("/etc/containers/containers.conf.d");
        fs::create_dir_all(folder).unwrap();
        let backend = folder.join("00-cni.conf");
        fs::write(&backend, "[network]\nnetwork_backend = \"cni\"\n").unwrap();
        run(Command::new("podman").args(["run", "--rm", "docker.io/library/busybox:stable", "true"]));
        fs::remove_file(backend).unwrap();
        // The next container is to get the first address again.
        fs::remove_dir_all("/var/lib/cni").unwrap();
    }
}

/// The state of a node at one moment.
#[derive(Debug)]
pub struct State {
    snapshot: Snapshot,
    programs: Vec<PathBuf>,
}

impl State {
    /// Panics with the differences if anything has changed since.
    pub fn assert_unchanged(&self) {
        self.snapshot.assert_unchanged();
        assert_eq!(programs(), self.programs, "programs now, and before");
    }
}

/// The names of what is where programs are put.
fn programs() -> Vec<PathBuf> {
    let folders = ["/opt/cni", "/opt/cni/bin", "/opt/nri/plugins", "/usr/lib/cni", "/usr/local/bin"];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Builds the package, and the programs that stand in for others.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        run(Command::new("make").args(["-s", "-C", ROOT, "deb"]));
    });
}

/// The package that `make deb` has built.
fn package() -> PathBuf {
    let folder = built().join("../../packages");
    let is_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("cleat_") && name.ends_with("_amd64.deb")
    };
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut packages: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).filter(is_package).collect();
    assert_eq!(packages.len(), 1, "{packages:?}");
    packages.remove(0)
}

fn furnish(packages: &[&str]) {
    copy_on_write("/usr", "/usr");
    tmpfs("/var/cache");
    // The sandbox hides /var/lib; dpkg's database is below it.
    let var = "/run/var";
    fs::create_dir(var).unwrap();
    mount(Some("/var"), var, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    fs::create_dir("/var/lib/dpkg").unwrap();
    copy_on_write(&format!("{var}/lib/dpkg"), "/var/lib/dpkg");
    umount2(var, MntFlags::MNT_DETACH).unwrap();
    fs::remove_dir(var).unwrap();

    for folder in ["/opt/cni", "/opt/nri"] {
        let _ = fs::remove_dir_all(folder);
    }
    let _ = fs::remove_file("/etc/crictl.yaml");
    for name in UNWANTED.iter().filter(|name| !packages.contains(name)) {
        run(Command::new("dpkg").args(["--purge", "--force-depends", name]));
    }
    // A network of this machine's own is none of the packages'.
    for entry in fs::read_dir("/etc/cni/net.d").into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_name() != "87-podman-bridge.conflist" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    if packages.contains(&"containerd") {
        fs::write("/etc/containerd/config.toml", PACKAGED).unwrap();
    }
    for name in packages {
        // Below /var is what the sandbox hides.
        let changed = run(Command::new("dpkg").args(["--verify", name]));
        let changed: Vec<&str> = changed.lines().filter(|line| !line.contains(" /var/")).collect();
        assert!(changed.is_empty(), "files of Debian's package {name} are not as packaged: {changed:?}");
    }

    stand_ins();
    fs::create_dir_all(HOME).unwrap();
    let package = package();
    symlink(&package, Path::new(HOME).join(package.file_name().unwrap())).unwrap();
}

/// What may be on this machine, for its tests or otherwise, that a page may start without.
const UNWANTED: [&str; 4] = ["podman", "containerd", "containernetworking-plugins", "cleat"];

/// containerd's configuration in Debian 12's package.
const PACKAGED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/containerd/config-debian-12.toml"));

fn stand_ins() {
    fs::create_dir_all(STAND_INS).unwrap();
    fs::copy(built().join("systemctl"), Path::new(STAND_INS).join("systemctl")).unwrap();
    // Where a page's exception takes it from.
    fs::copy(built().join("crictl"), "/run/crictl").unwrap();
    let cnitool = built().join("../../debian-newer/cnitool");
    fs::copy(&cnitool, "/run/cnitool")
        .unwrap_or_else(|error| panic!("{}: {error}: run `make test-runtimes`", cnitool.display()));
    if !may_lower_oom_scores() {
        let runc = Path::new("/usr/local/sbin/runc");
        fs::write(runc, RUNC).unwrap();
        fs::set_permissions(runc, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let folder = Path::new("/etc/containers/containers.conf.d");
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("99-sandbox.conf"), podman::SANDBOXED).unwrap();
}

/// Whether this process has `CAP_SYS_RESOURCE`.
fn may_lower_oom_scores() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap() & (1 << CAP_SYS_RESOURCE) != 0
}

/// containerd's pause container asks for an OOM score that root may not give without `CAP_SYS_RESOURCE`.
const RUNC: &str = r#"#!/bin/sh
bundle=
for word; do
    [ "$last" != --bundle ] || bundle=$word
    last=$word
done
if [ -n "$bundle" ]; then
    jq 'del(.process.oomScoreAdj)' "$bundle/config.json" >"$bundle/config.new" && mv "$bundle/config.new" "$bundle/config.json"
fi
exec /usr/bin/runc "$@"
"#;

fn tmpfs(folder: &str) {
    mount(Some("node"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
}
