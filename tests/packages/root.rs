//! A small Debian in a sandbox, with the packages that were made at `/target/packages`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};
use sandbox::{is_inside, isolated};

/// The root of the workspace.
pub(crate) const SOURCE: &str = env!("CARGO_MANIFEST_DIR");
/// Where the packages are, in the small Debian.
pub(crate) const PACKAGES: &str = "/target/packages";
/// Where the small Debian is, before it is the root.
const ROOT: &str = "/mnt";

/// The target folder of this build, which is for a named target: see .cargo/config.toml.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Where the small Debian is kept, without and with the reference's package.
fn archive(with_reference: bool) -> PathBuf {
    let name = if with_reference { "debian-with-reference.tar" } else { "debian.tar" };
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs the calling test with the small Debian as its root.
pub(crate) fn in_debian(test: impl FnOnce()) {
    in_root(false, test);
}

/// The same with Debian's containernetworking-plugins installed, which has them in `/usr/lib/cni`.
pub(crate) fn in_debian_with_reference(test: impl FnOnce()) {
    in_root(true, test);
}

fn in_root(with_reference: bool, test: impl FnOnce()) {
    if !is_inside() {
        make();
    }
    isolated(|| {
        enter(with_reference);
        test();
    });
}

/// Makes the archives, once for all tests, and sees to it that the packages are made of what there is.
pub(crate) fn make() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let sums = target().join("packages/SHA256SUMS");
        let mut newer = Command::new("find");
        newer.args([
            "packaging",
            "conf",
            "cli",
            "ipam",
            "lib",
            "plugins",
            "Cargo.toml",
            "Cargo.lock",
            "-type",
            "f",
        ]);
        let newer = run(newer.arg("-newer").arg(&sums).current_dir(SOURCE));
        assert_eq!(newer, "", "the packages are older than these files: run `make test-packages`");
        let script = Path::new(SOURCE).join("tests/packages/root");
        let tools = ["make", "rpm"];
        run(Command::new(&script).arg(archive(false)).args(tools));
        run(Command::new(&script).arg(archive(true)).args(tools).arg("containernetworking-plugins"));
    });
}

/// Unpacks the archive, and makes it the root of this process.
fn enter(with_reference: bool) {
    let bind = |from: &Path, to: &str| {
        let to = Path::new(ROOT).join(to);
        fs::create_dir_all(&to).unwrap();
        mount(Some(from), &to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .unwrap_or_else(|error| panic!("bind {}: {error}", to.display()));
    };
    mount(Some("debian"), ROOT, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    run(Command::new("tar")
        .args(["-x", "--no-same-owner", "-p", "-C", ROOT, "-f"])
        .arg(archive(with_reference)));
    bind(Path::new("/proc"), "proc");
    bind(Path::new("/sys"), "sys");
    bind(Path::new("/dev"), "dev");
    bind(&target(), "target");
    bind(Path::new(SOURCE), "source");
    // Those that a package makes when it is set up. dpkg removes an empty /opt with the last package that has files there.
    for folder in ["opt/other", "root", "run", "tmp", "etc/systemd/system"] {
        fs::create_dir_all(Path::new(ROOT).join(folder)).unwrap();
    }
    chroot(ROOT).unwrap();
    chdir("/").unwrap();
}

/// Runs a command to its success, and returns what it wrote.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// Runs words as a command of the small Debian's administrator.
pub(crate) fn sh(words: &[impl AsRef<OsStr>]) -> String {
    run(&mut administrator(words))
}

/// Runs words that must fail, and returns what they wrote.
pub(crate) fn refused(words: &[impl AsRef<OsStr>]) -> String {
    let output = administrator(words).output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    said(&output)
}

fn administrator(words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The one package whose file name ends so.
pub(crate) fn package(ending: &str) -> String {
    let entries = fs::read_dir(PACKAGES).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let found: Vec<String> = entries.filter(|path| path.ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{ending}: {found:?}");
    found[0].clone()
}

/// Runs a script, and ends it before the command of that number, among those by which scripts change files; whether there was one.
pub(crate) fn ended_at(number: usize, script: &[&str], env: &[(&str, &str)]) -> bool {
    let (shims, count) = (Path::new("/root/shims"), "/root/count");
    fs::create_dir_all(shims).unwrap();
    fs::write(count, "0").unwrap();
    for tool in ["dpkg-divert", "install", "ln", "mkdir", "mv", "rm", "rmdir"] {
        let shim = shims.join(tool);
        let text = format!(
            "#!/bin/sh\nread -r n <{count}\n[ $n != {number} ] || kill -9 $PPID\n[ $n -lt {number} ] || exit 1\n\
             echo $((n + 1)) >{count}\nPATH=/usr/sbin:/usr/bin exec {tool} \"$@\"\n"
        );
        fs::write(&shim, text).unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("/bin/sh");
    command.args(script).env_clear().env("PATH", "/root/shims:/usr/sbin:/usr/bin").envs(env.iter().copied());
    let output = command.output().unwrap();
    fs::remove_dir_all(shims).unwrap();
    fs::remove_file(count).unwrap();
    assert!(output.status.success() || output.status.signal() == Some(9), "{output:?}");
    !output.status.success()
}
