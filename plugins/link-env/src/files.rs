//! A container's files: where its hosts and its environment are for whoever hands them to its processes. The registry
//! documents the places, so a runtime can mount and read them without asking.

use registry::Folder;

use crate::env::Environment;
use crate::error::Error;

/// Mounted over `/etc/hosts`, so every user in the container reads it.
pub(crate) const HOSTS: &str = "hosts";
const HOSTS_MODE: u32 = 0o644;
/// What the source offers may be secret.
const ENV_MODE: u32 = 0o600;
const ENV: &str = "env";
pub(crate) const ENV_JSON: &str = "env.json";

/// Gives the hosts file a new text in place: a bind mount pins its inode.
pub(crate) fn write_hosts(folder: &Folder, text: &str) -> Result<(), Error> {
    Ok(folder.rewrite(HOSTS, text.as_bytes(), HOSTS_MODE)?)
}

/// Writes the environment in both forms. They are read when a process starts, so each appears complete or not at all.
pub(crate) fn write_environment(folder: &Folder, environment: &Environment) -> Result<(), Error> {
    folder.replace(ENV, environment.to_shell().as_bytes(), ENV_MODE)?;
    Ok(folder.replace(ENV_JSON, environment.to_json().as_bytes(), ENV_MODE)?)
}

/// Compares the hosts file with the text that it should have, and looks for the environment.
///
/// The environment's content is not compared: it is what it was when the container started, whatever its sources do.
pub(crate) fn check(folder: &Folder, hosts: &str) -> Result<(), Error> {
    let path = folder.path().join(HOSTS);
    let Some(found) = folder.read(HOSTS)? else {
        return Err(Error::Differs(format!("file {} is gone", path.display())));
    };
    if let Some(difference) = difference(&String::from_utf8_lossy(&found), hosts) {
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

/// The first line in which two texts differ.
fn difference(found: &str, wanted: &str) -> Option<String> {
    let (mut found, mut wanted) = (found.split('\n'), wanted.split('\n'));
    let mut number = 0;
    loop {
        number += 1;
        match (found.next(), wanted.next()) {
            (None, None) => return None,
            (found, wanted) if found == wanted => {}
            (found, wanted) => {
                let shown =
                    |line: Option<&str>| line.map_or("missing".to_owned(), |line| format!("{line:?}"));
                return Some(format!("line {number} is {}, not {}", shown(found), shown(wanted)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nx\n", "a\nb\n").unwrap(), r#"line 2 is "x", not "b""#);
        assert_eq!(difference("a\n", "a").unwrap(), r#"line 2 is "", not missing"#);
    }
}
