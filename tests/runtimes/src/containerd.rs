//! containerd: that of Debian 12, and the newest that Debian has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::image;
use crate::machine::built;
use crate::shell::{eventually, try_run};

const SOCKET: &str = "/run/containerd/containerd.sock";
const LOG: &str = "/run/containerd.log";

/// A release of containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12's, 1.6.
    Debian12,
    /// The newest that Debian has, unpacked by `tests/tools/newer`: 2.1 or later, with NRI.
    Newest,
}

/// A running containerd, which is killed on drop.
#[derive(Debug)]
pub struct Containerd {
    daemon: Child,
    release: Release,
}

impl Containerd {
    /// Starts containerd, and loads the test image for the CRI and for ctr(8).
    #[must_use]
    pub fn start(release: Release) -> Self {
        Self::start_with(release, "")
    }

    /// As [`Containerd::start`], with more lines in the CNI section of its configuration.
    #[must_use]
    pub fn start_with(release: Release, lines: &str) -> Self {
        fs::write("/etc/containerd.toml", format!("{CONFIGURATION}{lines}\n")).unwrap();
        let containerd = Self { daemon: serve(release), release };
        containerd.load(&image::archive(&[image::IMAGE]));
        containerd
    }

    /// Loads an image from an archive.
    pub fn load(&self, archive: &Path) {
        for namespace in ["default", "k8s.io"] {
            eventually("load the image", || {
                try_run(self.ctr().args(["-n", namespace, "images", "import"]).arg(archive))
                    .map_err(|error| format!("{error}\n{}", log()))
            });
        }
    }

    /// A command of ctr(8), its command line client.
    #[must_use]
    pub fn ctr(&self) -> Command {
        let mut command = Command::new(program(self.release, "ctr"));
        command.args(["--address", SOCKET]);
        command
    }

    /// Kills the daemon and starts it again; the containers keep running.
    pub fn restart(&mut self) {
        self.stop();
        self.daemon = serve(self.release);
        eventually("containerd is back", || try_run(self.ctr().arg("version")));
    }

    fn stop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> &'static Path {
        Path::new(SOCKET)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("{}", log());
        }
    }
}

/// The last lines of containerd's log without those of level info.
fn log() -> String {
    let text = fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("level=info")).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn serve(release: Release) -> Child {
    let log = File::options().create(true).append(true).open(LOG).unwrap();
    let containerd = program(release, "containerd");
    // containerd looks in PATH for its shim and for runc.
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", containerd.parent().unwrap().display());
    Command::new(&containerd)
        .args(["--config", "/etc/containerd.toml"])
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("start {}: {error}: run tests/run as root", containerd.display()))
}

fn program(release: Release, name: &str) -> PathBuf {
    let newer = built().join("../../debian-newer/containerd/usr/bin");
    let folder = match release {
        Release::Debian12 => PathBuf::from("/usr/bin"),
        Release::Newest => newer,
    };
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: run `make test-runtimes`", program.display());
    program
}

/// Both releases read version 2 of the format. `restrict_oom_score_adj`: the tests' root may lack the right to lower OOM
/// scores, for example in a container.
const CONFIGURATION: &str = r#"
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/cleat-test:latest"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#;
