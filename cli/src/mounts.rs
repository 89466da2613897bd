//! What a running container of `cleat run` has mounted over its hosts file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{panic, thread};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::Error;

/// Where programs look for names.
pub(crate) const HOSTS: &str = "/etc/hosts";

/// Has a process see a file as its hosts file, unless it does already. The plugins make the file anew when a container
/// that had left its last network joins one, and one that was started without a network has never had it.
pub(crate) fn show_hosts(process: i32, hosts: &Path) -> Result<(), Error> {
    let failed =
        |error: io::Error| Error::io(format!("mount hosts file {} over {HOSTS}", hosts.display()), error);
    let namespace = File::open(format!("/proc/{process}/ns/mnt")).map_err(failed)?;
    let own = File::open("/proc/self/ns/mnt").and_then(|own| own.metadata()).map_err(failed)?;
    let there = namespace.metadata().map_err(failed)?;
    // The host's own hosts file is nobody's to cover.
    if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
        return Ok(());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || {
            // Threads share their folder and root, and setns(2) refuses a thread that shares them.
            unshare(CloneFlags::CLONE_FS)?;
            #[allow(clippy::disallowed_methods, reason = "on a thread that ends here")]
            setns(&namespace, CloneFlags::CLONE_NEWNS)?;
            cover(hosts)
        });
        thread.and_then(|thread| thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
    })
    .map_err(failed)
}

fn cover(hosts: &Path) -> io::Result<()> {
    let (seen, wanted) = (fs::metadata(HOSTS)?, fs::metadata(hosts)?);
    if (seen.dev(), seen.ino()) == (wanted.dev(), wanted.ino()) {
        return Ok(());
    }
    // Nothing can be mounted over a file that was deleted.
    if seen.nlink() == 0 {
        umount2(HOSTS, MntFlags::MNT_DETACH)?;
    }
    let none = None::<&str>;
    Ok(mount(Some(hosts), HOSTS, none, MsFlags::MS_BIND, none)?)
}
