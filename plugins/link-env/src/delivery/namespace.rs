//! `ip netns exec NAME` binds `/etc/netns/NAME/hosts` over `/etc/hosts` (ip-netns(8)). A symbolic link is enough: the
//! mount follows it to the container's own file, which changes in place.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use registry::Registry;

use super::{failed, gone};
use crate::error::Error;

/// Where ip(8) looks.
pub(super) const DEFAULT_DIR: &str = "/etc/netns";
/// Where namespaces have names (`NETNS_RUN_DIR` of iproute2, and the same place by its older path).
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
const HOSTS: &str = "hosts";

/// The link for a namespace that has a name.
pub(super) fn link(dir: &Path, netns: &Path) -> Option<PathBuf> {
    let is_named = netns.parent().is_some_and(|parent| NAMED.iter().any(|named| parent == Path::new(named)));
    let name = netns.file_name().filter(|_| is_named)?;
    Some(dir.join(name).join(HOSTS))
}

/// Makes the link, and says whether it is there. A file that somebody else put there is left alone, and so is a file system
/// that cannot be written: then nobody configures namespaces there.
pub(super) fn make(link: &Path, hosts: &Path, registry: &Registry) -> Result<bool, Error> {
    let make = || -> io::Result<bool> {
        if let Some(folder) = link.parent() {
            fs::create_dir_all(folder)?;
        }
        match symlink(hosts, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if container_of(link, registry).is_none() || is_in_place(link, hosts) {
                    return Ok(is_in_place(link, hosts));
                }
                // A container that had this namespace's name before left it behind.
                fs::remove_file(link)?;
                symlink(hosts, link).map(|()| true)
            }
            outcome => outcome.map(|()| true),
        }
    };
    match make() {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(false),
        outcome => outcome.map_err(|source| failed("link", link, source)),
    }
}

/// Whether the link leads to a container's file.
pub(super) fn is_in_place(link: &Path, hosts: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == hosts)
}

/// Removes the link if it leads to that file, and the folders that are empty then.
pub(super) fn remove(link: &Path, hosts: &Path) -> Result<(), Error> {
    if !fs::read_link(link).is_ok_and(|target| target == hosts) {
        return Ok(());
    }
    gone(fs::remove_file(link)).map_err(|source| failed("remove", link, source))?;
    for folder in link.ancestors().skip(1).take(2) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// All links to containers of this registry, with their containers' IDs.
pub(super) fn links(dir: &Path, registry: &Registry) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let links = entries.map(|entry| entry.path().join(HOSTS));
    links.filter_map(|link| container_of(&link, registry).map(|id| (link, id))).collect()
}

/// The container of this registry whose file a link leads to.
fn container_of(link: &Path, registry: &Registry) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let id = target.parent()?.file_name()?.to_str()?.to_owned();
    (target == registry.container_dir(&id).join(HOSTS)).then_some(id)
}
