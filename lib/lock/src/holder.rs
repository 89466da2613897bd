//! Which processes hold a lock (proc(5)): by device and inode in /proc/locks, or where the process that took it has ended and
//! another one has inherited the open file, by the descriptors of that one.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;

use nix::sys::stat::{fstat, major, minor};
use nix::unistd::geteuid;

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, as this process's PID namespace has it.
    pub pid: u32,
    /// The program's name, at most 15 bytes, with `?` for control characters; empty where the process has just ended.
    pub program: String,
    /// The effective user ID; `None` where the process has just ended.
    pub user: Option<u32>,
    /// Whether it is stopped, by a signal or a debugger.
    pub is_stopped: bool,
}

impl Holder {
    /// Whether it runs as the same user as this process.
    #[must_use]
    pub fn is_of_own_user(&self) -> bool {
        self.user == Some(geteuid().as_raw())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, program, user, is_stopped } = self;
        write!(f, "process {pid} ({}", if program.is_empty() { "gone meanwhile" } else { program })?;
        if let Some(user) = user.filter(|user| *user != 0) {
            write!(f, " of user {user}")?;
        }
        write!(f, "{})", if *is_stopped { ", stopped" } else { "" })
    }
}

/// The processes that hold the lock of an open file, as far as /proc shows them. Walks all processes where the holder is not
/// the process that took the lock.
#[must_use]
pub fn holders(file: impl AsFd) -> Vec<Holder> {
    let Ok(status) = fstat(file) else { return Vec::new() };
    let (device, inode) = (status.st_dev, status.st_ino);
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut found = pids(&text, |at| at == place);
    if found.is_empty() {
        found = inheritors(&place);
    }
    if found.is_empty() {
        // Some file systems (overlayfs, btrfs) report another device than /proc/locks has.
        let inode = format!(":{inode}");
        found = pids(&text, |at| at.ends_with(&inode));
    }
    found.dedup();
    found.into_iter().map(describe).collect()
}

/// The processes in those lines of /proc/locks whose file `fits`.
fn pids(text: &str, fits: impl Fn(&str) -> bool) -> Vec<u32> {
    text.lines().filter_map(|line| held(line, &fits)).filter(|pid| *pid != 0).collect()
}

/// The process in a line such as `1: FLOCK  ADVISORY  WRITE 4711 00:2c:1234 0 EOF`. One that waits has an arrow: `1: -> FLOCK`.
fn held(line: &str, fits: impl Fn(&str) -> bool) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let mut words = words.skip(2);
    let pid = words.next()?.parse().ok()?;
    fits(words.next()?).then_some(pid)
}

/// The processes that have the locked file open, from whichever process they inherited it.
fn inheritors(place: &str) -> Vec<u32> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own && has_locked(*pid, place)).collect()
}

fn has_locked(pid: u32, place: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    descriptors.into_iter().any(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let mut locks = text.lines().filter_map(|line| line.strip_prefix("lock:"));
        locks.any(|line| held(line, |at| at == place).is_some())
    })
}

fn describe(pid: u32) -> Holder {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let user = field("Uid").split_ascii_whitespace().nth(1).and_then(|user| user.parse().ok());
    let printable = |letter: char| if letter.is_control() { '?' } else { letter };
    Holder {
        pid,
        program: field("Name").chars().map(printable).collect(),
        user,
        is_stopped: field("State").starts_with(['T', 't']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_told_from_those_who_wait_and_from_other_kinds() {
        let text = "1: FLOCK  ADVISORY  WRITE 4711 00:2c:1234 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 4712 00:2c:1234 0 EOF\n\
                    2: POSIX  ADVISORY  READ 4713 00:2c:1234 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 4714 00:2c:12345 0 EOF\n\
                    4: FLOCK  ADVISORY  READ 0 00:2c:1234 0 EOF\n\
                    5: FLOCK";
        assert_eq!(pids(text, |at| at == "00:2c:1234"), [4711]);
        assert_eq!(pids(text, |at| at.ends_with(":12345")), [4714]);
    }

    #[test]
    fn a_holder_is_shown_with_what_matters() {
        let holder = Holder { pid: 7, program: "link-env".into(), user: Some(1000), is_stopped: true };
        assert_eq!(holder.to_string(), "process 7 (link-env of user 1000, stopped)");
        let gone = Holder { pid: 7, program: String::new(), user: None, is_stopped: false };
        assert_eq!(gone.to_string(), "process 7 (gone meanwhile)");
    }
}
