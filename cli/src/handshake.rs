//! What `cleat run` and the first process of its container say to each other: one line of JSON each way, over two
//! pipes whose ends the process inherits by number.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::close;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the first process reports. The pipe's end without a further report means that the command runs, or that the
/// process was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The namespaces are made.
    Ready {
        /// The network namespace, in a form that any process can open.
        netns: PathBuf,
    },
    /// Something went wrong, and the process ends.
    Failed {
        /// The failure.
        message: String,
        /// What the user can do about it.
        cure: Option<String>,
        /// The exit code for it.
        code: u8,
    },
}

/// What the first process waits for before it executes the command. Without it, it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Go {
    /// The file to be mounted over `/etc/hosts`.
    pub(crate) hosts: Option<PathBuf>,
    /// Variables for the command, beside those that it inherits; the last one of a name counts.
    pub(crate) env: Vec<(String, String)>,
}

/// Writes one message.
pub(crate) fn send(pipe: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    pipe.write_all(&line)
}

/// Reads one message; `None` at the pipe's end, and where the other side ended within a message.
pub(crate) fn receive<T: DeserializeOwned>(pipe: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    pipe.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Lets the next program that is started inherit a descriptor, and tells its number.
pub(crate) fn bequeath(fd: &OwnedFd) -> io::Result<RawFd> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(fd.as_raw_fd())
}

/// Takes over the end of a pipe that was inherited by number. It is opened anew, which no later program inherits.
pub(crate) fn inherit(fd: RawFd, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(format!("/proc/self/fd/{fd}"))?;
    close(fd)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines() {
        let mut pipe = Vec::new();
        let go = Go { hosts: Some("/a/hosts".into()), env: vec![("K".into(), "two\nlines".into())] };
        send(&mut pipe, &go).unwrap();
        send(&mut pipe, &go).unwrap();
        let mut reader = pipe.as_slice();
        assert_eq!(receive(&mut reader).unwrap(), Some(go.clone()));
        assert_eq!(receive(&mut reader).unwrap(), Some(go));
        assert_eq!(receive::<Go>(&mut reader).unwrap(), None);
        assert_eq!(receive::<Go>(&mut &pipe[..5]).unwrap(), None);
        assert!(receive::<Go>(&mut &b"?\n"[..]).is_err());
    }
}
