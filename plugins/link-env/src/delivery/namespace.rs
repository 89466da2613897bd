//! `ip netns exec NAME` mounts `/etc/netns/NAME/hosts` over `/etc/hosts` (ip-netns(8)). A symbolic link is enough: the
//! mount follows it to the container's own file, which changes in place.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use registry::Registry;

use crate::error::Error;
use crate::files::{self, HOSTS, failed};

/// Folders of named namespaces (`NETNS_RUN_DIR` of iproute2, and its older path).
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// The link for a namespace that has a name.
pub(super) fn link(dir: &Path, netns: &Path) -> Option<PathBuf> {
    let is_named = netns.parent().is_some_and(|parent| NAMED.iter().any(|named| parent == Path::new(named)));
    // The list of what was delivered has a path a line.
    let is_plain = |name: &&OsStr| !name.as_bytes().iter().any(u8::is_ascii_control);
    let name = netns.file_name().filter(|_| is_named).filter(is_plain)?;
    Some(dir.join(name).join(HOSTS))
}

/// Makes the link. Returns whether it is there: a file of somebody else stays, and nothing is made on a read-only file
/// system.
pub(super) fn make(link: &Path, hosts: &Path, registry: &Registry) -> Result<bool, Error> {
    let make = || -> io::Result<bool> {
        if let Some(folder) = link.parent() {
            // Not writable for others, whatever the umask: programs of root use what is in it.
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        match symlink(hosts, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if container_of(link, registry).is_none() || is_in_place(link, hosts) {
                    return Ok(is_in_place(link, hosts));
                }
                // An earlier container whose namespace had this name left it behind.
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

/// Whether the link leads to this file.
pub(super) fn is_in_place(link: &Path, hosts: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == hosts)
}

/// Removes the link if it leads to this file, and then folders that are empty.
pub(super) fn remove(link: &Path, hosts: &Path) -> Result<(), Error> {
    if !is_in_place(link, hosts) {
        return Ok(());
    }
    files::remove(link)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_namespaces_lead_to_a_link() {
        let dir = Path::new("/etc/netns");
        let of = |netns: &str| link(dir, Path::new(netns));
        assert_eq!(of("/run/netns/web"), Some(dir.join("web/hosts")));
        assert_eq!(of("/var/run/netns/web"), Some(dir.join("web/hosts")));
        for netns in [
            "/run/netns/..",
            "/run/netns/a/b",
            "/proc/1/ns/net",
            "/run/netns",
            "/run/netns/a\n/b",
            "/run/netns/a\nb",
        ] {
            assert_eq!(of(netns), None, "{netns:?}");
        }
    }

    #[test]
    fn links_in_the_way_lead_nowhere_and_strangers_files_stay() {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::at(place.path().join("state"));
        let hosts = registry.container_dir("c1").join(HOSTS);
        let victim = place.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let link = place.path().join("netns/web/hosts");
        make(&link, &hosts, &registry).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), hosts);
        fs::remove_file(&link).unwrap();
        symlink(&victim, &link).unwrap();
        make(&link, &hosts, &registry).unwrap();
        remove(&link, &hosts).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), victim);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
