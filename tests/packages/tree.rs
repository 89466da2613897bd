//! `make install` and `make uninstall`, on a machine without Rust: what was there is kept and comes back.

use std::fs;
use std::path::Path;

use crate::listing::Listing;
use crate::node::{Node, PLUGINS, SHARED};
use crate::root::{ended_at, in_debian_with_reference, package, refused, sh};

const DESTDIR: &str = "/root/machine";
const OWN: &str = "/opt/cni/bin";

/// `make` with a target and variables.
fn make(words: &[&str]) -> String {
    // Whatever root's umask is, others must be able to execute and read what is installed.
    let umask = &["sh", "-c", "umask 077; exec \"$@\"", "sh"][..];
    sh(&[umask, &["make", "-s", "-C", "/source", "CARGO_TARGET_DIR=/target"], words].concat())
}

/// The reference's plugins in a folder, and one by a link, as some distributions have it.
fn unpack_reference(folder: &str) {
    fs::create_dir_all(folder).unwrap();
    for name in ["bridge", "firewall", "host-local", "ipvlan", "loopback", "macvlan"] {
        fs::copy(format!("/usr/lib/cni/{name}"), format!("{folder}/{name}")).unwrap();
    }
    sh(&["ln", "-s", "/usr/lib/cni/portmap", &format!("{folder}/portmap")]);
}

#[test]
fn what_was_there_is_kept_and_comes_back() {
    in_debian_with_reference(|| {
        let own = format!("{DESTDIR}{OWN}");
        unpack_reference(&own);
        fs::create_dir_all(format!("{DESTDIR}/usr/local/bin")).unwrap();
        let before = Listing::of(DESTDIR);
        let destdir = format!("DESTDIR={DESTDIR}");
        // The second time, what is there is ours, and not what was there before.
        for _ in 0..2 {
            make(&["install", &destdir]);
            for name in ["bridge", "host-local", "loopback", "portmap"] {
                let kept = fs::read(format!("{own}/{name}.before-cleat")).unwrap();
                assert!(kept == fs::read(format!("/usr/lib/cni/{name}")).unwrap(), "{name} is not kept");
            }
        }
        let kept = Listing::of(DESTDIR);
        for path in ["link-env.before-cleat", "firewall.before-cleat", "host-port.before-cleat"] {
            assert!(!kept.has(&format!("{own}/{path}")), "{path}");
        }
        make(&["uninstall", &destdir]);
        assert_eq!(before.changes(&Listing::of(DESTDIR)), [""; 0]);
        let said = refused(&["make", "-C", "/source", "uninstall", &destdir]);
        assert!(said.contains("nothing was installed with PREFIX=/usr/local"), "{said}");

        // Other folders, and the units say where their programs are.
        let folders = [&destdir, "BINDIR=/usr/libexec/cni", "PREFIX=/usr", "CONFDIR=/usr/share/examples"];
        make(&[&["install"], &folders[..]].concat());
        for name in ["cleat-nri", "cleat-overlay"] {
            let unit =
                fs::read_to_string(format!("{DESTDIR}/usr/lib/systemd/system/{name}.service")).unwrap();
            assert!(unit.contains(&format!("\nExecStart=/usr/bin/{name} ")), "{unit}");
        }
        assert!(Path::new(DESTDIR).join("usr/libexec/cni/portmap").exists());
        let private = sh(&["find", DESTDIR, "-path", "*usr*", "!", "-type", "l", "!", "-perm", "-o+r"]);
        assert_eq!(private, "");
        make(&["uninstall", &destdir, "PREFIX=/usr"]);
        assert_eq!(before.changes(&Listing::of(DESTDIR)), [""; 0]);
    });
}

#[test]
fn what_was_changed_since_is_left() {
    in_debian_with_reference(|| {
        let destdir = format!("DESTDIR={DESTDIR}");
        make(&["install", &destdir]);
        let example = format!("{DESTDIR}/etc/cni/net.d/10-cleat.conflist.example");
        fs::write(&example, "mine").unwrap();
        fs::write(format!("{DESTDIR}/etc/cni/net.d/10-mine.conflist"), "mine").unwrap();
        let said = make(&["uninstall", &destdir]);
        assert!(said.contains(&format!("{example} was changed since")), "{said}");
        let left = sh(&["find", DESTDIR, "-type", "f"]);
        let mut left: Vec<&str> = left.lines().map(|path| path.rsplit('/').next().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, ["10-cleat.conflist.example", "10-mine.conflist"]);
    });
}

