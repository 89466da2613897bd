//! Mounts a container's volumes. Nothing is made on the host for a place that it does not have: the folder above becomes one in
//! memory that shows everything that it had.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use crate::error::Error;
use crate::volumes::Mounted;

/// A folder that every host has, over which a new one is made.
const SCRATCH: &str = "/sys/kernel";
/// Where the host's root is for a moment.
const OLD_ROOT: &str = ".cleat-host";
const NONE: Option<&str> = None;

/// Mounts them in the calling thread's mount namespace, in their order.
pub(crate) fn show_volumes(volumes: &[Mounted]) -> Result<(), Error> {
    volumes.iter().try_for_each(|volume| {
        show(volume).map_err(|error| {
            let (source, target) = (volume.source.display(), volume.target.display());
            Error::io(format!("mount volume {source} at {target}"), error)
        })
    })
}

fn show(volume: &Mounted) -> io::Result<()> {
    if !volume.target.exists() {
        make_place(&volume.target, volume.source.is_dir())?;
    }
    mount(Some(&volume.source), &volume.target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    if volume.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | flags_of(&volume.target)?;
        mount(NONE, &volume.target, NONE, flags, NONE)?;
    }
    Ok(())
}

/// The flags of a mount, which a user namespace may not take away (`mount_namespaces(7)`).
fn flags_of(path: &Path) -> nix::Result<MsFlags> {
    let found = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    Ok(pairs.into_iter().filter(|(of_fs, _)| found.contains(*of_fs)).map(|(_, of_mount)| of_mount).collect())
}

/// Makes a folder or file in memory at a path that does not exist.
fn make_place(target: &Path, is_folder: bool) -> io::Result<()> {
    let above = target.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let rest = target.strip_prefix(above).map_err(io::Error::other)?;
    let scratch = Path::new(SCRATCH);
    let found = fs::metadata(above)?;
    let options = format!("mode={:o},uid={},gid={}", found.mode() & 0o7777, found.uid(), found.gid());
    mount(Some("cleat"), scratch, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(&*options))?;
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        show_entry(&entry.path(), &scratch.join(entry.file_name()))?;
    }
    let place = scratch.join(rest);
    let folder = if is_folder { Some(&*place) } else { place.parent() };
    if let Some(folder) = folder {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    if !is_folder {
        File::create(&place)?;
    }
    if above == Path::new("/") {
        become_root(scratch)
    } else {
        Ok(mount(Some(scratch), above, NONE, MsFlags::MS_MOVE, NONE)?)
    }
}

fn show_entry(old: &Path, new: &PathBuf) -> io::Result<()> {
    let kind = fs::symlink_metadata(old)?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(old)?, new);
    }
    if kind.is_dir() {
        fs::create_dir(new)?;
    } else {
        File::create(new)?;
    }
    Ok(mount(Some(old), new, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?)
}

/// Makes the folder at [`SCRATCH`] the root. It shows itself once more where it was made.
fn become_root(scratch: &Path) -> io::Result<()> {
    let again = scratch.join(SCRATCH.trim_start_matches('/'));
    umount2(&again, MntFlags::MNT_DETACH)?;
    let old = scratch.join(OLD_ROOT);
    fs::create_dir(&old)?;
    pivot_root(scratch, &old)?;
    chdir("/")?;
    let old = Path::new("/").join(OLD_ROOT);
    umount2(&old, MntFlags::MNT_DETACH)?;
    fs::remove_dir(old)
}
