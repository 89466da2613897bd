//! Starts a command in a container as runtimes do: with the default action of every signal, and none blocked, whatever `cleat`
//! was started with. A script that starts `cleat` in the background has SIGINT ignored, and what is ignored stays so beyond an
//! exec(2).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use crate::error::Error;

/// Where commands are looked for without PATH, as Docker does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts a command with exactly these variables, of which the last one of a name counts. It is looked for in their PATH.
///
/// # Errors
/// It cannot be executed: [`Error::Execute`].
pub(crate) fn launch(command: &[OsString], env: &[(OsString, OsString)]) -> Result<Pid, Error> {
    // The command line demands one word at least.
    let program = command.first().cloned().unwrap_or_default();
    spawn(&program, command, env).map_err(|errno| Error::Execute { program, source: errno.into() })
}

fn spawn(program: &OsStr, command: &[OsString], env: &[(OsString, OsString)]) -> Result<Pid, Errno> {
    let variables: BTreeMap<&OsStr, &OsStr> = env.iter().map(|(key, value)| (&**key, &**value)).collect();
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let args = command.iter().map(|word| text(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let line = |(key, value): (&&OsStr, &&OsStr)| text(&[key.as_bytes(), b"=", value.as_bytes()].concat());
    let env = variables.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    let mut all = SigSet::all();
    // Nobody can ignore these.
    all.remove(Signal::SIGKILL);
    all.remove(Signal::SIGSTOP);
    attributes.set_sigdefault(&all)?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
    let files = PosixSpawnFileActions::init()?;
    if program.as_bytes().contains(&b'/') {
        return posix_spawn(program, &files, &attributes, &args, &env);
    }
    let path = variables.get(OsStr::new("PATH")).copied().unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut reason = Errno::ENOENT;
    for folder in std::env::split_paths(path) {
        // As for a shell, an empty folder is the current one.
        let found =
            if folder.as_os_str().is_empty() { Path::new(".").join(program) } else { folder.join(program) };
        // Each try would take a process number.
        if !found.exists() {
            continue;
        }
        match posix_spawn(&found, &files, &attributes, &args, &env) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // Another folder may have one that can be executed.
            Err(Errno::EACCES) => reason = Errno::EACCES,
            outcome => return outcome,
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn status(line: &str, env: &[(&str, &str)]) -> WaitStatus {
        let command = ["sh", "-c", line].map(OsString::from);
        let env: Vec<_> = env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        waitpid(launch(&command, &env).unwrap(), None).unwrap()
    }

    #[test]
    fn the_last_variable_of_a_name_counts_and_nothing_else_is_there() {
        let env = [("A", "1"), ("PATH", "/nowhere::/bin:/usr/bin"), ("A", "2")];
        assert!(matches!(status("test $A = 2 && test -z \"$HOME\"", &env), WaitStatus::Exited(_, 0)));
        assert!(matches!(status("exit 7", &[]), WaitStatus::Exited(_, 7)));
    }

    #[test]
    fn what_cannot_be_executed_has_the_codes_of_a_shell() {
        for (program, path, code) in [
            ("no-such-command", "/bin", 127),
            ("/no/such/command", "/bin", 127),
            ("/etc/passwd", "/bin", 126),
            ("passwd", "/bin/none:/etc", 126),
            ("/bin", "/bin", 126),
        ] {
            let error = launch(&[program.into()], &[("PATH".into(), path.into())]).unwrap_err();
            assert_eq!(error.exit_code(), code, "{program}: {error}");
        }
    }
}
