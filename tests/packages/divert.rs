//! `cleat-divert`: cleat's plugins in the folder of Debian's containernetworking-plugins.

use std::fs;
use std::path::Path;

use crate::deb::{foreign, install};
use crate::listing::Listing;
use crate::node::{Node, PLUGINS, SHARED};
use crate::root::{ended_at, in_debian, in_debian_with_reference, refused, sh};

const FOLDER: &str = "/usr/lib/cni";

fn divert(verb: &str) -> String {
    sh(&["cleat-divert", verb])
}

fn assert_enabled() {
    for name in PLUGINS {
        let link = fs::read_link(format!("{FOLDER}/{name}")).unwrap();
        assert_eq!(link, Path::new("/opt/cni/bin").join(name));
    }
}

#[test]
fn a_running_node_gets_them_and_gives_them_back() {
    in_debian_with_reference(|| {
        install();
        let before = Listing::take();
        let status = divert("status");
        assert!(status.contains("/usr/lib/cni/bridge: not cleat's\n"), "{status}");
        assert!(status.contains("/usr/lib/cni/link-env: not there\n"), "{status}");
        divert("enable");
        assert_enabled();
        let enabled = Listing::take();

        let node = Node::new(FOLDER);
        let web = node.add("web", 8080);
        node.meanwhile(&web, &SHARED, || drop(divert("disable")));
        assert!(divert("status").contains("/usr/lib/cni/bridge: not cleat's\n"));
        node.meanwhile(&web, &SHARED, || drop(divert("enable")));
        divert("enable");
        node.check(&web);
        node.del(web);
        drop(node);

        let status = divert("status");
        let kept =
            "/usr/lib/cni/bridge: cleat's, and the one before it is /usr/lib/cni/bridge.before-cleat\n";
        assert!(status.contains(kept), "{status}");
        fs::remove_dir_all("/etc/cni").unwrap();
        sh(&["rm", "-rf", "/var/lib/cni", "/run/cleat", "/run/netns"]);
        fs::read_dir("/run").unwrap().map(|entry| entry.unwrap().path()).for_each(|path| {
            if path.display().to_string().starts_with("/run/cleat.") {
                fs::remove_file(path).unwrap();
            }
        });
        enabled.assert_unchanged();
        divert("disable");
        divert("disable");
        before.assert_unchanged();
        assert_eq!(sh(&["dpkg", "--verify", "containernetworking-plugins"]), "");
    });
}

#[test]
fn an_upgrade_of_the_references_package_is_kept() {
    in_debian_with_reference(|| {
        let newer = [&fs::read(format!("{FOLDER}/bridge")).unwrap()[..], b"newer"].concat();
        install();
        divert("enable");
        let path = format!("{FOLDER}/bridge");
        sh(&["dpkg", "-i", &foreign("containernetworking-plugins", "9", &[(&path, &newer)])]);
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("/opt/cni/bin/bridge"));
        assert!(fs::read(format!("{path}.before-cleat")).unwrap() == newer);
        divert("disable");
        assert!(fs::read(&path).unwrap() == newer);
        assert_eq!(sh(&["dpkg", "--verify", "containernetworking-plugins"]), "");
    });
}

#[test]
fn removing_the_package_undoes_it() {
    in_debian_with_reference(|| {
        let before = Listing::take();
        install();
        divert("enable");
        sh(&["cleat-divert", "enable", "/usr/libexec/cni"]);
        let node = Node::new(FOLDER);
        let web = node.add("web", 8080);
        node.meanwhile(&web, &SHARED, || drop(sh(&["dpkg", "--remove", "cleat"])));
        assert!(!Path::new("/usr/libexec/cni").exists());
        install();
        divert("enable");
        node.del(web);
        drop(node);
        sh(&["dpkg", "--purge", "cleat"]);
        fs::remove_dir_all("/etc/cni").unwrap();
        let _ = fs::remove_dir("/run/netns");
        before.assert_unchanged();
        assert_eq!(sh(&["dpkg", "--verify", "containernetworking-plugins"]), "");
    });
}

#[test]
fn the_references_package_can_go_first() {
    in_debian_with_reference(|| {
        install();
        divert("enable");
        sh(&["dpkg", "--purge", "containernetworking-plugins"]);
        assert_enabled();
        sh(&["dpkg", "--purge", "cleat"]);
        assert!(!Path::new(FOLDER).exists(), "nobody's folder is left");
    });
}

#[test]
fn a_folder_that_is_not_there_is_made_and_removed() {
    in_debian(|| {
        install();
        let before = Listing::take();
        divert("enable");
        assert_enabled();
        divert("disable");
        before.assert_unchanged();
    });
}

#[test]
fn mistakes_are_told() {
    in_debian(|| {
        install();
        let before = Listing::take();
        for (words, told) in [
            (&["cleat-divert"][..], "usage: cleat-divert enable"),
            (&["cleat-divert", "enable", "usr/lib/cni"], "usr/lib/cni is no absolute path"),
            (&["cleat-divert", "enable", "/opt/cni//bin/"], "/opt/cni/bin has the package's own files"),
            (&["cleat-divert", "enable", "--all"], "--all is no absolute path"),
        ] {
            let said = refused(words);
            assert!(said.contains(told), "{words:?}: {said}");
        }
        before.assert_unchanged();
    });
}

/// Killed before each of its commands in turn: each program is there, and the next run completes or undoes it.
#[test]
fn it_can_be_ended_anywhere() {
    in_debian_with_reference(|| {
        install();
        let disabled = Listing::of(FOLDER);
        divert("enable");
        let enabled = Listing::of(FOLDER);
        for (verb, undo, from, to) in
            [("disable", "enable", &enabled, &disabled), ("enable", "disable", &disabled, &enabled)]
        {
            let mut kills = 0;
            loop {
                let ended = ended_at(kills, &["/usr/sbin/cleat-divert", verb], &[]);
                for name in PLUGINS.iter().filter(|name| !["host-port", "link-env"].contains(name)) {
                    let program = fs::metadata(format!("{FOLDER}/{name}"));
                    assert!(program.unwrap().len() > 100_000, "{verb} ended at {kills}: {name}");
                }
                if !ended {
                    break;
                }
                // Both ways from there, in turn.
                let (next, wanted) = if kills % 2 == 0 { (verb, to) } else { (undo, from) };
                divert(next);
                assert_eq!(wanted.changes(&Listing::of(FOLDER)), [""; 0], "{verb} ended at {kills}, {next}");
                divert(undo);
                assert_eq!(from.changes(&Listing::of(FOLDER)), [""; 0], "{verb} ended at {kills}, {undo}");
                kills += 1;
            }
            assert!(kills > 12, "{verb} has only {kills} commands");
            assert_eq!(to.changes(&Listing::of(FOLDER)), [""; 0]);
            // The next verb begins where this one ended.
        }
    });
}
