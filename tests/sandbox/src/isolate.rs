//! Starting over inside namespaces of one's own, by util-linux's unshare(1): a process with threads cannot enter a
//! user namespace itself.

use std::process::{Command, ExitStatus};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub(crate) const INSIDE: &str = "CLEAT_SANDBOX";
/// Where ip(8) looks for a namespace's own files.
const NETNS_FILES: &str = "/etc/netns";

/// Runs the calling test in a sandbox: the test program is started again inside, for this one test.
///
/// The name of the test is that of its thread, which the test harness sets.
pub fn isolated(test: impl FnOnce()) {
    if is_inside() {
        prepare();
        return test();
    }
    run_test_in(sandboxed());
}

/// Starts the calling test again, this one alone, by a command that ends in the test program.
pub(crate) fn run_test_in(mut command: Command) {
    let thread = thread::current();
    let name = thread.name().expect("the test harness names its threads");
    // Whether one that is ignored by default is to run has been decided by now.
    command.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    let output = command.output().expect("start unshare(1) of util-linux");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in the sandbox, {}: {said}", output.status);
    // Otherwise a changed name would run nothing and pass.
    assert!(said.contains("1 passed"), "the test did not run in the sandbox: {said}");
}

/// Whether this process was started in a sandbox.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a whole program in a sandbox: `None` says that this process is inside and should go on; otherwise the
/// status with which it ended inside.
#[must_use]
pub fn isolated_program() -> Option<ExitStatus> {
    if is_inside() {
        prepare();
        return None;
    }
    Some(sandboxed().args(std::env::args_os().skip(1)).status().expect("start unshare(1) of util-linux"))
}

/// This program in a sandbox, which it must [`prepare`] there; arguments are yet to come.
///
/// The user namespace first: of a network namespace that is made before users are mapped into it, the kernel shows some
/// files (`/proc/net/ip_tables_names`) to the host's root alone. It ends with the process that started it: the first
/// process of a sandbox, and unshare, do not hear Ctrl-C.
#[must_use]
pub fn sandboxed() -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().expect("find the own program"))
        .env(INSIDE, "1");
    command
}

/// Fresh folders where the suite, its tests and ip(8) keep their state, and an `/etc` to write to.
pub fn prepare() {
    for folder in ["/run", "/var/lib", "/var/log"] {
        tmpfs(folder);
    }
    copy_on_write("/etc");
    // What containers of the host have there is not the tests' to see come and go; an ordinary user could not remove it.
    if std::fs::exists(NETNS_FILES).unwrap() {
        tmpfs(NETNS_FILES);
    }
}

/// Makes a folder one's own to write to, with what is in it.
pub(crate) fn copy_on_write(folder: &str) {
    const LAYERS: &str = "/mnt";
    tmpfs(LAYERS);
    for layer in ["upper", "work"] {
        std::fs::create_dir(format!("{LAYERS}/{layer}")).unwrap();
    }
    let options = format!("lowerdir={folder},upperdir={LAYERS}/upper,workdir={LAYERS}/work");
    mount(Some("sandbox"), folder, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap_or_else(
        |error| panic!("mount a copy-on-write {folder} in the sandbox (Linux 5.11 lets users): {error}"),
    );
    umount2(LAYERS, MntFlags::MNT_DETACH).unwrap();
}

fn tmpfs(folder: &str) {
    mount(Some("sandbox"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .unwrap_or_else(|error| panic!("mount a tmpfs on {folder} in the sandbox: {error}"));
}
