//! The machine of a test: a host with an outside host, and the suite installed as by `make install`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};
use std::sync::Once;

use sandbox::{Host, Snapshot, is_inside, on_a_machine};
use serde_json::Value;

use crate::shell::{eventually, run};

/// The root of the workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where runtimes look for network configurations.
const CONF: &str = "/etc/cni/net.d";
/// Where runtimes look for CNI plugins.
const PLUGINS: &str = "/opt/cni/bin";
/// Where runtimes look for NRI plugins.
const NRI_PLUGINS: &str = "/opt/nri/plugins";
const SERVICE_LOG: &str = "/run/cleat-nri.log";
/// Debian's containerd looks here as well. The tests hide this folder, so that a plugin that is missing in `PLUGINS` is not
/// silently taken from here.
const DEBIAN_PLUGINS: &str = "/usr/lib/cni";
/// A copy of the reference plugins, where no runtime looks.
const REFERENCE: &str = "/run/reference";
const OURS: [&str; 7] = ["bridge", "host-local", "host-port", "ipvlan", "link-env", "loopback", "macvlan"];

/// The NRI plugin as a service of its own, not started by the runtime. It is killed on drop.
#[derive(Debug)]
pub struct Service(Child);

impl Service {
    /// Waits until the plugin has joined the runtime this many times. containerd 2.1 can hang for ever if a plugin joins while
    /// a pod is being stopped (containerd/containerd#14083), so tests must not do both at once.
    pub fn await_joined(&self, times: usize) {
        eventually("the plugin joins the runtime", || {
            let log = fs::read_to_string(SERVICE_LOG).unwrap();
            if log.matches("joined the runtime").count() >= times { Ok(()) } else { Err(log) }
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A throw-away machine with the suite on it.
#[derive(Debug)]
pub struct Machine {
    /// The host and its outside host.
    pub host: Host,
}

/// Runs the calling test on a throw-away machine.
pub fn machine(test: impl FnOnce(&Machine)) {
    if !is_inside() {
        build();
    }
    on_a_machine(|| {
        let machine = Machine { host: Host::new() };
        install();
        test(&machine);
    });
}

/// Builds the programs of the root package, which cargo does not build for the tests of this package: no test may run old
/// ones. They are stripped of debug information, which is most of their size, because every test copies them.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let cargo = std::env::var("CARGO").expect("cargo sets CARGO for its tests");
        run(Command::new(cargo).current_dir(ROOT).args(["build", "--quiet", "--locked", "--bins"]));
        let programs = programs();
        fs::create_dir_all(&programs).unwrap();
        for name in OURS.into_iter().chain(["cleat", "cleat-nri", "cleat-overlay"]) {
            // Another run of the tests may be copying the existing file, so that one is replaced, not changed.
            let new = programs.join(format!("{name}.{}", process::id()));
            run(Command::new("strip").arg("-o").arg(&new).arg(built().join(name)));
            fs::rename(new, programs.join(name)).unwrap();
        }
    });
}

/// The folder above that of this test program.
pub(crate) fn built() -> PathBuf {
    std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_owned()
}

fn programs() -> PathBuf {
    built().join("stripped")
}

fn install() {
    // podman's package installs a network here, and the host may have plugins here: no test wants them.
    for folder in [CONF, PLUGINS] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
    }
    fs::create_dir_all(REFERENCE).unwrap();
    for entry in fs::read_dir(DEBIAN_PLUGINS).expect("install containernetworking-plugins") {
        let entry = entry.unwrap();
        fs::copy(entry.path(), Path::new(REFERENCE).join(entry.file_name())).unwrap();
    }
    run(Command::new("mount").args(["-t", "tmpfs", "nothing", DEBIAN_PLUGINS]));
    for name in OURS {
        put(&programs().join(name), &Path::new(PLUGINS).join(name));
    }
    symlink("host-port", Path::new(PLUGINS).join("portmap")).unwrap();
}

/// Copies a program to a new file and renames it to its place, as `make install` does.
fn put(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, to).unwrap();
}

impl Machine {
    /// Adds a network configuration.
    pub fn network(&self, file: &str, conflist: &Value) {
        fs::write(Path::new(CONF).join(file), conflist.to_string()).unwrap();
    }

    /// Installs plugins of the reference; they replace ours of the same name.
    pub fn reference(&self, names: &[&str]) {
        for name in names {
            let target = Path::new(PLUGINS).join(name);
            put(&Path::new(REFERENCE).join(name), &target);
        }
    }

    /// Installs our plugins over whatever has their names, even while containers run.
    pub fn ours(&self, names: &[&str]) {
        for name in names {
            let program = if *name == "portmap" { "host-port" } else { name };
            put(&programs().join(program), &Path::new(PLUGINS).join(name));
        }
    }

    /// Makes the image for the nodes of a cluster, as `make packages` does, of the programs that were built for the tests.
    /// Returns its archive and the manifest of a `DaemonSet` that names it.
    #[must_use]
    pub fn node_image(&self) -> (PathBuf, PathBuf) {
        let packaging = Path::new(ROOT).join("packaging");
        let (stage, archive, manifest) =
            (Path::new("/run/stage"), PathBuf::from("/run/cleat.tar"), PathBuf::from("/run/cleat.yaml"));
        run(Command::new(packaging.join("stage"))
            .arg(programs())
            .arg(programs().join("cleat-nri"))
            .arg(stage));
        let mut image = Command::new(packaging.join("image"));
        run(image.arg(stage).arg(&archive).arg(&manifest).env("SOURCE_DATE_EPOCH", "0"));
        (archive, manifest)
    }

    /// A command of `cleat`, which finds the networks and plugins of the machine.
    #[must_use]
    pub fn cleat(&self) -> Command {
        Command::new(programs().join("cleat"))
    }

    /// Installs the NRI plugin where the runtime finds and starts it.
    pub fn nri_plugin(&self) {
        fs::create_dir_all(NRI_PLUGINS).unwrap();
        put(&programs().join("cleat-nri"), &Path::new(NRI_PLUGINS).join("10-cleat-nri"));
    }

    /// Starts the NRI plugin as a service of its own, with the arguments of its systemd unit and without any capability.
    #[must_use]
    pub fn nri_service(&self) -> Service {
        let log = fs::File::create(SERVICE_LOG).unwrap();
        let unit = fs::read_to_string(Path::new(ROOT).join("conf/cleat-nri.service")).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/cleat-nri"));
        let words = sandbox::only(&[]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(programs().join("cleat-nri")).args(line.unwrap().split_whitespace());
        Service(command.stderr(log).spawn().unwrap())
    }

    /// A snapshot of what the suite may change on the machine. The folders are those of the suite: runtimes keep their own
    /// files elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::with_files_of(&["/run/cleat", "/run/netns", "/run/cdi", "/var/lib/cni", "/etc/netns"])
    }
}
