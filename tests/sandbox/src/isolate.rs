//! Starts the running program again inside new namespaces, with unshare(1) of util-linux: a process with threads cannot enter
//! a user namespace itself.

use std::process::{Command, ExitStatus};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub(crate) const INSIDE: &str = "CLEAT_SANDBOX";
/// Where ip(8) looks for the configuration files of a named namespace.
const NETNS_FILES: &str = "/etc/netns";

/// Runs the calling test in a sandbox: the test program is started again inside, with only this test.
///
/// The test harness names each thread after its test.
pub fn isolated(test: impl FnOnce()) {
    if is_inside() {
        prepare();
        return test();
    }
    run_test_in(sandboxed());
}

/// Runs only the calling test, by a command that ends with the test program.
pub(crate) fn run_test_in(mut command: Command) {
    let thread = thread::current();
    let name = thread.name().expect("the test harness names its threads");
    // The test is running already, so it must run inside as well, even if it is marked as ignored.
    command.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    let output = command.output().expect("start unshare(1) of util-linux");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in the sandbox, {}: {said}", output.status);
    // Otherwise a wrong name would run no test and pass.
    assert!(said.contains("1 passed"), "the test did not run in the sandbox: {said}");
}

/// Whether this process was started in a sandbox.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the whole program in a sandbox. Inside it returns `None`, and the program goes on. Outside it returns the exit status
/// of the program inside.
#[must_use]
pub fn isolated_program() -> Option<ExitStatus> {
    if is_inside() {
        prepare();
        return None;
    }
    Some(sandboxed().args(std::env::args_os().skip(1)).status().expect("start unshare(1) of util-linux"))
}

/// A command that runs this program in a sandbox. The caller adds the arguments; the program inside calls [`prepare`].
///
/// The user namespace is made first: if users are mapped after the network namespace is made, the kernel shows some files,
/// such as `/proc/net/ip_tables_names`, only to the host's root. `--pdeathsig` and `--kill-child` end the sandbox together
/// with the process that started it, because unshare and the first process of a PID namespace ignore Ctrl-C.
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

/// Mounts empty folders where the suite, its tests and ip(8) keep their state, and makes `/etc` writable.
pub fn prepare() {
    for folder in ["/run", "/var/lib", "/var/log"] {
        tmpfs(folder);
    }
    copy_on_write("/etc", "/etc");
    // Hidden, because the host's own containers may add and remove files there, and an ordinary user cannot remove them.
    if std::fs::exists(NETNS_FILES).unwrap() {
        tmpfs(NETNS_FILES);
    }
}

/// Mounts a folder over another one, or itself, so that it can be written without changing the host's: an overlay takes the
/// changes.
pub fn copy_on_write(lower: &str, folder: &str) {
    const LAYERS: &str = "/mnt";
    tmpfs(LAYERS);
    for layer in ["upper", "work"] {
        std::fs::create_dir(format!("{LAYERS}/{layer}")).unwrap();
    }
    let options = format!("lowerdir={lower},upperdir={LAYERS}/upper,workdir={LAYERS}/work");
    mount(Some("sandbox"), folder, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap_or_else(
        |error| panic!("mount a copy-on-write {folder} in the sandbox (Linux 5.11 lets users): {error}"),
    );
    umount2(LAYERS, MntFlags::MNT_DETACH).unwrap();
}

fn tmpfs(folder: &str) {
    mount(Some("sandbox"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .unwrap_or_else(|error| panic!("mount a tmpfs on {folder} in the sandbox: {error}"));
}
