//! Files of the state that were replaced by something else or have other content: after a crash, by mistake, by an attacker.
//! Programs end soon, with success or with a clear error. Nothing is written through a link that has replaced a file. Once the
//! replacement is removed, DEL succeeds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::Call;
use crate::shared::programs::CLEAT;

const NETWORKS: &str = "/run/net.d";
const VICTIM: &str = "/run/victim";
const PRECIOUS: &str = "precious";

/// What replaces a file.
#[derive(Clone, Copy, Debug)]
enum Instead {
    Fifo,
    Folder,
    /// A file of one tebibyte without data.
    Sparse,
    /// A symbolic link to a device that can be read without end.
    LinkToZeros,
    /// A symbolic link to a file that must not be changed.
    LinkToVictim,
    Garbage,
    /// A file without content, as a crash may leave it.
    Empty,
}

impl Instead {
    /// Each file is replaced by each of these.
    const ALWAYS: [Self; 3] = [Self::Fifo, Self::Sparse, Self::Garbage];
    /// Each file is also replaced by one of these, chosen by the file's number.
    const IN_TURN: [Self; 4] = [Self::Folder, Self::LinkToZeros, Self::LinkToVictim, Self::Empty];

    fn put(self, path: &Path) {
        clear(path);
        match self {
            Self::Fifo => mkfifo(path, Mode::S_IRWXU).unwrap(),
            Self::Folder => fs::create_dir(path).unwrap(),
            Self::Sparse => fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            Self::LinkToZeros => symlink("/dev/zero", path).unwrap(),
            Self::LinkToVictim => symlink(VICTIM, path).unwrap(),
            Self::Garbage => fs::write(path, b"\xff\xfe{\"a\":\0[[[[../../etc\n\r\n:".repeat(500)).unwrap(),
            Self::Empty => fs::write(path, "").unwrap(),
        }
    }
}

fn clear(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

fn cleat(what: &str, args: &[&str]) -> Call {
    Call::new(&format!("{what}: cleat {args:?}"), CLEAT, args).env("NETCONFPATH", NETWORKS)
}

/// Installs a network whose chain has all plugins.
fn install() {
    let network = json!({"cniVersion": "1.1.0", "name": "net", "plugins": [
        {"type": "bridge", "bridge": "hostile0", "isGateway": true, "ipMasq": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/29"}]], "resolvConf": "/run/resolv.conf"}},
        {"type": "host-port", "capabilities": {"portMappings": true}},
        {"type": "link-env", "capabilities": {"portMappings": true}, "cdiDir": "/run/cdi"},
    ]});
    fs::create_dir_all(NETWORKS).unwrap();
    fs::write(Path::new(NETWORKS).join("net.conflist"), network.to_string()).unwrap();
    fs::write("/run/resolv.conf", "nameserver 192.0.2.2\n").unwrap();
    fs::write(VICTIM, PRECIOUS).unwrap();
}

/// Every file and folder that exists while a container is on the network, whatever its name.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                walk(&entry.path(), files);
            }
            files.push(entry.path());
        }
    }
    let mut files = vec![PathBuf::from("/run/resolv.conf"), Path::new(NETWORKS).join("net.conflist")];
    for folder in ["/run/cleat", "/var/lib/cni", "/run/cdi", "/etc/netns"] {
        walk(Path::new(folder), &mut files);
    }
    files.sort();
    files
}

#[test]
fn nothing_in_the_place_of_a_file_brings_anything_down() {
    isolated(|| {
        let host = Host::new();
        install();
        let state = State::new();
        let before = Snapshot::take();
        let files = state.attached(files);
        for known in [
            "members/",
            "index/",
            "10.66.0.2",
            "lock",
            "boot_id",
            "last_reserved_ip.0",
            "results/",
            "env.json",
        ] {
            assert!(files.iter().any(|file| file.to_string_lossy().contains(known)), "{known}: {files:?}");
        }
        for (number, file) in files.iter().enumerate() {
            let own = Instead::IN_TURN[number % Instead::IN_TURN.len()];
            for instead in Instead::ALWAYS.into_iter().chain([own]) {
                let what = format!("{instead:?} in the place of {}", file.display());
                state.attached(|| {
                    instead.put(file);
                    state.everything(&what);
                    assert_eq!(fs::read_to_string(VICTIM).unwrap(), PRECIOUS, "{what}");
                    clear(file);
                    install();
                });
            }
            let left = before.differences();
            assert!(left.is_empty(), "{}: left behind (+) or missing (-): {left:#?}", file.display());
        }
        drop(host);
    });
}

/// The namespaces of two containers.
struct State {
    one: Namespaced,
    two: Namespaced,
}

impl State {
    fn new() -> Self {
        // They are made before the first snapshot: every snapshot lists the files of the namespaces.
        Self { one: Namespaced::new("one"), two: Namespaced::new("two") }
    }

    fn on(what: &str, verb: &str, netns: &Namespaced) -> Call {
        cleat(what, &[verb, "net", netns.path().to_str().unwrap()])
            .env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#)
    }

    /// Does something while one container is on the network, and then removes everything.
    fn attached<T>(&self, action: impl FnOnce() -> T) -> T {
        let added = Self::on("nothing yet", "add", &self.one).run(b"");
        assert!(added.success, "{}", added.stderr);
        let done = action();
        // These may fail where a file is lost or replaced. Then all state is removed, and DEL must find the rest in the kernel.
        for netns in [&self.two, &self.one] {
            Self::on("in the end", "del", netns).run(b"").expect_words();
        }
        for folder in ["/run/cleat", "/var/lib/cni", "/run/cdi", "/etc/netns"] {
            let _ = fs::remove_dir_all(folder);
        }
        for netns in [&self.two, &self.one] {
            let removed = Self::on("in the very end", "del", netns).run(b"");
            assert!(removed.success, "{}", removed.stderr);
        }
        done
    }

    /// Calls every command that may read any of the files.
    fn everything(&self, what: &str) {
        for args in [&["check"][..], &["ps"], &["leases", "net"], &["conf", "check"], &["status", "net"]] {
            cleat(what, args).run(b"").expect_words();
        }
        for (verb, netns) in [("add", &self.two), ("check", &self.two), ("del", &self.two)] {
            Self::on(what, verb, netns).run(b"").expect_words();
        }
        cleat(what, &["gc"]).run(b"").expect_words();
        Self::on(what, "del", &self.one).run(b"").expect_words();
    }
}
