//! The options of `cleat run`, and those of them that describe the container.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Parser};
use cni::PortRange;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::network::Joined;
use super::resolver::Resolver;
use super::volume::{Volume, VolumesFrom};
use crate::endpoint::{Endpoint, ExtraHost, Link, Named, NetworkOption, Variable};
use crate::error::Error;
use crate::ports::Publish;
use crate::runtime::{CacheFolder, Runtime};

/// Networks without a configuration: that of the host, and none at all.
pub(crate) const HOST: &str = "host";
pub(crate) const NONE: &str = "none";

/// Before the name of a container whose network is shared.
pub(crate) const CONTAINER: &str = "container:";

fn is_built_in(network: &str) -> bool {
    network == HOST || network == NONE || network.starts_with(CONTAINER)
}

/// The options of `cleat run`.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run in the background and print the container's ID; `cleat logs` shows what it writes
    #[arg(short = 'd', long)]
    pub(crate) detach: bool,
    /// Keep nothing of a container in the background when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// Name by which others on the network find the container
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    /// Variables for the command from a file with a line KEY=VALUE for each; -e comes before it
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// As with Docker; in the foreground, the command always has this command's input
    #[arg(short = 'i', long)]
    interactive: bool,
    /// As with Docker; in the foreground, the command always has this command's terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    pub(crate) spec: Spec,
}

/// The options that describe a container. With the environment and the folder in which it was started, it can be made again.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// Network to attach to, also as A:B or name=A,gw-priority=1 (with alias, ip, ip6), again for further ones; `host` or
    /// `none` for no network of its own, or no network at all; `container:X` for that of another container [default: the only one that there is]
    #[arg(long)]
    network: Vec<NetworkOption>,
    /// Address on the first network [default: a free one]
    #[arg(long, value_name = "IPV4")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address on the first network [default: a free one]
    #[arg(long, value_name = "IPV6")]
    ip6: Option<Ipv6Addr>,
    /// Publish a port or a range; without a host port, on a free one. Again for further ports
    #[arg(short = 'p', long, value_name = "[[IP:][HOSTPORT]:]PORT[/PROTOCOL]")]
    publish: Vec<Publish>,
    /// Publish all exposed ports on free ones
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Tell others of a port or a range that the command listens on
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<PortRange>,
    /// Make another container known to the command, in its environment and hosts file
    #[arg(long, value_name = "SOURCE[:ALIAS]")]
    pub(crate) link: Vec<Link>,
    /// A further name of the container
    #[arg(long, value_name = "NAME")]
    network_alias: Vec<String>,
    /// Host name of the container [default: the first 12 digits of its ID]
    #[arg(short = 'h', long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) hostname: Option<String>,
    /// A name of the command's own for an address
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<ExtraHost>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resolver: Resolver,
    /// A variable for the command, and for containers that link to it
    #[arg(short = 'e', long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// A folder of the host, or a volume of that name, at a place in the container; again for further ones
    #[arg(short = 'v', long, value_name = "[SOURCE:]FOLDER[:ro]")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) volume: Vec<Volume>,
    /// The volumes of another container of `run`
    #[arg(long, value_name = "CONTAINER[:ro]")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes_from: Vec<VolumesFrom>,
    /// Folder in which the command starts [default: the current one]
    #[arg(short = 'w', long, value_name = "FOLDER", value_parser = absolute)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workdir: Option<PathBuf>,
    /// `host`: see and reach the processes of the host [default: a PID namespace of its own]
    #[arg(long, value_parser = ["host"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<String>,
    #[command(flatten)]
    pub(crate) cache: CacheFolder,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

impl Options {
    /// Reads the command line that versions up to 0.1 kept in `run.json`; `None` where it is not understood.
    pub(crate) fn of_command_line(arguments: &[OsString]) -> Option<Self> {
        #[derive(Parser)]
        #[command(disable_help_flag = true)]
        struct Run {
            #[command(flatten)]
            options: Options,
        }
        // `cleat run` and its options, or nothing that a container was started with.
        let words = arguments.get(1..).filter(|words| words.first().is_some_and(|verb| verb == "run"))?;
        Run::try_parse_from(words).ok().map(|run| run.options)
    }
}

impl Spec {
    fn named(&self) -> impl Iterator<Item = &Named> {
        self.network.iter().flat_map(|option| &option.0)
    }