#[test]
fn an_installation_of_before_there_was_a_manifest_is_ours() {
    in_debian_with_reference(|| {
        let destdir = format!("DESTDIR={DESTDIR}");
        make(&["install", &destdir]);
        fs::remove_file(format!("{DESTDIR}/usr/local/share/cleat/manifest")).unwrap();
        // Another version's programs.
        for name in PLUGINS {
            let path = format!("{DESTDIR}{OWN}/{name}");
            fs::write(&path, [&fs::read(&path).unwrap()[..], b"other"].concat()).unwrap();
        }
        make(&["install", &destdir]);
        let kept = sh(&["find", DESTDIR, "-name", "*.before-cleat"]);
        assert_eq!(kept, "", "our own programs are no plugins of somebody else");
    });
}

#[test]
fn a_running_node_goes_on() {
    in_debian_with_reference(|| {
        unpack_reference(OWN);
        let before = Listing::take();
        make(&["install"]);
        let node = Node::with(OWN, "/etc/cni/net.d/10-cleat.conflist.example");
        let web = node.add("web", 8080);
        node.meanwhile(&web, &PLUGINS, || drop(make(&["install"])));
        node.check(&web);
        node.meanwhile(&web, &SHARED, || drop(make(&["uninstall"])));
        assert_eq!(fs::read_link(format!("{OWN}/portmap")).unwrap(), Path::new("/usr/lib/cni/portmap"));
        make(&["install"]);
        node.del(web);
        drop(node);
        make(&["uninstall"]);
        sh(&["rm", "-r", "/etc/cni", "/var/lib/cni"]);
        sh(&["sh", "-c", "rm -r /run/cleat*; rmdir /run/netns"]);
        before.assert_unchanged();
    });
}

#[test]
fn a_package_is_not_written_over() {
    in_debian_with_reference(|| {
        crate::deb::install();
        let said = refused(&["make", "-C", "/source", "CARGO_TARGET_DIR=/target", "install"]);
        assert!(said.contains("/opt/cni/bin/bridge is of the package cleat"), "{said}");
        assert_eq!(sh(&["dpkg", "--verify", "cleat"]), "");
    });
}

/// Ended before some of its commands: each program is there, and `uninstall` brings back what there was.
#[test]
fn it_can_be_ended_anywhere() {
    in_debian_with_reference(|| {
        let own = format!("{DESTDIR}{OWN}");
        unpack_reference(&own);
        let before = Listing::of(DESTDIR);
        sh(&["tar", "-xzf", &package("-linux.tar.gz"), "-C", "/root"]);
        let folder = fs::read_dir("/root").unwrap().map(|entry| entry.unwrap().path().display().to_string());
        let folder = folder.into_iter().find(|path| path.ends_with("-linux")).unwrap();
        let (install, uninstall) = (format!("{folder}/install"), format!("{folder}/uninstall"));
        let env = [("DESTDIR", DESTDIR)];
        let there = |at: usize| {
            for name in ["bridge", "host-local", "loopback", "portmap"] {
                let program = fs::metadata(format!("{own}/{name}"));
                assert!(program.unwrap().len() > 100_000, "ended at {at}: {name}");
            }
        };
        let finish = || {
            if Path::new(DESTDIR).join("usr/local/share/cleat/manifest").exists() {
                assert!(!ended_at(999_999, &[&uninstall], &env));
            } else {
                // Nothing is there but the folder of the manifest.
                assert!(!Path::new(DESTDIR).join("usr/local/bin").exists());
                sh(&["find", DESTDIR, "-type", "d", "-empty", "-delete"]);
            }
        };
        let mut kills = 0;
        while ended_at(kills, &[&install], &env) {
            there(kills);
            finish();
            assert_eq!(before.changes(&Listing::of(DESTDIR)), [""; 0], "install ended at {kills}");
            kills += 11;
        }
        assert!(kills > 100, "{kills}");
        kills = 0;
        while ended_at(kills, &[&uninstall], &env) {
            there(kills);
            finish();
            assert_eq!(before.changes(&Listing::of(DESTDIR)), [""; 0], "uninstall ended at {kills}");
            assert!(!ended_at(999_999, &[&install], &env));
            kills += 11;
        }
        assert!(kills > 50, "{kills}");
    });
}
