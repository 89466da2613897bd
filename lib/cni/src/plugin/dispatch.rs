//! From the process boundary to a plugin's verbs and back: the one place that reads the environment.
//!
//! The boundary is a value, [`Boundary`], so that the whole contract is tested without processes. Hostile input is
//! refused here, before a plugin sees it.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::plugin::args::Args;
use crate::plugin::request::{Command, Request, Target, missing};
use crate::plugin::{removal, trace};
use crate::spec::attachment::{Attachment, ContainerId, IfName};
use crate::spec::conf::{self, Conf, MAX_INPUT};
use crate::spec::error::{Code, Error};
use crate::spec::result::AddResult;
use crate::spec::version::Version;

/// The verbs of a CNI plugin; [`run`] does the rest of the contract.
pub trait Plugin {
    /// The program's name, which is the `type` in configurations.
    const NAME: &'static str;

    /// Whether the plugin enters the container's network namespace. For one that does not, `CNI_NETNS` is only a text: the path
    /// may not be accessible here, or not exist, as when a plugin of another data plane calls host-local. For every plugin it
    /// must not be the plugin's own namespace, as in the reference 1.9.
    const ENTERS_NETNS: bool = true;

    /// Makes the attachment; on failure nothing of it may remain.
    ///
    /// # Errors
    /// Whatever kept the plugin from it.
    fn add(request: &Request, target: &Target) -> Result<AddResult, Error>;

    /// Removes the attachment. What is gone already counts as removed.
    ///
    /// # Errors
    /// All that could not be removed.
    fn del(request: &Request, target: &Target) -> Result<(), Error>;

    /// Compares the attachment with the previous result and the configuration.
    ///
    /// # Errors
    /// What differs.
    fn check(request: &Request, target: &Target) -> Result<(), Error>;

    /// Removes what attachments left that are not in the list of valid ones.
    ///
    /// # Errors
    /// All that could not be removed.
    fn gc(request: &Request) -> Result<(), Error>;

    /// Says whether an ADD could succeed.
    ///
    /// # Errors
    /// What is in the way, with code 50 or 51.
    fn status(request: &Request) -> Result<(), Error>;
}

/// The process as a plugin sees it.
pub struct Boundary<'a> {
    /// Looks an environment variable up; text that is not UTF-8 is an error of its own.
    pub env: &'a dyn Fn(&str) -> Option<Result<String, String>>,
    /// Where the configuration comes from.
    pub stdin: &'a mut dyn Read,
    /// Where one JSON document goes, or nothing.
    pub stdout: &'a mut dyn Write,
    /// Where words for people go.
    pub stderr: &'a mut dyn Write,
}

/// Runs a plugin as this process: the whole of a plugin's `main`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn run<P: Plugin>() -> ExitCode {
    crate::plugin::panic_hook::install();
    lock::share_limit();
    if let Some(path) = std::env::var_os(trace::VARIABLE)
        && let Err(error) = trace::start(P::NAME, &path)
    {
        let _ = writeln!(io::stderr(), "{}: {} {}: {error}", P::NAME, trace::VARIABLE, path.display());
    }
    let env = |name: &str| {
        std::env::var_os(name).map(|value| value.into_string().map_err(|raw| format!("{}", raw.display())))
    };
    let mut boundary = Boundary {
        env: &env,
        stdin: &mut std::io::stdin().lock(),
        stdout: &mut std::io::stdout().lock(),
        stderr: &mut std::io::stderr().lock(),
    };
    dispatch::<P>(&mut boundary)
}

