//! Messages between `cleat run` and the processes that it starts: lines of JSON over pipes. The processes inherit their ends
//! of the pipes by descriptor number.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::close;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Failure};
use crate::volumes::Mounted;

/// What a process reports. The first process of a container reports the path of its network namespace, once its namespaces
/// are made; the end of the pipe then means that the command runs, or that the process was killed. A supervisor reports an
/// empty path, once the command runs. After a failure the process ends.
pub(crate) type Report = Result<PathBuf, Failure>;

/// What the first process waits for before it executes the command. Where the pipe ends before, so does the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Go {
    /// The file to be mounted over `/etc/hosts`.
    pub(crate) hosts: Option<PathBuf>,
    /// Files of the container's own, each with its content. A file of that name is there.
    pub(crate) texts: Vec<(PathBuf, String)>,
    /// What is mounted before that.
    pub(crate) volumes: Vec<Mounted>,
    /// The folder in which the command starts.
    pub(crate) folder: PathBuf,
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

/// Lets the programs that are started from now on inherit a descriptor. Returns its number.
pub(crate) fn let_inherit(end: &impl AsFd) -> io::Result<RawFd> {
    fcntl(end, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(end.as_fd().as_raw_fd())
}

/// Takes over the end of a pipe that was inherited by number. It is opened anew, with `FD_CLOEXEC`. `what` is in the pipe.
pub(crate) fn inherit(fd: RawFd, what: &str, options: &OpenOptions) -> Result<File, Error> {
    let file = options.open(format!("/proc/self/fd/{fd}")).and_then(|file| {
        close(fd)?;
        Ok(file)
    });
    file.map_err(|error| Error::io(format!("open pipe of {what}"), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines() {
        let mut pipe = Vec::new();
        let go = Go {
            hosts: Some("/a/hosts".into()),
            texts: Vec::new(),
            volumes: Vec::new(),
            folder: "/".into(),
            env: vec![("K".into(), "two\nlines".into())],
        };
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
