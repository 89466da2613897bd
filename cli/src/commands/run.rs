//! `cleat run`: a command in a network namespace of its own, attached to a network while it runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use clap::builder::NonEmptyStringValueParser;
use cni::{Attachment, NetworkList, case_blind};
use registry::{DEFAULT_STATE_DIR, Registry};
use serde_json::Value;

use crate::container_id;
use crate::endpoint::{self, Endpoint, LINK_ENV, Link, Variable};
use crate::environment::Environment;
use crate::error::Error;
use crate::handshake::Go;
use crate::ports::{Exposed, Publish};
use crate::runtime::{CacheFolder, Making, Runtime};
use crate::sandbox::Sandbox;
use crate::signals::{self, Signals};

/// The arguments of `cleat run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name by which others on the network find the container
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    /// Network to attach to [default: the only one that there is]
    #[arg(long)]
    network: Option<String>,
    /// Publish a port or a range; without a host port, on a free one. Again for further ports
    #[arg(short = 'p', long, value_name = "[[IP:][HOSTPORT]:]PORT[/PROTOCOL]")]
    publish: Vec<Publish>,
    /// Publish all exposed ports on free ones
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Tell others of a port or a range that the command listens on
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<Exposed>,
    /// Make another container known to the command, in its environment and hosts file
    #[arg(long, value_name = "SOURCE[:ALIAS]")]
    link: Vec<Link>,
    /// A further name of the container
    #[arg(long, value_name = "NAME")]
    network_alias: Vec<String>,
    /// Host name of the container [default: the first 12 digits of its ID]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    hostname: Option<String>,
    /// A variable for the command, and for containers that link to it
    #[arg(short = 'e', long, value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    #[command(flatten)]
    cache: CacheFolder,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// Makes the container, attaches it, runs the command and removes the attachment, whatever happened meanwhile.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let mut list = match &args.network {
        Some(network) => runtime.find(network)?,
        None => runtime.only()?,
    };
    let container_id = container_id::random()?;
    let hostname = args.hostname.as_deref().unwrap_or_else(|| container_id::short(&container_id));
    let endpoint = args.endpoint(hostname);
    endpoint.check(&list)?;
    look_for_listeners(&mut list);
    let mut making = runtime.making(list, PathBuf::new())?;
    making.capabilities.extend(endpoint.capabilities(&making.list));
    making.cni_args = endpoint.cni_args(&making.list);
    let attachment = Attachment {
        network: making.list.name.clone(),
        container_id: container_id.clone(),
        ifname: environment.ifname()?,
    };

    let signals = Signals::hold()?;
    let mut sandbox = Sandbox::start(hostname, &args.command)?;
    sandbox.netns().clone_into(&mut making.netns);
    {
        let _lock = runtime.lock_shared()?;
        runtime
            .chain(&making.list)
            .add(&making.parameters(&attachment))
            .map_err(Error::contract(format!("add {attachment}")))?;
    }
    let ran = args
        .orders(&attachment, hostname, &making.list)
        // Who wants it to end before it begins does not want it to begin.
        .and_then(|go| signals.forward_held(sandbox.pid()).map(|()| go))
        .and_then(|go| sandbox.go(&go))
        .and_then(|()| signals.forward_to(sandbox.pid()));
    // The namespace goes with the process, and no plugin can meet another one at its path until it is reaped.
    let ran = ran.inspect_err(|_| signals::end(sandbox.pid()));
    let removed = remove(&runtime, &making, &attachment);
    let status = exit_code(sandbox.reap()?);
    match (ran, removed) {
        (Ok(()), Ok(())) => Ok(ExitCode::from(status)),
        (Ok(()), Err(source)) => Err(Error::Removal { attachment: Box::new(attachment), status, source }),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(source)) => Err(Error::Both {
            first: Box::new(error),
            further: Box::new(Error::Removal { attachment: Box::new(attachment), status, source }),
        }),
    }
}

fn remove(runtime: &Runtime<'_>, making: &Making, attachment: &Attachment) -> Result<(), cni::Error> {
    // Without the lock a GC at the same time does the same work, which is better than not to do it.
    let _lock = runtime.lock_shared();
    runtime.chain(&making.list).del(&making.parameters(attachment))
}

impl Args {
    fn endpoint<'a>(&'a self, hostname: &'a str) -> Endpoint<'a> {
        Endpoint {
            name: self.name.as_deref(),
            hostname,
            aliases: &self.network_alias,
            expose: &self.expose,
            links: &self.link,
            env: &self.env,
            publish: &self.publish,
            publish_all: self.publish_all,
        }
    }

    /// What the first process needs: the hosts file, and the variables in the order of their weight.
    fn orders(&self, attachment: &Attachment, hostname: &str, list: &NetworkList) -> Result<Go, Error> {
        let (mut hosts, mut env) = (None, Vec::new());
        if let Some(plugin) = endpoint::plugin(list, LINK_ENV) {
            let state = case_blind::get(plugin, "stateDir").and_then(Value::as_str);
            let folder = Registry::at(state.unwrap_or(DEFAULT_STATE_DIR))
                .container_dir(attachment.container_id.as_str());
            hosts = Some(folder.join("hosts"));
            env.extend(link_variables(&folder.join("env.json"))?);
        }
        env.push(("HOSTNAME".to_owned(), hostname.to_owned()));
        env.extend(self.env.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
        Ok(Go { hosts, env })
    }
}

/// The variables that link-env made of the container's links.
fn link_variables(file: &Path) -> Result<BTreeMap<String, String>, Error> {
    fs::read(file)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|error| Error::io(format!("read variables of links from {}", file.display()), error))
}

/// Asks for a port that a program of the host listens on to be refused. Other runtimes hold a socket on the very port
/// that they publish, so this is not the plugin's own default.
fn look_for_listeners(list: &mut NetworkList) {
    for plugin in &mut list.plugins {
        if case_blind::get(plugin, "type").and_then(Value::as_str) == Some("host-port")
            && case_blind::get(plugin, "checkHostListeners").is_none()
        {
            plugin.insert("checkHostListeners".to_owned(), Value::Bool(true));
        }
    }
}

/// The exit code that a shell would give: 128 and the signal's number where a signal ended the command.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        for (wait_status, code) in [(0, 0), (3 << 8, 3), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(wait_status)), code);
        }
    }

    #[test]
    fn listeners_are_looked_for_unless_the_network_says_otherwise() {
        let text = br#"{"name":"n","plugins":[{"type":"bridge"},{"type":"host-port"},
            {"type":"host-port","checkHostListeners":false}]}"#;
        let mut list = NetworkList::from_slice(text).unwrap();
        look_for_listeners(&mut list);
        let asked: Vec<Option<&Value>> =
            list.plugins.iter().map(|plugin| plugin.get("checkHostListeners")).collect();
        assert_eq!(asked, [None, Some(&Value::Bool(true)), Some(&Value::Bool(false))]);
    }
}