/// Runs a plugin against a boundary.
pub fn dispatch<P: Plugin>(boundary: &mut Boundary<'_>) -> ExitCode {
    let mut version = Version::NEWEST;
    let outcome = match variable(boundary, "CNI_COMMAND") {
        Ok(text) if text.is_empty() => {
            about::<P>(boundary);
            return ExitCode::SUCCESS;
        }
        Ok(text) => Command::parse(&text).and_then(|command| call::<P>(command, boundary, &mut version)),
        Err(error) => Err(error),
    };
    match &outcome {
        Ok(_) => trace::decided("outcome", &[("is", &"done")]),
        Err(error) => {
            trace::decided("outcome", &[("is", &"failed"), ("code", &error.code()), ("error", error)]);
        }
    }
    let (document, code) = match outcome {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(value)) => (value.to_string(), ExitCode::SUCCESS),
        Err(error) => (error.to_json(version), ExitCode::FAILURE),
    };
    let written =
        boundary.stdout.write_all(format!("{document}\n").as_bytes()).and_then(|()| boundary.stdout.flush());
    match written {
        Ok(()) => code,
        // The runtime cannot have read a result: it will call DEL.
        Err(_) => ExitCode::FAILURE,
    }
}

fn about<P: Plugin>(boundary: &mut Boundary<'_>) {
    let versions: Vec<&str> = Version::ALL.iter().map(|version| version.as_str()).collect();
    let _ = writeln!(
        boundary.stderr,
        "{} {}: a CNI plugin of the cleat suite, to be called by a container runtime\nCNI protocol versions supported: {}",
        P::NAME,
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    );
}

fn variable(boundary: &Boundary<'_>, name: &str) -> Result<String, Error> {
    (boundary.env)(name).unwrap_or_else(|| Ok(String::new())).map_err(|text| {
        Error::new(Code::InvalidEnvironment, format!("environment variable {name} is not UTF-8: {text:?}"))
    })
}

fn call<P: Plugin>(
    command: Command,
    boundary: &mut Boundary<'_>,
    version: &mut Version,
) -> Result<Option<Value>, Error> {
    if command == Command::Version {
        return Ok(Some(versions(boundary)));
    }
    check_required(command, boundary)?;
    let conf = read_conf(command, boundary, version)?;
    if conf.version < command.since() {
        return Err(Error::new(
            Code::IncompatibleVersion,
            format!(
                "{command} needs cniVersion {} or newer, the configuration has {}",
                command.since(),
                conf.version
            ),
        ));
    }
    let path = std::env::split_paths(&variable_for(command, boundary, "CNI_PATH")?)
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    let request = Request { command, conf, path };
    trace::call(&request, None);
    match command {
        Command::Gc => return P::gc(&request).map(|()| None),
        Command::Status => return P::status(&request).map(|()| None),
        _ => {}
    }
    let target = target::<P>(&request, boundary)?;
    trace::call(&request, Some(&target));
    match command {
        Command::Add => add::<P>(request, &target).map(Some),
        Command::Check => P::check(&request, &target).map(|()| None),
        _ => P::del(&request, &target).map(|()| None),
    }
}

/// The configuration: a whole one to make or compare something, and as much as there is of it to remove.
fn read_conf(command: Command, boundary: &mut Boundary<'_>, version: &mut Version) -> Result<Conf, Error> {
    if matches!(command, Command::Del | Command::Gc) {
        let object = removal::read(&read_input(boundary, removal::MAX_INPUT)?)?;
        *version = conf::version_of(&object).unwrap_or(*version);
        return Conf::for_removal(object);
    }
    let object = conf::read_object(&read_input(boundary, MAX_INPUT)?)?;
    *version = conf::version_of(&object)?;
    Conf::from_object(object)
}

/// An ADD whose result its version cannot hold, as 0.2.0 cannot hold one without addresses, has failed: it is undone.
fn add<P: Plugin>(request: Request, target: &Target) -> Result<Value, Error> {
    let result = P::add(&request, target)?;
    result
        .to_value(request.conf.version)
        .map_err(|error| error.undone(P::del(&Request { command: Command::Del, ..request }, target)))
}

