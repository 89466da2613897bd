//! A container's files: its hosts file and its variables, which a runtime mounts and reads without asking. The crate
//! `registry` documents their paths.

use std::collections::HashSet;

use registry::Folder;

use crate::env::Environment;
use crate::error::Error;
use crate::hosts::line::is_marked;
use crate::hosts::merge::{self, Ours};
use crate::hosts::text::Text;

/// Mounted over `/etc/hosts`, which every user in the container may read.
pub(crate) const HOSTS: &str = "hosts";
const HOSTS_MODE: u32 = 0o644;
/// In bytes. A longer file has been filled by its container, and is cut where the file system is full.
pub(crate) const LONG: u64 = 1 << 20;
/// Variables may be secret.
const ENV_MODE: u32 = 0o600;
const ENV: &str = "env";
pub(crate) const ENV_JSON: &str = "env.json";
/// Exists where the operator lets the container write to its hosts file.
pub(crate) const WRITABLE: &str = "writable";

/// What became of a hosts file besides its new text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// There were more lines of others than are kept.
    pub(crate) is_cut: bool,
    /// The old file could not be written, and this is a new one. A container that has the old one mounted keeps that.
    pub(crate) is_replaced: bool,
}

/// Writes the hosts file in place, as a bind mount refers to its inode. Lines of others stay. At most `most` bytes of the old
/// file are read; `is_known` is for [`merge::merge`].
pub(crate) fn write_hosts(
    folder: &Folder,
    text: &Text,
    most: usize,
    is_known: impl Fn(&str) -> bool,
) -> Result<Written, Error> {
    let mut is_cut = false;
    let is_replaced = folder.rewrite_with(HOSTS, most, HOSTS_MODE, |old| {
        let merged = merge::merge(old, most, text, &is_known);
        is_cut |= merged.is_cut;
        merged.change
    })?;
    Ok(Written { is_cut, is_replaced })
}

/// Writes the variables in both forms. A process may start at any time, so each file appears complete or not at all.
pub(crate) fn write_environment(folder: &Folder, environment: &Environment) -> Result<(), Error> {
    folder.replace(ENV, environment.to_shell().as_bytes(), ENV_MODE)?;
    Ok(folder.replace(ENV_JSON, environment.to_json().as_bytes(), ENV_MODE)?)
}

/// Records whether the container may write to its hosts file, for the agent that mounts it.
pub(crate) fn write_permission(folder: &Folder, is_writable: bool) -> Result<(), Error> {
    let written = if is_writable { folder.replace(WRITABLE, b"", ENV_MODE) } else { folder.remove(WRITABLE) };
    Ok(written?)
}

/// Compares the hosts file with the text that it should have, without lines of others, and looks for the variables.
///
/// These are not compared: they are those of the container's start, and sources may have changed since.
pub(crate) fn check(folder: &Folder, hosts: &Text) -> Result<(), Error> {
    let path = folder.path().join(HOSTS);
    // With lines of others, and comments in place of removed ones (see `merge`). The registry is locked meanwhile.
    let most = 2 * hosts.text.len() + 3 * merge::MOST;
    let Some(found) = folder.read_up_to(HOSTS, most as u64)? else {
        return Err(Error::Differs(format!("file {} is gone", path.display())));
    };
    if let Some(difference) = difference(&String::from_utf8_lossy(&found), &hosts.text) {
        return Err(Error::Differs(format!("file {}: {difference}", path.display())));
    }
    for file in [ENV, ENV_JSON] {
        if folder.read(file)?.is_none() {
            let path = folder.path().join(file);
            return Err(Error::Differs(format!("file {} is gone", path.display())));
        }
    }
    Ok(())
}

/// The first line that should be there and is not, or is ours and should not be there.
fn difference(found: &str, wanted: &str) -> Option<String> {
    let ours = Ours::of(wanted);
    let found: Vec<&str> = found.lines().collect();
    let bare: Vec<&str> = found.iter().map(|line| line.trim_end()).collect();
    let mut there: HashSet<&str> = bare.iter().copied().collect();
    there.extend(found.iter().flat_map(|line| ours.within(line)));
    let wanted: Vec<&str> = wanted.lines().map(str::trim_end).filter(|line| !line.starts_with('#')).collect();
    if let Some(missing) = wanted.iter().position(|line| !there.contains(line)) {
        // It should follow the line before it.
        let before =
            missing.checked_sub(1).and_then(|before| bare.iter().position(|line| *line == wanted[before]));
        let number = before.map_or(0, |before| before + 1);
        let shown = bare.get(number).map_or("missing".to_owned(), |line| format!("{line:?}"));
        return Some(format!("line {} is {shown}, not {:?}", number + 1, wanted[missing]));
    }
    let known: HashSet<&str> = wanted.into_iter().collect();
    let is_stale = |line: &str| {
        !line.starts_with('#')
            && is_marked(line.as_bytes())
            && !known.contains(line.trim_end())
            && ours.within(line).is_empty()
    };
    let number = found.iter().position(|line| is_stale(line))?;
    Some(format!("line {} is {:?}, of no member", number + 1, bare[number]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(difference("a \t\nb \t  \nmine\n###\n", "b \t\na \t\n"), None);
        // As a version before wrote it.
        assert_eq!(difference("a\nb\n", "a \t\nb \t\n"), None);
        assert_eq!(difference("a\nx\n", "a\nb \t\n").unwrap(), r#"line 2 is "x", not "b""#);
        assert_eq!(difference("a\n", "a\nb \t\n").unwrap(), r#"line 2 is missing, not "b""#);
        // With a name that somebody has added.
        assert_eq!(difference("1\ta c \t\n", "1\ta \t\n"), None);
        assert_eq!(difference("1\tc \t\n", "1\ta \t\n").unwrap(), r#"line 1 is "1\tc", not "1\ta""#);
        assert_eq!(difference("a\nc \t \n", "a\n").unwrap(), r#"line 2 is "c", of no member"#);
    }
}
