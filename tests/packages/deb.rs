//! The Debian package, by dpkg: on an empty machine, on one with the reference's plugins, and where something fails.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount, umount};

use crate::listing::Listing;
use crate::node::{Node, PLUGINS, SHARED};
use crate::root::{in_debian, in_debian_with_reference, make, package, refused, run, sh, target};

const OWN: &str = "/opt/cni/bin";
const DEBIANS: &str = "/usr/lib/cni";

pub(crate) fn install() {
    sh(&["dpkg", "-i", &package("_amd64.deb")]);
}

/// A later version of the package, with other programs.
pub(crate) fn later() -> String {
    let work = "/root/later";
    sh(&["dpkg-deb", "-R", &package("_amd64.deb"), work]);
    let control = Path::new(work).join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    assert!(text.contains("\nVersion: 0.2.0-1\n"), "{text}");
    fs::write(&control, text.replace("\nVersion: 0.2.0-1\n", "\nVersion: 0.3.0-1\n")).unwrap();
    for name in PLUGINS.iter().filter(|name| **name != "portmap") {
        let path = format!("{work}{OWN}/{name}");
        let program = fs::read(&path).unwrap();
        // What follows the last section is not loaded.
        fs::write(&path, [&program[..], b"later"].concat()).unwrap();
    }
    build(work, "/root/cleat_later.deb")
}

