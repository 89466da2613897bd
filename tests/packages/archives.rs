//! The tarball, the image and the RPM, and the sums of all.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount, umount};
use serde_json::Value;

use crate::deb::install;
use crate::listing::Listing;
use crate::root::{PACKAGES, in_debian, in_debian_with_reference, package, sh};

#[test]
fn the_sums_are_those_of_all_packages() {
    in_debian(|| {
        sh(&["sh", "-c", &format!("cd {PACKAGES} && sha256sum --check --strict SHA256SUMS")]);
        let sums = fs::read_to_string(format!("{PACKAGES}/SHA256SUMS")).unwrap();
        let mut named: Vec<&str> = sums.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
        named.push("SHA256SUMS");
        named.sort_unstable();
        let mut there: Vec<String> = fs::read_dir(PACKAGES)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, named);
        assert_eq!(there.len(), 6);
    });
}

#[test]
fn the_tarball_installs_and_uninstalls() {
    in_debian_with_reference(|| {
        fs::create_dir_all("/opt/cni/bin").unwrap();
        fs::copy("/usr/lib/cni/bridge", "/opt/cni/bin/bridge").unwrap();
        let before = Listing::take();
        sh(&["tar", "-xzf", &package("-linux.tar.gz"), "-C", "/root"]);
        sh(&["sh", "-c", "cd /root/cleat-*-linux && sha256sum --check --strict SHA256SUMS && ./install"]);
        // The folder is not needed any more.
        sh(&["sh", "-c", "rm -r /root/cleat-*-linux"]);
        let said = sh(&["/usr/local/bin/cleat", "--version"]);
        assert_eq!(said.trim(), concat!("cleat ", env!("CARGO_PKG_VERSION")));
        let said = sh(&["sh", "-c", "CNI_COMMAND=VERSION /opt/cni/bin/portmap </dev/null"]);
        assert!(said.contains("1.1.0"), "{said}");
        assert!(Path::new("/opt/cni/bin/bridge.before-cleat").exists());
        sh(&["/usr/local/share/cleat/uninstall"]);
        before.assert_unchanged();
    });
}