fn check_required(command: Command, boundary: &Boundary<'_>) -> Result<(), Error> {
    let required: &[&str] = match command {
        Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
        Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
        // The specification demands CNI_PATH of GC; it is needed only where there is a delegate, which says so itself.
        _ => &[],
    };
    let absent: Vec<&str> = required
        .iter()
        .copied()
        .filter(|name| !matches!((boundary.env)(name), Some(Ok(value)) if !value.is_empty()))
        .collect();
    if absent.is_empty() { Ok(()) } else { Err(missing(&absent)) }
}

fn read_input(boundary: &mut Boundary<'_>, most: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(4096);
    // One byte over the limit shows that there was too much.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    match boundary.stdin.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            Err(Error::new(Code::Io, format!("read the configuration from standard input: {error}")))
        }
    }
}

/// The answer to VERSION: in the version that was asked, where that one is known.
fn versions(boundary: &mut Boundary<'_>) -> Value {
    let asked = read_input(boundary, MAX_INPUT)
        .and_then(|bytes| conf::read_object(&bytes))
        .and_then(|object| conf::version_of(&object));
    let supported: Vec<&str> = Version::ALL.iter().map(|version| version.as_str()).collect();
    json!({"cniVersion": asked.unwrap_or(Version::NEWEST).as_str(), "supportedVersions": supported})
}

/// A variable that a removal does without where it is not UTF-8.
fn variable_for(command: Command, boundary: &Boundary<'_>, name: &str) -> Result<String, Error> {
    match variable(boundary, name) {
        Err(_) if matches!(command, Command::Del | Command::Gc) => Ok(String::new()),
        outcome => outcome,
    }
}

fn target<P: Plugin>(request: &Request, boundary: &Boundary<'_>) -> Result<Target, Error> {
    let variable_of = |name| variable_for(request.command, boundary, name);
    let netns = variable_of("CNI_NETNS")?;
    let raw_args = variable_of("CNI_ARGS")?;
    let attachment = Attachment {
        network: request.conf.network.clone(),
        container_id: ContainerId::new(variable(boundary, "CNI_CONTAINERID")?)?,
        ifname: IfName::new(variable(boundary, "CNI_IFNAME")?)?,
    };
    let mut netns = (!netns.is_empty()).then(|| PathBuf::from(netns));
    let overridden = matches!(variable_of("CNI_NETNS_OVERRIDE")?.to_ascii_lowercase().as_str(), "1" | "true");
    if let Some(path) = &netns
        && is_own(path, P::ENTERS_NETNS && request.command != Command::Del)?
        && !overridden
    {
        if request.command != Command::Del {
            return Err(own_namespace(path));
        }
        netns = None;
    }
    Ok(Target { attachment, netns, args: Args::read(&raw_args), raw_args })
}

/// Whether the path leads to the plugin's own network namespace, where the "container interface" would be one of the
/// host's. To a DEL that is a container whose namespace has gone: the path is that of a process which has ended, and the
/// host has given its number to another one. Any other verb is refused. `CNI_NETNS_OVERRIDE` allows it, as in the
/// reference. `needed` says whether the namespace must be there.
fn is_own(path: &Path, needed: bool) -> Result<bool, Error> {
    let target = match fs::metadata(path) {
        Ok(target) => target,
        Err(_) if !needed => return Ok(false),
        Err(error) => {
            let cure = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "that of a process takes CAP_SYS_PTRACE, unless it is one of /run/netns"
                }
                _ => "CNI_NETNS must be the path of the container's network namespace",
            };
            let text = format!("open network namespace {}: {error}", path.display());
            return Err(Error::new(Code::InvalidEnvironment, text).details(cure));
        }
    };
    let own = fs::metadata("/proc/thread-self/ns/net")
        .map_err(|error| Error::new(Code::Io, format!("read the own network namespace: {error}")))?;
    Ok((target.dev(), target.ino()) == (own.dev(), own.ino()))
}

fn own_namespace(path: &Path) -> Error {
    Error::new(
        Code::Other(8),
        format!("network namespace {} is the plugin's own: it must not be the host's", path.display()),
    )
    .details("set CNI_NETNS_OVERRIDE=1 where this is meant")
}
