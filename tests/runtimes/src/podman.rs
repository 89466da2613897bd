//! Debian 12's podman with its CNI backend.

use std::fs;
use std::process::Command;

use crate::image;
use crate::shell::{run, try_run};

/// podman, which has no daemon.
#[derive(Debug)]
pub struct Podman(());

impl Podman {
    /// Writes podman's configuration, and loads the test image.
    #[must_use]
    pub fn new() -> Self {
        fs::write("/etc/containers/containers.conf", format!("{SANDBOXED}{CONTAINERS}")).unwrap();
        fs::write("/etc/containers/storage.conf", STORAGE).unwrap();
        let podman = Self(());
        let archive = image::archive(&[image::IMAGE]);
        podman.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
        podman
    }

    /// Runs podman with arguments, and returns its standard output.
    #[allow(clippy::must_use_candidate, reason = "most commands are run for what they do")]
    pub fn run(&self, args: &[&str]) -> String {
        run(&mut podman(args))
    }

    /// As [`Podman::run`].
    ///
    /// # Errors
    /// podman failed: its output.
    pub fn try_run(&self, args: &[&str]) -> Result<String, String> {
        try_run(&mut podman(args))
    }
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}

fn podman(args: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command.args(args);
    command
}

/// What podman does without in a sandbox: systemd, and raising limits (`default_ulimits`), which the tests' root may not, for
/// example in a container. It ends in the section `engine`.
pub(crate) const SANDBOXED: &str = r#"
[containers]
default_ulimits = ["nofile=512:512", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// What the tests of podman set besides.
const CONTAINERS: &str = r#"runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
"#;

const STORAGE: &str = r#"
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"#;