/// The blob that a descriptor names, whose digest and size are what it says.
fn blob(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let path = format!("/root/layout/blobs/sha256/{digest}");
    assert!(sh(&["sha256sum", &path]).starts_with(digest));
    assert_eq!(fs::metadata(&path).unwrap().len(), descriptor["size"].as_u64().unwrap());
    path
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Unpacks the image to `/root/image`, whose parts are what their digests say, and returns its command and its digest.
fn unpack_image() -> (Vec<String>, String) {
    fs::create_dir("/root/layout").unwrap();
    sh(&["tar", "-xf", &package("-oci.tar"), "-C", "/root/layout"]);
    assert_eq!(json("/root/layout/oci-layout")["imageLayoutVersion"], "1.0.0");
    let described = &json("/root/layout/index.json")["manifests"][0];
    let manifest = json(&blob(described));
    let config = json(&blob(&manifest["config"]));
    let layer = blob(&manifest["layers"][0]);
    fs::create_dir("/root/image").unwrap();
    sh(&[
        "sh",
        "-c",
        &format!("gzip -dc {layer} >/root/layer.tar && tar -xf /root/layer.tar -C /root/image"),
    ]);
    let sum = sh(&["sha256sum", "/root/layer.tar"]);
    let id = format!("sha256:{}", sum.split(' ').next().unwrap());
    assert_eq!(config["rootfs"]["diff_ids"][0], id.as_str());
    sh(&["rm", "-r", "/root/layout", "/root/layer.tar"]);
    let words = config["config"]["Cmd"].as_array().unwrap().iter();
    (
        words.map(|word| word.as_str().unwrap().to_owned()).collect(),
        described["digest"].as_str().unwrap().to_owned(),
    )
}

/// Runs the image's command in the image, of which `/host` is the node.
fn run_image(command: &[String]) {
    let mut words = vec!["env", "-i", "/usr/sbin/chroot", "/root/image"];
    words.extend(command.iter().map(String::as_str));
    let said = sh(&words);
    assert!(said.contains("installed plugins of CNI in /opt/cni/bin"), "{said}");
}

#[test]
fn the_image_equips_a_node_and_the_daemon_set_names_it() {
    in_debian_with_reference(|| {
        let (command, digest) = unpack_image();
        let daemon_set = fs::read_to_string(package("-daemonset.yaml")).unwrap();
        let named = format!("image: registry.example/cleat@{digest}");
        assert_eq!(daemon_set.matches(&named).count(), 2, "{daemon_set}");
        assert_eq!(daemon_set.matches("image:").count(), 2);

        // The node is a folder.
        fs::create_dir_all("/root/image/host/opt/cni/bin").unwrap();
        fs::copy("/usr/lib/cni/bridge", "/root/image/host/opt/cni/bin/bridge").unwrap();
        run_image(&command);
        let node = "/root/image/host/opt/cni/bin";
        assert!(
            fs::read(format!("{node}/bridge.before-cleat")).unwrap()
                == fs::read("/usr/lib/cni/bridge").unwrap()
        );
        let said = sh(&["sh", "-c", &format!("CNI_COMMAND=VERSION {node}/portmap </dev/null")]);
        assert!(said.contains("1.1.0"), "{said}");
        assert!(Path::new("/root/image/host/opt/nri/plugins/10-cleat-nri").exists());
    });
}

/// On one node both the package and the `DaemonSet`, in either order: what the package leaves is what was there before it.
#[test]
fn the_image_and_the_package_on_one_node() {
    in_debian_with_reference(|| {
        let (command, _) = unpack_image();
        fs::create_dir_all("/opt/cni/bin").unwrap();
        fs::copy("/usr/lib/cni/bridge", "/opt/cni/bin/bridge").unwrap();
        let before = Listing::of("/opt/cni");
        let equip = || {
            mount(Some("/"), "/root/image/host", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            run_image(&command);
            umount("/root/image/host").unwrap();
        };
        install();
        equip();
        sh(&["dpkg", "--purge", "cleat"]);
        assert_eq!(before.changes(&Listing::of("/opt/cni")), [""; 0]);
        equip();
        install();
        equip();
        let kept = fs::read("/opt/cni/bin/bridge.before-cleat").unwrap();
        assert!(kept == fs::read("/usr/lib/cni/bridge").unwrap());
        sh(&["dpkg", "--purge", "cleat"]);
        assert!(fs::read("/opt/cni/bin/bridge").unwrap() == kept);
    });
}

#[test]
fn the_rpm_keeps_what_was_there_and_brings_it_back() {
    in_debian_with_reference(|| {
        fs::create_dir_all("/opt/cni/bin").unwrap();
        fs::copy("/usr/lib/cni/bridge", "/opt/cni/bin/bridge").unwrap();
        // rpm makes its database here.
        sh(&["rpm", "--query", "--all"]);
        let before = Listing::of("/opt");
        let file = package(".rpm");
        // Nothing of this machine is known to rpm, not even the shell.
        sh(&["rpm", "--install", "--nodeps", &file]);
        let ours = fs::read("/opt/cni/bin/bridge").unwrap();
        assert!(
            fs::read("/opt/cni/bin/bridge.before-cleat").unwrap() == fs::read("/usr/lib/cni/bridge").unwrap()
        );
        assert_eq!(sh(&["cleat", "--version"]).trim(), concat!("cleat ", env!("CARGO_PKG_VERSION")));
        sh(&["rpm", "--verify", "--nodeps", "cleat"]);
        sh(&["rpm", "--upgrade", "--nodeps", "--force", &file]);
        assert!(fs::read("/opt/cni/bin/bridge").unwrap() == ours);
        sh(&["rpm", "--erase", "cleat"]);
        assert_eq!(before.changes(&Listing::of("/opt")), [""; 0]);
    });
}
