//! A container's files: its hosts file and its variables, which a runtime mounts and reads without asking. The crate
//! `registry` documents their paths.

use std::collections::HashSet;
use std::path::Path;
use std::{fs, io};

use registry::{Folder, rewrite_with};

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

/// Writes the hosts file in place, as a bind mount refers to its inode. Lines of others stay. At most `most` bytes of the old
/// file are read; `is_known` is for [`merge::merge`]. Returns what the container's owner should know, for its notes.
pub(crate) fn write_hosts(
    folder: &Folder,
    text: &Text,
    most: usize,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Error> {
    let mut is_cut = false;
    let is_replaced = rewrite_with(folder, HOSTS, most, HOSTS_MODE, |old| {
        let merged = merge::merge(old, most, text, &is_known);
        is_cut |= merged.is_cut;
        merged.change
    })?;
    let mut notes = Vec::new();
    if is_cut {
        let most = merge::MOST;
        notes.push(format!(
            "of the lines that others have added, {most} bytes are kept and the rest is left out"
        ));
    }
    if is_replaced {
        // A container that has the old one mounted keeps that.
        notes.push(
            "it could not be written and is another file now: restart the container to have it see that"
                .into(),
        );
    }
    Ok(notes)
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
    // With lines of others, and comments in place of removed ones (see `merge`). The registry is locked meanwhile.
    let most = 2 * hosts.text.len() + 3 * merge::MOST;
    let gone = |file| Error::Differs(format!("file {} is gone", folder.path().join(file).display()));
    let found = folder.read_up_to(HOSTS, most as u64)?.ok_or_else(|| gone(HOSTS))?;
    if let Some(difference) = difference(&String::from_utf8_lossy(&found), &hosts.text) {
        let path = folder.path().join(HOSTS);
        return Err(Error::Differs(format!("file {}: {difference}", path.display())));
    }
    for file in [ENV, ENV_JSON] {
        folder.read(file)?.ok_or_else(|| gone(file))?;
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

/// Removes a file outside of the registry; one that is gone counts as removed.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::remove_file(path) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(()),
        outcome => outcome.map_err(|source| failed("remove", path, source)),
    }
}

pub(crate) fn failed(verb: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Registry(registry::Error::io(verb, path, source))
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
