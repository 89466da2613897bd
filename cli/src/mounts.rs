//! What a container of `cleat run` has mounted over files of the host: its hosts file, and files of its own in memory.

mod volumes;

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{panic, thread};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::Error;
pub(crate) use volumes::show_volumes;

pub(crate) const HOSTS: &str = "/etc/hosts";

/// Mounts a file over the hosts file, in a process's mount namespace, unless it is mounted there already. The plugins make the
/// file anew when a container that had left its last network joins one. One that was started without a network has never had
/// it.
pub(crate) fn show_hosts(process: i32, hosts: &Path) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{process}/ns/mnt"))?;
    // Not over the host's own hosts file.
    if is_same(&fs::metadata("/proc/self/ns/mnt")?, &namespace.metadata()?) {
        return Ok(());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || {
            // Threads share their folder and root, and setns(2) refuses a thread that shares them.
            unshare(CloneFlags::CLONE_FS)?;
            #[allow(clippy::disallowed_methods, reason = "on a thread that ends here")]
            setns(&namespace, CloneFlags::CLONE_NEWNS)?;
            let seen = fs::metadata(HOSTS)?;
            if is_same(&seen, &fs::metadata(hosts)?) {
                return Ok(());
            }
            // Nothing can be mounted over a file that was deleted.
            if seen.nlink() == 0 {
                umount2(HOSTS, MntFlags::MNT_DETACH)?;
            }
            bind_hosts(hosts)
        });
        thread.and_then(|thread| thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
    })
}

/// Mounts a file over the hosts file of the calling thread's mount namespace.
pub(crate) fn bind_hosts(hosts: &Path) -> io::Result<()> {
    let none = None::<&str>;
    Ok(mount(Some(hosts), HOSTS, none, MsFlags::MS_BIND, none)?)
}

/// A file system in memory is mounted here for a moment, as every host has this folder and no file is shown in it.
const SCRATCH: &str = "/sys";

/// Gives the calling thread's mount namespace files with contents of its own, which are kept in memory. They are visible
/// nowhere else, and go with the namespace.
pub(crate) fn show_texts(texts: &[(PathBuf, String)]) -> io::Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let none = None::<&str>;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("cleat"), SCRATCH, Some("tmpfs"), safe, Some("mode=755"))?;
    let show = |(number, (target, text)): (usize, &(PathBuf, String))| -> io::Result<()> {
        let file = Path::new(SCRATCH).join(number.to_string());
        fs::write(&file, text)?;
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        Ok(mount(Some(&file), target, none, MsFlags::MS_BIND, none)?)
    };
    let shown = texts.iter().enumerate().try_for_each(show);
    umount2(SCRATCH, MntFlags::MNT_DETACH)?;
    shown
}

/// A failure with the hosts file, as a closure for `map_err`.
pub(crate) fn failed(hosts: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(format!("mount hosts file {} over {HOSTS}", hosts.display()), error)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