    /// `host`, `none` or `container:X`, where only that was named.
    pub(crate) fn no_network(&self) -> Option<&str> {
        let mut named = self.named();
        match (named.next(), named.next()) {
            (Some(one), None) if is_built_in(&one.name) => Some(&one.name),
            _ => None,
        }
    }

    /// Whether it has the host's network.
    pub(crate) fn is_on_host(&self) -> bool {
        self.no_network() == Some(HOST)
    }

    /// The container whose network it has, with `--network container:X`.
    pub(crate) fn shares(&self) -> Option<&str> {
        self.no_network()?.strip_prefix(CONTAINER)
    }

    /// The networks that were named, or the one that there is, and what is asked of each.
    pub(crate) fn networks(&self, runtime: &Runtime<'_>) -> Result<Vec<Joined>, Error> {
        if self.network.is_empty() {
            let only = Named { name: runtime.only()?.name.to_string(), ..Named::default() };
            return Ok(vec![self.joined(&only, true)]);
        }
        if self.no_network().is_some() {
            return Ok(Vec::new());
        }
        let mut all: Vec<Joined> = Vec::new();
        for named in self.named() {
            let name = &named.name;
            let refuse = |reason, cure| Err(Error::refused(format!("use network {name}"), reason, cure));
            if is_built_in(name) {
                return refuse("it goes with no other network", "name it alone");
            }
            if all.iter().any(|joined| joined.network == *name) {
                return refuse("it is named twice", "name it once");
            }
            all.push(self.joined(named, all.is_empty()));
        }
        Ok(all)
    }

    fn joined(&self, named: &Named, is_first: bool) -> Joined {
        let addresses = self.ip.map(IpAddr::V4).into_iter().chain(self.ip6.map(IpAddr::V6));
        Joined {
            network: named.name.clone(),
            aliases: self.network_alias.iter().chain(&named.aliases).cloned().collect(),
            addresses: addresses.filter(|_| is_first).chain(named.addresses.iter().copied()).collect(),
            links: None,
            gw_priority: named.gw_priority,
        }
    }

    /// What is passed to the plugins of a network, except for the container's name.
    pub(crate) fn endpoint<'a>(
        &'a self,
        hostname: &'a str,
        joined: &'a Joined,
        publishes: bool,
        is_first: bool,
    ) -> Endpoint<'a> {
        Endpoint {
            name: None,
            hostname,
            aliases: &joined.aliases,
            expose: &self.expose,
            links: joined.links.as_deref().unwrap_or(&self.link),
            env: &self.env,
            publish: if publishes { &self.publish } else { &[] },
            publish_all: publishes && self.publish_all,
            extra_hosts: if is_first { &self.add_host } else { &[] },
            addresses: joined.addresses.clone(),
            gw_priority: joined.gw_priority,
        }
    }

    /// The ports to publish, as the value of the capability; `None` where there are none.
    pub(crate) fn port_mappings(&self) -> Option<Value> {
        let publish = Endpoint { expose: &self.expose, publish: &self.publish, ..Endpoint::of_host("") };
        Endpoint { publish_all: self.publish_all, ..publish }.port_mappings()
    }

    /// Refuses options that have no meaning without a network.
    pub(crate) fn check_without_network(&self, network: &str) -> Result<(), Error> {
        let options = [
            ("-p", !self.publish.is_empty()),
            ("-P", self.publish_all),
            ("--link", !self.link.is_empty()),
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--network-alias", !self.network_alias.is_empty()),
            ("--add-host", !self.add_host.is_empty()),
            ("--expose", self.shares().is_some() && !self.expose.is_empty()),
            ("-h", self.shares().is_some() && self.hostname.is_some()),
            ("--dns", self.shares().is_some() && !self.resolver.is_empty()),
        ];
        match options.into_iter().find(|(_, is_used)| *is_used) {
            Some((option, _)) => Err(Error::refused(
                format!("use {option} with --network {network}"),
                match network {
                    HOST => "the host's network is used as it is",
                    NONE => "there is no network",
                    _ => "the other container has its network, names and resolver already",
                },
                "leave it out, or name another network",
            )),
            None => Ok(()),
        }
    }
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("write an absolute path, as in the container") }
}
