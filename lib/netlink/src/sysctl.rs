//! Kernel parameters, as files below `/proc/sys`.
//!
//! They are named by path (`net/ipv4/conf/eth0.7/forwarding`), not with dots, because interface names may
//! have dots in them. Those below `net` are the calling thread's network namespace's.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::error::Error;

/// Reads a parameter, without the newline at its end.
pub fn get(path: &str) -> Result<String, Error> {
    let file = file(path)?;
    let value =
        fs::read_to_string(file).map_err(|source| Error::io(format_args!("read sysctl {path}"), source))?;
    Ok(value.trim_end().to_owned())
}

/// Sets a parameter unless it has the value already, and says whether it was changed. (Writing an unchanged
/// value is not free of effects: `forwarding` resets other parameters.) Blanks and tabs between values count
/// as the same.
pub fn set(path: &str, value: &str) -> Result<bool, Error> {
    if get(path)?.split_whitespace().eq(value.split_whitespace()) {
        return Ok(false);
    }
    write(path, value)?;
    Ok(true)
}

/// Sets a parameter without a look at its value: that of a link that was just made.
pub fn write(path: &str, value: &str) -> Result<(), Error> {
    // Neither created nor truncated: the kernel takes each write as a whole.
    let written = OpenOptions::new()
        .write(true)
        .open(file(path)?)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| {
        Error::privileged(format_args!("set sysctl {path} to {value}"), "CAP_NET_ADMIN", source)
    })
}

/// Whether a parameter is there and may be written: `/proc/sys` can be read-only.
#[must_use]
pub fn is_writable(path: &str) -> bool {
    file(path).is_ok_and(|file| OpenOptions::new().write(true).open(file).is_ok())
}

fn file(path: &str) -> Result<PathBuf, Error> {
    // An absolute path begins with an empty component.
    if path.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err(Error::SysctlPath { path: path.to_owned() });
    }
    Ok(["/proc/sys", path].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_proc_sys() {
        assert_eq!(
            file("net/ipv4/conf/a.7/forwarding").unwrap(),
            PathBuf::from("/proc/sys/net/ipv4/conf/a.7/forwarding")
        );
        for path in ["", "/", "/etc/passwd", "net/../../etc", "..", "net//ipv4", "net/", "./net"] {
            assert!(matches!(file(path), Err(Error::SysctlPath { .. })), "{path}");
        }
    }

    #[test]
    fn error_names_the_parameter() {
        let error = get("net/ipv4/no_such_thing").unwrap_err();
        assert_eq!(error.to_string(), "read sysctl net/ipv4/no_such_thing: no such file or directory");
        assert!(error.is_not_found());
    }
}
