//! A throw-away machine for container runtimes: they need real root, and write to more folders than plugins do.
//!
//! Besides the namespaces of a sandbox it has its own IPC, UTS and cgroup namespaces, and copy-on-write `/etc` and `/opt`. So
//! nothing that a runtime does changes the host or outlives the test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;

use crate::isolate::{INSIDE, copy_on_write, is_inside, prepare, run_test_in};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The shell enters the cgroups that were made for it, then a cgroup namespace in which they are the roots. In version 2 only
/// a cgroup without processes can pass controllers on to its children, so the shell moves to a child.
const ENTER: &str = r#"
for folder in $CLEAT_CGROUPS; do echo $$ >"$folder/cgroup.procs"; done
exec unshare --cgroup sh -c '
    for folder in $CLEAT_CGROUPS; do
        if [ -e "$folder/cgroup.type" ]; then mkdir "$folder/init"; echo $$ >"$folder/init/cgroup.procs"; fi
    done
    exec "$@"' "$@"
"#;

/// Runs the calling test on a throw-away machine: the test program is started again there, with only this test.
pub fn on_a_machine(test: impl FnOnce()) {
    if is_inside() {
        furnish();
        return test();
    }
    assert!(
        geteuid().is_root(),
        "container runtimes need real root, and this is an ordinary user: run `make test-runtimes` as root"
    );
    let cgroups = Cgroups::make();
    let mut command = Command::new("sh");
    command
        .args(["-c", ENTER, "sh", "sh", "unshare", "--net", "--mount", "--ipc", "--uts", "--pid"])
        .args(["--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("find the own program"))
        .env("CLEAT_CGROUPS", cgroups.list())
        .env(INSIDE, "1");
    run_test_in(command);
}

/// Gives the machine folders and cgroups of its own.
fn furnish() {
    prepare();
    copy_on_write("/opt", "/opt");
    mount(Some("machine"), "/var/tmp", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .unwrap_or_else(|error| panic!("mount a tmpfs on /var/tmp: {error}"));
    mount_cgroups();
}

/// Mounts the cgroup hierarchies again, so that their roots are those of this cgroup namespace.
fn mount_cgroups() {
    let hierarchies = hierarchies();
    let mount_one = |folder: &Path, kind: &str, options: &str| {
        fs::create_dir_all(folder).unwrap();
        mount(Some("cgroup"), folder, Some(kind), MsFlags::empty(), Some(options))
            .unwrap_or_else(|error| panic!("mount {} ({options}): {error}", folder.display()));
    };
    if hierarchies == [String::new()] {
        return mount_one(Path::new(CGROUPS), "cgroup2", "");
    }
    mount_one(Path::new(CGROUPS), "tmpfs", "mode=755");
    for controllers in hierarchies {
        let folder = Path::new(CGROUPS).join(folder_of(&controllers));
        match controllers.as_str() {
            "" => mount_one(&folder, "cgroup2", ""),
            named if named.starts_with("name=") => mount_one(&folder, "cgroup", &format!("none,{named}")),
            controllers => mount_one(&folder, "cgroup", controllers),
        }
    }
}

/// The cgroup hierarchies of this host, each as its list of controllers; for version 2 the list is empty (cgroups(7)).
fn hierarchies() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    text.lines().map(|line| line.split(':').nth(1).unwrap().to_owned()).collect()
}

/// The folder's name where systemd and others mount a hierarchy if there are several.
fn folder_of(controllers: &str) -> &str {
    if controllers.is_empty() { "unified" } else { controllers.trim_start_matches("name=") }
}

/// A new cgroup in each hierarchy of the host; removed on drop.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn make() -> Self {
        let hierarchies = hierarchies();
        let single = hierarchies == [String::new()];
        let roots = hierarchies.iter().map(|controllers| {
            if single { PathBuf::from(CGROUPS) } else { Path::new(CGROUPS).join(folder_of(controllers)) }
        });
        let made = roots.filter(|root| root.is_dir()).map(|root| {
            let name = format!("cleat-test-{}-{}", process::id(), thread::current().name().unwrap_or("main"));
            let folder = root.join(name.replace(':', "_"));
            fs::create_dir(&folder)
                .unwrap_or_else(|error| panic!("make cgroup {}: {error}", folder.display()));
            // A cgroup without processors and memory takes no process (cpuset(7)).
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(root.join(file)) {
                    fs::write(folder.join(file), value.trim()).unwrap();
                }
            }
            folder
        });
        Self(made.collect())
    }

    fn list(&self) -> String {
        self.0.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // The kernel empties a cgroup some time after its processes were killed.
        let deadline = Instant::now() + Duration::from_secs(20);
        for folder in &self.0 {
            while let Err(error) = remove_tree(folder) {
                if Instant::now() > deadline {
                    assert!(thread::panicking(), "cgroup {} is left behind: {error}", folder.display());
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Removes a cgroup and those below it. The files of a cgroup need not be removed.
fn remove_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