/// A package by the name, version and files of somebody else.
pub(crate) fn foreign(name: &str, version: &str, files: &[(&str, &[u8])]) -> String {
    let work = format!("/root/{name}-{version}");
    for (path, bytes) in files {
        let path = format!("{work}{path}");
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        sh(&["chmod", "755", &path]);
    }
    fs::create_dir_all(format!("{work}/DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <n@example>\nDescription: test\n"
    );
    fs::write(format!("{work}/DEBIAN/control"), control).unwrap();
    build(&work, &format!("/root/{name}_{version}.deb"))
}

fn build(folder: &str, file: &str) -> String {
    sh(&["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, file]);
    fs::remove_dir_all(folder).unwrap();
    file.to_owned()
}

/// Puts the reference's plugins, and one that only the reference has, where a tarball of it would.
fn unpack_reference() {
    fs::create_dir_all(OWN).unwrap();
    for name in SHARED.iter().chain(&["firewall"]) {
        fs::copy(format!("{DEBIANS}/{name}"), format!("{OWN}/{name}")).unwrap();
    }
}

fn diversions() -> String {
    sh(&["dpkg-divert", "--list", "*cleat*"])
}

#[test]
fn an_empty_machine_gets_all_and_is_empty_again_after_a_purge() {
    in_debian(|| {
        let before = Listing::take();
        install();
        let after = Listing::take();
        for line in before.changes(&after) {
            assert!(line.starts_with("+ "), "{line}");
            // A network that is there by itself would be one that nobody chose.
            assert!(!line.starts_with("+ /etc"), "{line}");
            assert!(line.contains(" 0:0") || line.contains(" -> "), "{line}");
        }
        for name in PLUGINS {
            assert!(after.has(&format!("{OWN}/{name}")), "{name}");
        }
        for (path, mode) in [
            ("/opt/cni/bin/bridge", "755"),
            ("/usr/bin/cleat", "755"),
            ("/usr/bin/cleat-nri", "755"),
            ("/usr/bin/cleat-overlay", "755"),
            ("/usr/sbin/cleat-divert", "755"),
            ("/usr/lib/systemd/system/cleat-nri.service", "644"),
            ("/usr/lib/systemd/system/cleat-overlay.service", "644"),
            ("/usr/share/bash-completion/completions/cleat", "644"),
            ("/usr/share/cleat/schema/conflist.schema.json", "644"),
            ("/usr/share/doc/cleat/changelog.Debian.gz", "644"),
            ("/usr/share/doc/cleat/copyright", "644"),
            ("/usr/share/doc/cleat/examples/10-cleat.conflist", "644"),
            ("/usr/share/fish/vendor_completions.d/cleat.fish", "644"),
            ("/usr/share/man/man1/cleat-run.1.gz", "644"),
            ("/usr/share/man/man8/cleat-divert.8.gz", "644"),
            ("/usr/share/man/man8/cleat-overlay.8.gz", "644"),
            ("/usr/share/zsh/vendor-completions/_cleat", "644"),
        ] {
            assert_eq!(sh(&["stat", "-c", "%a %u:%g", path]).trim(), format!("{mode} 0:0"), "{path}");
        }
        for name in ["cleat-nri", "cleat-overlay"] {
            let unit = fs::read_to_string(format!("/usr/lib/systemd/system/{name}.service")).unwrap();
            assert!(unit.contains(&format!("\nExecStart=/usr/bin/{name} ")), "{unit}");
            assert!(sh(&[name, "--version"]).starts_with(&format!("{name} ")));
        }
        assert_eq!(sh(&["cleat", "--version"]).trim(), concat!("cleat ", env!("CARGO_PKG_VERSION")));
        assert_eq!(sh(&["dpkg", "--verify", "cleat"]), "");

        let node = Node::new(OWN);
        let web = node.add("web", 8080);
        node.check(&web);
        node.del(web);
        fs::remove_dir_all("/etc/cni").unwrap();
        drop(node);
        // As an administrator does who uses the units and the link, and what systemd makes for the agent.
        let wants = "/etc/systemd/system/multi-user.target.wants";
        fs::create_dir_all(wants).unwrap();
        for name in ["cleat-nri", "cleat-overlay"] {
            sh(&["ln", "-s", &format!("/usr/lib/systemd/system/{name}.service"), wants]);
        }
        sh(&["mkdir", "-p", "/etc/cleat/overlay", "/var/lib/cleat/overlay/shop"]);
        sh(&["mkdir", "-p", "/opt/nri/plugins", "/var/log/cleat"]);
        sh(&["ln", "-s", "/usr/bin/cleat-nri", "/opt/nri/plugins/10-cleat-nri"]);
        sh(&["dpkg", "--purge", "cleat"]);
        sh(&["rmdir", "/opt/nri/plugins", "/opt/nri", wants, "/run/netns"]);
        before.assert_unchanged();
        assert_eq!(diversions(), "");
    });
}

#[test]
fn a_purge_keeps_the_leases_of_containers_that_go_on() {
    in_debian(|| {
        install();
        let node = Node::new(OWN);
        let web = node.add("web", 8080);
        sh(&["dpkg", "--purge", "cleat"]);
        assert!(
            Path::new("/var/lib/cni/networks/cleat/10.90.0.2").exists(),
            "the lease of a running container"
        );
        assert!(!Path::new("/run/cleat").exists());
        install();
        node.del(web);
    });
}

#[test]
fn a_running_node_is_upgraded_rolled_back_and_given_back() {
    in_debian_with_reference(|| {
        unpack_reference();
        let before = Listing::take();
        let reference = Listing::of(OWN);
        install();
        for name in SHARED {
            let kept = fs::read(format!("{OWN}/{name}.before-cleat")).unwrap();
            assert!(kept == fs::read(format!("{DEBIANS}/{name}")).unwrap(), "{name} is not kept");
        }
        let first = fs::read(format!("{OWN}/bridge")).unwrap();

        let node = Node::new(OWN);
        let (web, db) = (node.add("web", 8080), node.add("db", 8081));
        let later = later();
        node.meanwhile(&web, &PLUGINS, || drop(sh(&["dpkg", "-i", &later])));
        assert!(fs::read(format!("{OWN}/bridge")).unwrap() != first, "the later version's is there");
        node.check(&web);
        node.del(db);
        let app = node.add("app", 8082);
        // A second installation keeps nothing of ours as what was there before.
        assert!(fs::read(format!("{OWN}/bridge.before-cleat")).unwrap() != first);

        node.meanwhile(&web, &PLUGINS, || drop(sh(&["dpkg", "-i", &package("_amd64.deb")])));
        assert!(fs::read(format!("{OWN}/bridge")).unwrap() == first, "the earlier version's is there again");
        node.check(&app);
        node.del(app);

        // Removed while a container runs: the reference's programs are there, at no time nothing, and what the container needs.
        node.meanwhile(&web, &SHARED, || drop(sh(&["dpkg", "--remove", "cleat"])));
        assert_eq!(reference.changes(&Listing::of(OWN)), [""; 0]);
        assert_eq!(diversions(), "");
        node.meanwhile(&web, &SHARED, install);
        node.check(&web);
        node.del(web);

        sh(&["dpkg", "--purge", "cleat"]);
        fs::remove_file(&later).unwrap();
        fs::remove_dir_all("/etc/cni").unwrap();
        drop(node);
        fs::remove_dir("/run/netns").unwrap();
        before.assert_unchanged();
    });
}

#[test]
fn the_plugins_of_another_package_are_kept_and_upgraded_beside() {
    in_debian_with_reference(|| {
        let bridge = fs::read(format!("{DEBIANS}/bridge")).unwrap();
        let newer = [&bridge[..], b"newer"].concat();
        let path = format!("{OWN}/bridge");
        sh(&["dpkg", "-i", &foreign("kubernetes-cni", "1.0", &[(&path, &bridge)])]);
        install();
        assert!(fs::read(format!("{path}.before-cleat")).unwrap() == bridge);
        let ours = fs::read(&path).unwrap();
        sh(&["dpkg", "-i", &foreign("kubernetes-cni", "1.1", &[(&path, &newer)])]);
        assert!(fs::read(&path).unwrap() == ours, "the other package's upgrade leaves ours");
        assert!(fs::read(format!("{path}.before-cleat")).unwrap() == newer);
        sh(&["dpkg", "--purge", "cleat"]);
        assert!(fs::read(&path).unwrap() == newer);
        assert_eq!(sh(&["dpkg", "--verify", "kubernetes-cni"]), "");
        assert_eq!(fs::read_dir(OWN).unwrap().count(), 1);
        // The other way round: theirs comes while ours is there, and goes.
        sh(&["dpkg", "--purge", "kubernetes-cni"]);
        install();
        sh(&["dpkg", "-i", "/root/kubernetes-cni_1.0.deb"]);
        assert!(fs::read(&path).unwrap() == ours);
        sh(&["dpkg", "--purge", "kubernetes-cni"]);
        assert!(fs::read(&path).unwrap() == ours);
        sh(&["dpkg", "--purge", "cleat"]);
        assert!(!Path::new("/opt/cni").exists());
    });
}

#[test]
fn an_installation_that_fails_leaves_nothing() {
    in_debian_with_reference(|| {
        unpack_reference();
        let other = foreign("other", "1", &[("/usr/bin/cleat", b"another cleat")]);
        sh(&["dpkg", "-i", &other]);
        let before = Listing::take();
        let said = refused(&["dpkg", "-i", &package("_amd64.deb")]);
        assert!(said.contains("trying to overwrite '/usr/bin/cleat'"), "{said}");
        before.assert_unchanged();
        assert_eq!(diversions(), "");
    });
}

#[test]
fn a_removal_that_fails_leaves_the_package_as_it_was() {
    in_debian_with_reference(|| {
        unpack_reference();
        install();
        // prerm cannot remove the link, which is the last thing that it does.
        fs::create_dir_all("/opt/nri/plugins").unwrap();
        sh(&["ln", "-s", "/usr/bin/cleat-nri", "/opt/nri/plugins/10-cleat-nri"]);
        let (before, diverted) = (Listing::take(), diversions());
        let read_only = |flags| {
            let folder = "/opt/nri/plugins";
            mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>).unwrap();
        };
        read_only(MsFlags::empty());
        read_only(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
        let said = refused(&["dpkg", "--remove", "cleat"]);
        assert!(said.contains("pre-removal"), "{said}");
        before.assert_unchanged();
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&diversions()), sorted(&diverted));
        assert_eq!(sh(&["dpkg", "--verify", "cleat"]), "");
        umount("/opt/nri/plugins").unwrap();
        sh(&["dpkg", "--purge", "cleat"]);
        assert_eq!(diversions(), "");
    });
}

#[test]
fn lintian_finds_nothing() {
    make();
    let file = target().join(format!("packages/cleat_{}-1_amd64.deb", env!("CARGO_PKG_VERSION")));
    run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(file));
}
