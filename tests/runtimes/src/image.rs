//! A container image made from Debian's static busybox, so that the tests need no registry.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::shell::run;

/// The image's name. Its command is sleep, so the image also serves for the pause container of a pod.
pub const IMAGE: &str = "localhost/cleat-test:latest";

const BUSYBOX: &str = "/usr/bin/busybox";
const FOLDERS: [&str; 9] = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"];

/// Writes the image, with these names, as an archive that containerd and podman can load (the format of `docker save`).
pub(crate) fn archive(names: &[&str]) -> PathBuf {
    let folder = Path::new("/run/image");
    if folder.exists() {
        return folder.join("image.tar");
    }
    let root = folder.join("root");
    for name in FOLDERS {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let busybox = [BUSYBOX, "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("install busybox-static");
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in run(Command::new(busybox).arg("--list")).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    // Debian's busybox has no printenv.
    let printenv = root.join("bin/printenv");
    fs::write(&printenv, "#!/bin/sh\n[ $# = 0 ] && exec env\nenv | sed -n \"s/^$1=//p\" | grep .\n").unwrap();
    fs::set_permissions(&printenv, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    let pack = |from: &Path, to: &Path| {
        run(Command::new("tar").arg("-C").arg(from).args(["--owner=0", "--group=0", "-cf"]).arg(to).arg("."));
    };
    let content = folder.join("content");
    fs::create_dir(&content).unwrap();
    let layer = content.join("layer.tar");
    pack(&root, &layer);
    let digest = run(Command::new("sha256sum").arg(&layer));
    let digest = digest.split_whitespace().next().unwrap();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"] },
        // podman counts the layers by the history.
        "history": [{ "created_by": "tests/runtimes" }],
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    fs::write(content.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{ "Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"] }]);
    fs::write(content.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = folder.join("image.tar");
    run(Command::new("tar").arg("-C").arg(&content).arg("-cf").arg(&archive).args([
        "manifest.json",
        "config.json",
        "layer.tar",
    ]));
    archive
}
