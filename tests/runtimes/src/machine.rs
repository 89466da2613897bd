//! The machine of a test: its own host with an outside, and the suite installed as `make install` does it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};
use std::sync::Once;

use sandbox::{Host, Snapshot, is_inside, on_a_machine};
use serde_json::Value;

use crate::shell::{eventually, run};

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where runtimes look for networks.
const CONF: &str = "/etc/cni/net.d";
/// Where runtimes look for plugins.
const PLUGINS: &str = "/opt/cni/bin";
/// Where runtimes look for plugins of NRI.
const NRI_PLUGINS: &str = "/opt/nri/plugins";
const SERVICE_LOG: &str = "/run/cleat-nri.log";
/// Debian's containerd looks here as well; what is missing in `PLUGINS` must not be found here unnoticed.
const DEBIAN_PLUGINS: &str = "/usr/lib/cni";
/// The reference's plugins, out of any runtime's sight.
const REFERENCE: &str = "/run/reference";
const OURS: [&str; 5] = ["bridge", "host-local", "host-port", "link-env", "loopback"];

/// The NRI plugin as a program that runs by itself until this is dropped.
#[derive(Debug)]
pub struct Service(Child);

impl Service {
    /// Waits until it has joined a runtime so many times. containerd 2.1 can hang for ever where a plugin joins while a
    /// pod is being stopped (containerd/containerd#14083), so tests must not do both at once.
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
    /// The host with its outside.
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

/// The programs are the root package's, which cargo does not build for tests of this one: no test may meet old ones.
/// They are copied often, so without what is for debuggers, which is nearly all of them.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let cargo = std::env::var("CARGO").expect("cargo tells its tests where it is");
        run(Command::new(cargo).current_dir(ROOT).args(["build", "--quiet", "--locked", "--bins"]));
        let programs = programs();
        fs::create_dir_all(&programs).unwrap();
        for name in OURS.into_iter().chain(["cleat", "cleat-nri"]) {
            // Another run of the tests may be copying the one that is there.
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
    // podman's package puts a network here, and plugins may be here that no test means.
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

/// Renames a program into its place, as `make install` does.
fn put(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, to).unwrap();
}

impl Machine {
    /// Adds a network.
    pub fn network(&self, file: &str, conflist: &Value) {
        fs::write(Path::new(CONF).join(file), conflist.to_string()).unwrap();
    }

    /// Puts plugins of the reference beside ours, or in their place.
    pub fn reference(&self, names: &[&str]) {
        for name in names {
            let target = Path::new(PLUGINS).join(name);
            put(&Path::new(REFERENCE).join(name), &target);
        }
    }

    /// Puts our plugins in the place of whatever is there, while containers run.
    pub fn ours(&self, names: &[&str]) {
        for name in names {
            let program = if *name == "portmap" { "host-port" } else { name };
            put(&programs().join(program), &Path::new(PLUGINS).join(name));
        }
    }

    /// Installs everything into a folder, by `make install`, but as it was built for the tests.
    pub fn install_into(&self, folder: &Path) {
        let mut make = Command::new("make");
        make.args(["-s", "-C", ROOT, "-o", "all", "install"]);
        run(make.arg(format!("OUT={}", programs().display())).arg(format!("DESTDIR={}", folder.display())));
    }

    /// The command line tool, over the networks and plugins of the machine.
    #[must_use]
    pub fn cleat(&self) -> Command {
        Command::new(programs().join("cleat"))
    }

    /// Has the runtime start the NRI plugin, from its folder.
    pub fn nri_plugin(&self) {
        fs::create_dir_all(NRI_PLUGINS).unwrap();
        put(&programs().join("cleat-nri"), &Path::new(NRI_PLUGINS).join("10-cleat-nri"));
    }

    /// Starts the NRI plugin by itself, as its unit says, without any capability.
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

    /// What the suite may change on the machine; runtimes keep their own files elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::with_files_of(&["/run/cleat", "/run/netns", "/run/cdi", "/var/lib/cni", "/etc/netns"])
    }
}
