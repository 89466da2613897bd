//! Calls of `cleat-overlay`, which does what concerns the engine. It says what it waits for, and what is wrong, by itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use cni::{NetworkName, printable_line};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::conf::Conf;
use super::records::Nodes;
use crate::environment;
use crate::error::Error;
use crate::output;

/// Its name.
const NAME: &str = "cleat-overlay";

/// A line that the program wrote so long ago, while it goes on, is no error but news for people.
const NEWS: Duration = Duration::from_millis(200);

/// What the engine has of a network, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Shared {
    /// Its ID.
    pub(crate) id: String,
    /// The addresses of all members on all nodes, one a family.
    pub(crate) prefixes: Vec<String>,
}

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// Finds it: beside `cleat` itself, or in `PATH`.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn find(doing: &str) -> Result<Self, Error> {
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
        let mut folders = beside.into_iter().chain(environment::programs());
        let found = folders.find_map(|folder| Some(folder.join(NAME)).filter(|program| program.is_file()));
        found.map(Self).ok_or_else(|| {
            Error::refused(
                doing,
                format!("the agent of overlay networks, {NAME}, is neither beside cleat nor in PATH"),
                "install it: it comes with cleat, or in a package of its own (docs/overlay.md)",
            )
        })
    }

    /// Makes a network in the engine. The request has the agent's configuration and what all nodes are to agree on.
    pub(crate) fn create(&self, network: &NetworkName, request: &Value) -> Result<Shared, Error> {
        self.answer(&["create", network.as_str()], Some(request.to_string()))
    }

    /// What the engine has of a network.
    pub(crate) fn show(&self, network: &NetworkName, conf: &Conf) -> Result<Shared, Error> {
        self.answer(&["show", network.as_str(), "--conf", "-"], Some(text(conf)?))
    }

    /// The nodes of a network.
    pub(crate) fn nodes(&self, network: &NetworkName) -> Result<Nodes, Error> {
        self.answer(&["nodes", network.as_str()], None)
    }

    /// Removes another node's records from the engine.
    pub(crate) fn remove_node(&self, network: &NetworkName, node: &str, force: bool) -> Result<(), Error> {
        self.order(&["remove-node", network.as_str()], &["--", node], force)
    }

    /// Takes a network off this node.
    pub(crate) fn remove(&self, network: &NetworkName, force: bool) -> Result<(), Error> {
        self.order(&["remove", network.as_str()], &[], force)
    }

    /// Deletes a network in the engine, which this node has left. It refuses while a node has a record.
    pub(crate) fn delete(&self, network: &NetworkName, conf: &Conf) -> Result<(), Error> {
        self.call(&["delete", network.as_str(), "--conf", "-"], Some(text(conf)?)).map(|_| ())
    }

    fn order(&self, verb: &[&str], rest: &[&str], force: bool) -> Result<(), Error> {
        let force: &[&str] = if force { &["--force"] } else { &[] };
        self.call(&[verb, force, rest].concat(), None).map(|_| ())
    }

    fn answer<T: DeserializeOwned>(&self, args: &[&str], input: Option<String>) -> Result<T, Error> {
        let text = self.call(args, input)?;
        serde_json::from_slice(&text).map_err(|error| {
            let doing = format!("read the answer of {} {}", self.0.display(), args.join(" "));
            Error::io(doing, io::Error::other(error))
        })
    }

    /// Runs it, with news of it on standard error at once; returns what it printed.
    fn call(&self, args: &[&str], input: Option<String>) -> Result<Vec<u8>, Error> {
        let failed = |error| Error::io(format!("execute {}", self.0.display()), error);
        let mut child = self.spawn(args).map_err(failed)?;
        // Each pipe is served by a thread of its own: a full one would stop the program.
        let (said, printed) = thread::scope(|scope| {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                // If it does not want to know more, it says why.
                scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            }
            let stdout = child.stdout.take();
            let printed = scope.spawn(move || {
                let mut bytes = Vec::new();
                stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut bytes)).map(|_| bytes)
            });
            let said = child.stderr.take().map(last_line).unwrap_or_default();
            (said, printed.join().unwrap_or_else(|_| Err(io::Error::other("its output was not read"))))
        });
        let status = child.wait().map_err(failed)?;
        let printed = printed.map_err(failed)?;
        if status.success() {
            output::tell(&said);
            return Ok(printed);
        }
        let said = said.trim_end();
        let said = said.strip_prefix(&format!("{NAME}: ")).unwrap_or(said);
        Err(if said.is_empty() {
            failed(io::Error::other(format!("it ended without a word: {status}")))
        } else {
            Error::Agent(said.to_owned())
        })
    }

    #[expect(clippy::disallowed_methods, reason = "the agent's own program, which alone talks to engines")]
    fn spawn(&self, args: &[&str]) -> io::Result<Child> {
        let mut command = Command::new(&self.0);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }
}

fn text(conf: &Conf) -> Result<String, Error> {
    serde_json::to_string(conf).map_err(|error| Error::io("write JSON", error))
}

/// Passes on what the program says, line by line, but for the last line, which may be its error.
fn last_line(stderr: ChildStderr) -> String {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
        lines.try_for_each(|line| send.send(format!("{}\n", printable_line(&String::from_utf8_lossy(&line)))))
    });
    let mut held = String::new();
    loop {
        match lines.recv_timeout(NEWS) {
            Ok(line) => output::tell(&std::mem::replace(&mut held, line)),
            Err(RecvTimeoutError::Timeout) => output::tell(&std::mem::take(&mut held)),
            Err(RecvTimeoutError::Disconnected) => return held,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that is a shell script, in a folder.
    fn script(folder: &tempfile::TempDir, text: &str) -> Program {
        let path = folder.path().join(NAME);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program(path)
    }

    #[test]
    fn what_it_prints_is_read_and_its_last_line_is_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkName::new("shop").unwrap();
        let program = script(
            &folder,
            r#"[ "$*" = "create shop" ] && tr a-z A-Z | sed 's/.*/{"id":"&","prefixes":["10.1.0.0\/16"]}/'"#,
        );
        assert_eq!(program.create(&network, &serde_json::json!(7)).unwrap().id, "7");
        let program = script(
            &folder,
            "echo cleat-overlay: waiting >&2; echo 'cleat-overlay: remove network shop: no engine' >&2; exit 1",
        );
        assert_eq!(
            program.remove(&network, false).unwrap_err().to_string(),
            "remove network shop: no engine"
        );
        let program = script(&folder, "exit 3");
        assert!(
            program
                .remove(&network, true)
                .unwrap_err()
                .to_string()
                .contains("without a word: exit status: 3")
        );
        let program = script(&folder, "echo '{'");
        assert!(program.nodes(&network).unwrap_err().to_string().contains("read the answer of"));
        // More than a pipe holds, in both directions.
        let program = script(&folder, r#"cat >/dev/null; printf '{"id":"%0200000d","prefixes":[]}' 1"#);
        let long = Value::from("x".repeat(200_000));
        assert_eq!(program.create(&network, &long).unwrap().id.len(), 200_000);
    }

    #[test]
    fn a_node_is_no_option() {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkName::new("shop").unwrap();
        let program = script(&folder, r#"echo "cleat-overlay: $*" >&2; exit 1"#);
        let said = program.remove_node(&network, "-x", true).unwrap_err().to_string();
        assert_eq!(said, "remove-node shop --force -- -x");
    }
}
