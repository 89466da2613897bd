//! Calls another plugin as a process: a delegate of this one (IPAM), or the members of a chain.
//!
//! The one place in the suite that spawns processes for the contract.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Map, Value};

use crate::plugin::request::{Command, Request, Target};
use crate::plugin::trace;
use crate::spec::case_blind;
use crate::spec::conf::MAX_INPUT;
use crate::spec::error::{Code, Error};
use crate::spec::result::AddResult;

/// The environment of one call.
#[derive(Clone, Debug)]
pub struct Invocation<'a> {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container_id: &'a str,
    /// `CNI_NETNS`; empty where it is unknown.
    pub netns: &'a Path,
    /// `CNI_IFNAME`; empty for GC and STATUS.
    pub ifname: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
    /// `CNI_PATH`.
    pub path: &'a [PathBuf],
}

impl<'a> Invocation<'a> {
    /// The call that hands a request on to a delegate: the same verb, the same environment.
    #[must_use]
    pub fn of(request: &'a Request, target: Option<&'a Target>) -> Self {
        Self {
            command: request.command,
            container_id: target.map_or("", |target| target.container_id().as_str()),
            netns: target.and_then(|target| target.netns.as_deref()).unwrap_or(Path::new("")),
            ifname: target.map_or("", |target| target.ifname().as_str()),
            args: target.map_or("", |target| target.raw_args.as_str()),
            path: &request.path,
        }
    }

    /// The same call with another verb, as when a failed ADD is undone.
    #[must_use]
    pub fn with_command(self, command: Command) -> Self {
        Self { command, ..self }
    }
}

/// Finds a plugin's program in the folders of `CNI_PATH`.
///
/// # Errors
/// Code 7 where no folder has an executable file of that name, or the type is no plain file name.
pub fn find(plugin: &str, path: &[PathBuf]) -> Result<PathBuf, Error> {
    if plugin.is_empty() || plugin.contains('/') || plugin == "." || plugin == ".." {
        return Err(Error::new(Code::InvalidConfig, format!("invalid plugin type {plugin:?}"))
            .details("a type is the file name of a program in CNI_PATH"));
    }
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    path.iter().map(|folder| folder.join(plugin)).find(is_program).ok_or_else(|| {
        let folders: Vec<_> = path.iter().map(|folder| folder.display().to_string()).collect();
        Error::new(Code::InvalidConfig, format!("no plugin {plugin:?} in CNI_PATH")).details(
            if folders.is_empty() {
                "CNI_PATH is empty".to_owned()
            } else {
                format!("looked in {}", folders.join(", "))
            },
        )
    })
}

/// Calls a plugin with a configuration. ADD answers a result, the other verbs nothing.
///
/// # Errors
/// The plugin's own error object, or why it could not be called or understood.
pub fn exec(
    plugin: &str,
    invocation: &Invocation<'_>,
    conf: &Map<String, Value>,
) -> Result<Option<AddResult>, Error> {
    let program = find(plugin, invocation.path)?;
    let input = serde_json::to_vec(conf)
        .map_err(|error| Error::new(Code::Internal, format!("encode configuration: {error}")))?;
    trace::decided("delegate", &[("program", &program.display()), ("verb", &invocation.command)]);
    let output = call(&program, invocation, &input)
        .map_err(|error| Error::new(Code::Io, format!("call plugin {}: {error}", program.display())))?;
    let failed = |words: &str| {
        let shown = String::from_utf8_lossy(&output.stdout);
        let shown: String = shown.trim().chars().take(500).collect();
        Error::new(Code::Delegate, format!("plugin {plugin:?} {words} ({})", output.status)).details(shown)
    };
    if !output.status.success() {
        return Err(error_object(&output.stdout).map_or_else(
            || failed("failed without an error object"),
            |error| error.within(&format!("plugin {plugin:?}")),
        ));
    }
    if invocation.command != Command::Add {
        return Ok(None);
    }
    let value: Value =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("answered no JSON result"))?;
    let version = crate::spec::conf::version_of(conf)?;
    AddResult::parse(&value, version).map(Some).map_err(|error| error.within(&format!("plugin {plugin:?}")))
}

/// The error that a plugin wrote, if what it wrote is one.
fn error_object(stdout: &[u8]) -> Option<Error> {
    let object: Map<String, Value> = serde_json::from_slice(stdout).ok()?;
    let code = u32::try_from(case_blind::get(&object, "code")?.as_u64()?).ok()?;
    let text = |key| case_blind::get(&object, key).and_then(Value::as_str).unwrap_or_default();
    Some(Error::new(Code::Other(code), text("msg")).details(text("details")))
}

#[expect(clippy::disallowed_methods, reason = "delegation is the one place that spawns plugins")]
fn call(program: &Path, invocation: &Invocation<'_>, input: &[u8]) -> io::Result<Output> {
    let path = std::env::join_paths(invocation.path).map_err(io::Error::other)?;
    let mut process = Process::new(program);
    // The rest of the environment is inherited, as runtimes do.
    process
        .env("CNI_COMMAND", invocation.command.as_str())
        .env("CNI_CONTAINERID", invocation.container_id)
        .env("CNI_NETNS", invocation.netns)
        .env("CNI_IFNAME", invocation.ifname)
        .env("CNI_ARGS", invocation.args)
        .env("CNI_PATH", path)
        .stdin(file_of(input)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut tries = 0;
    let mut child = loop {
        match process.spawn() {
            // The file is open for writing at this moment: somebody is installing it.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 5 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => break outcome?,
        }
    };
    let mut stdout = Vec::new();
    let read = child.stdout.take().map_or(Ok(0), |pipe| pipe.take(MAX_INPUT as u64).read_to_end(&mut stdout));
    // Whatever went wrong, it is over before anybody undoes what it did; `wait_with_output` would panic instead.
    let status = child.wait()?;
    read.map(|_| Output { status, stdout, stderr: Vec::new() })
}

/// A file in memory, for a plugin to read from its start: unlike a pipe, it need not be filled while the plugin is read from.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_searched_for_by_plain_file_name() {
        let path = [PathBuf::from("/nowhere"), PathBuf::from("/bin")];
        assert_eq!(find("sh", &path).unwrap(), Path::new("/bin/sh"));
        for bad in ["", "..", "a/b", "/bin/sh"] {
            assert_eq!(find(bad, &path).unwrap_err().code(), 7, "{bad:?}");
        }
        let error = find("bdidge", &path).unwrap_err().to_string();
        assert_eq!(error, "no plugin \"bdidge\" in CNI_PATH (looked in /nowhere, /bin)");
    }

    #[test]
    fn an_error_object_is_told_from_anything_else() {
        let error = error_object(br#"{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"d"}"#).unwrap();
        assert_eq!((error.code(), error.to_string().as_str()), (11, "busy (d)"));
        assert_eq!(error_object(b""), None);
        assert_eq!(error_object(br#"{"cniVersion":"1.0.0"}"#), None);
    }
}
