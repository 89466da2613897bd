//! A container, or a program on the node, changes or blocks the container's hosts file: ADD, CHECK and DEL of other containers
//! succeed within the usual time, and only that container is harmed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Call, Snapshot, isolated, only};
use serde_json::json;

use super::link_env::{Pods, hosts, hosts_file, sees};
use crate::shared::programs::LINK_ENV;
use crate::shared::shell::shell;

/// More than a call takes on a busy machine, and less than any time-out.
const USUAL: Duration = Duration::from_secs(4);
const EVIL: &str = "evil";
const SETTLED: &str = "/run/cleat/registry/pods/settled";

fn notes(id: &str) -> String {
    fs::read_to_string(format!("/run/cleat/containers/{id}/notes")).unwrap_or_default()
}

/// A process of the container: user 0 without any capability. The script gets the hosts file as `$0` (in Perl `$ARGV[0]`), and
/// prints `ready`.
struct Process(Child);

impl Process {
    fn start(program: &str, script: &str) -> Self {
        let words = only(&[]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args([program, if program == "perl" { "-e" } else { "-c" }, script]);
        let mut child = command.arg(hosts_file(EVIL)).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A lease of that kind (`F_SETLEASE`) that is never given up, so that an open(2) of the file waits.
fn lease(kind: u8) -> Process {
    let script = format!(
        r#"$| = 1; $SIG{{IO}} = "IGNORE"; open(F, "<", $ARGV[0]) or die; fcntl(F, 1024, {kind}) or die "lease: $!";
        print "ready\n"; sleep 1 while 1"#
    );
    Process::start("perl", &script)
}

/// ADD, CHECK and DEL of others succeed while the file of `evil` is disturbed, and the others see each other.
fn others_go_on(pods: &Pods, what: &str) {
    let began = Instant::now();
    for round in ["one", "two"] {
        pods.add("new", "10.1.0.9");
        assert!(
            sees("old", "new") && sees("new", "old"),
            "{what}, {round}: {}{}",
            hosts("old"),
            hosts("new")
        );
        for (id, address) in [("old", "10.1.0.2"), ("new", "10.1.0.9")] {
            pods.check(id, address);
        }
        pods.del("new");
        assert!(!sees("old", "new"), "{what}, {round}: {}", hosts("old"));
        pods.check("old", "10.1.0.2");
        // With this file, the next call changes only one line of each hosts file.
        assert!(Path::new(SETTLED).exists(), "{what}, {round}");
    }
    let each = began.elapsed() / 10;
    assert!(each < USUAL, "{what}: a call takes {each:?}");
}

/// Disturbs the file of a container while others are added and deleted; afterwards nothing is left.
fn disturbed(what: &str, disturb: impl FnOnce(&Path) -> Option<Process>, undo: impl FnOnce(&Path)) {
    let before = Snapshot::take();
    let pods = Pods::new(json!({}));
    pods.add("old", "10.1.0.2");
    pods.add(EVIL, "10.1.0.66");
    let file = hosts_file(EVIL);
    let process = disturb(&file);
    others_go_on(&pods, what);
    drop(process);
    undo(&file);
    pods.add("last", "10.1.0.10");
    assert!(sees("old", "last"), "{what}");
    for id in ["last", EVIL, "old"] {
        pods.del(id);
    }
    drop(pods);
    before.assert_unchanged();
}

#[test]
fn a_lease_on_the_own_file_is_not_waited_for() {
    isolated(|| {
        for (what, kind) in [("read lease", 0), ("write lease", 1)] {
            let inode = |file: &Path| fs::metadata(file).unwrap().ino();
            disturbed(
                what,
                |file| {
                    let (before, process) = (inode(file), lease(kind));
                    let pods = Pods::new(json!({}));
                    pods.add("first", "10.1.0.20");
                    // The file is replaced. A container keeps the old one mounted, and `cleat check` says why.
                    assert!(inode(file) != before && sees(EVIL, "first"), "{}", hosts(EVIL));
                    assert!(notes(EVIL).contains("it could not be written"), "{}", notes(EVIL));
                    pods.del("first");
                    Some(process)
                },
                |_| (),
            );
        }
    });
}

#[test]
fn the_text_of_a_running_program_is_replaced() {
    isolated(|| {
        let program =
            "cat \"$(command -v busybox)\" >\"$0\"; chmod 755 \"$0\"; echo ready; exec \"$0\" sleep 1000";
        // busybox chooses its applet by the name that it is called by.
        let program = program.replace("exec \"$0\"", "exec -a busybox \"$0\"");
        disturbed(
            "text",
            |_| {
                let process = Process::start("bash", &program);
                std::thread::sleep(Duration::from_millis(300));
                Some(process)
            },
            |_| (),
        );
    });
}

#[test]
fn whatever_a_container_writes_has_an_end() {
    isolated(|| {
        for (what, script) in [
            ("sparse", "truncate -s 1T \"$0\"; echo ready"),
            ("one line", "yes a | head -c 3000000 | tr '\\n' ' ' >\"$0\"; echo ready"),
            ("a million lines", "yes '::1 a' | head -n 1000000 >>\"$0\"; echo ready"),
            ("names of others", "yes '10.1.0.2 old.pods old new a b c' | head -n 20000 >>\"$0\"; echo ready"),
            ("zeros", "head -c 3000000 /dev/zero >\"$0\"; echo ready"),
            ("no rights", "chmod 0 \"$0\"; echo ready"),
            ("empty", ": >\"$0\"; echo ready"),
            (
                "written all the time",
                "echo ready; while :; do head -c 100000 /dev/zero | tr '\\0' x >\"$0\"; done",
            ),
        ] {
            disturbed(what, |_| Some(Process::start("sh", script)), |_| ());
        }
    });
}

/// CHECK of that container reads the file while it has the registry's lock, for which all others wait.
#[test]
fn a_file_of_any_length_is_not_read_whole_to_be_checked() {
    isolated(|| {
        let pods = Pods::new(json!({}));
        pods.add(EVIL, "10.1.0.66");
        let lines = "192.0.2.1 a\n".repeat(1_000_000);
        fs::write(hosts_file(EVIL), lines).unwrap();
        let (code, text) = pods.call("CHECK", EVIL, "10.1.0.66", &json!({})).error();
        assert!(code == 5 && text.contains("containers/evil/hosts: it is longer than"), "{code}: {text}");
        pods.add("new", "10.1.0.9");
        pods.check(EVIL, "10.1.0.66");
        assert!(notes(EVIL).contains("65536 bytes are kept and the rest is left out"), "{}", notes(EVIL));
        for id in [EVIL, "new"] {
            pods.del(id);
        }
        assert!(!Path::new("/run/cleat").exists());
    });
}

/// A file that takes all free space of `/run`.
#[test]
fn a_file_that_fills_its_file_system_gives_way() {
    isolated(|| {
        shell("mount -o remount,size=24m /run");
        let fill = "cat /dev/zero >>\"$0\" 2>/dev/null; echo ready";
        disturbed(
            "filled",
            |_| Some(Process::start("sh", fill)),
            |file| {
                assert!(fs::metadata(file).unwrap().len() < 1 << 20);
            },
        );
    });
}

/// What the node's root, a runtime or another agent may put in the file's place.
#[test]
fn what_stands_in_the_place_of_a_file_is_passed_over() {
    isolated(|| {
        let by =
            |command: &'static str| move |file: &Path| shell(&command.replace("$F", file.to_str().unwrap()));
        for (what, disturb, undo) in [
            ("hard link", "ln $F /run/other", "rm /run/other"),
            ("symbolic link", "ln -sf /etc/passwd $F", "true"),
            ("fifo", "rm $F; mkfifo $F", "true"),
            ("folder", "rm $F; mkdir $F", "true"),
            ("no folder", "rm -r $(dirname $F)", "true"),
        ] {
            disturbed(
                what,
                |file| {
                    by(disturb)(file);
                    None
                },
                by(undo),
            );
        }
        for (what, disturb, undo) in [
            ("folder with something in it", "rm $F; mkdir $F; touch $F/a", "rm -r $F"),
            ("mount point", "mount --bind /etc/passwd $F; mount -o remount,bind,ro $F", "umount $F"),
            ("read-only", "mount --bind $F $F; mount -o remount,bind,ro $F", "umount $F"),
        ] {
            disturbed(
                what,
                |file| {
                    by(disturb)(file);
                    None
                },
                |file| {
                    // The file names the skipped container, so that the files of all others need not be read again.
                    assert_eq!(fs::read_to_string(SETTLED).unwrap(), format!("{EVIL}\n"), "{what}");
                    assert!(notes(EVIL).contains("it stays as it was"), "{what}: {}", notes(EVIL));
                    by(undo)(file);
                    let pods = Pods::new(json!({}));
                    pods.add("again", "10.1.0.20");
                    assert!(sees(EVIL, "again"), "{what}: {}", hosts(EVIL));
                    assert_eq!(fs::read_to_string(SETTLED).unwrap(), "", "{what}");
                    pods.check(EVIL, "10.1.0.66");
                    pods.del("again");
                },
            );
        }
    });
}

/// ADD fails without a hosts file for its own container.
#[test]
fn trouble_with_the_own_file_is_an_error() {
    isolated(|| {
        let pods = Pods::new(json!({}));
        pods.add("old", "10.1.0.2");
        fs::create_dir_all(hosts_file("new").join("a")).unwrap();
        let (code, text) = pods.call("ADD", "new", "10.1.0.9", &json!({})).error();
        assert!(code == 5 && text.contains("containers/new/hosts: directory not empty"), "{code}: {text}");
        assert!(!sees("old", "new"));
        pods.add("other", "10.1.0.10");
        pods.check("old", "10.1.0.2");
        fs::remove_dir_all(hosts_file("new")).unwrap();
        for id in ["new", "other", "old"] {
            pods.del(id);
        }
        assert!(!Path::new("/run/cleat").exists());
    });
}

/// GC removes all that it can, whatever one container has in its folder, and reports the rest.
#[test]
fn one_whose_files_cannot_be_removed_keeps_no_other_from_going() {
    isolated(|| {
        let pods = Pods::new(json!({}));
        for (id, address) in [("old", "10.1.0.2"), (EVIL, "10.1.0.66"), ("gone", "10.1.0.3")] {
            pods.add(id, address);
        }
        fs::remove_file(hosts_file(EVIL)).unwrap();
        fs::create_dir_all(hosts_file(EVIL).join("a")).unwrap();
        let mut conf = pods.conf("10.1.0.2", &json!({}));
        conf["cni.dev/valid-attachments"] = json!([{"containerID": "old", "ifname": "eth0"}]);
        let gc = || Call::new(LINK_ENV, "GC", &conf).run();
        let (_, text) = gc().error();
        assert!(text.contains("containers/evil/hosts"), "{text}");
        assert!(!hosts_file("gone").exists() && !sees("old", "gone"), "{}", hosts("old"));
        assert!(!sees("old", EVIL), "{}", hosts("old"));
        // Another container gets its address.
        pods.add("next", "10.1.0.66");
        fs::remove_dir_all(hosts_file(EVIL)).unwrap();
        let conf = {
            conf["cni.dev/valid-attachments"] = json!([]);
            conf
        };
        let gc = Call::new(LINK_ENV, "GC", &conf).run();
        gc.silent();
        assert!(!Path::new("/run/cleat").exists());
    });
}
