//! The verbs of the command line, one a file.

mod add;
mod attachment;
mod check;
mod conf;
mod del;
mod exec;
mod gc;
mod generate;
mod graph;
mod init;
mod inspect;
mod leases;
mod logs;
mod network;
mod node;
mod port;
mod ps;
mod repair;
mod restart;
mod rm;
mod run;
mod start;
mod status;
mod stop;
mod supervise;
mod verdict;

use std::process::ExitCode;

use clap::Subcommand;

use crate::environment::Environment;
use crate::error::Error;
use crate::output::{self, Form};
use crate::runtime::CacheFolder;
use crate::spec::Options;

/// A verb with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command in a network namespace of its own, attached to a network
    #[command(disable_help_flag = true)]
    Run(Box<Options>),
    /// Run a further command in a container
    Exec(exec::Args),
    /// Start containers of `run -d` that have ended
    Start(start::Args),
    /// End containers of `run`
    Stop(stop::Args),
    /// Start a container of `run -d` again
    Restart(restart::Args),
    /// Show what a container of `run -d` wrote
    Logs(logs::Args),
    /// Forget containers of `run -d` that have ended
    Rm(rm::Args),
    /// Attach a network namespace to a network and print the result
    Add(add::Args),
    /// Detach a network namespace from a network
    Del(del::Args),
    /// Compare an attachment, or all of them, with what was set up
    Check(check::Args),
    /// Put right what `check` finds broken
    Repair(repair::Args),
    /// Ask whether a network could take an attachment
    Status(status::Args),
    /// Remove what is left of attachments whose namespace has gone
    Gc(gc::Args),
    /// Make, list, describe and remove networks; take containers on and off them
    #[command(subcommand)]
    Network(Box<network::Verb>),
    /// List, describe and remove the nodes of overlay networks
    #[command(subcommand)]
    Node(node::Verb),
    /// List the containers of every network
    Ps(ps::Args),
    /// Describe containers: their networks, addresses, ports and links
    Inspect(inspect::Args),
    /// Show the addresses of a network: used, free, next
    Leases(leases::Args),
    /// Show which ports of a container are published where
    Port(port::Args),
    /// The process that looks after a container in the background, which `run -d` starts
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Draw networks, containers, published ports and links
    Graph(graph::Args),
    /// Look for mistakes in network configurations
    #[command(subcommand)]
    Conf(conf::Verb),
    /// Write completions, manual pages, schemas or the page of configuration keys
    #[command(hide = true)]
    Generate(generate::Args),
    /// The first process of a container, which `run` starts
    #[command(hide = true)]
    Init(init::Args),
}

/// The options of verbs that list or describe something.
#[derive(Debug, clap::Args)]
struct View {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Does something to each container, and prints the names of those with which it succeeded. Goes on after a failure.
fn each(containers: &[String], act: impl Fn(&str) -> Result<(), Error>) -> Result<(), Error> {
    let one = |container: &String| act(container).and_then(|()| output::text(&format!("{container}\n")));
    Error::all(containers.iter().filter_map(|container| one(container).err()).collect())
}

impl Verb {
    /// Does what the verb says. `command_line` is the definition of all verbs.
    pub(crate) fn execute(
        self,
        environment: &Environment,
        command_line: &clap::Command,
    ) -> Result<ExitCode, Error> {
        let done = match self {
            Self::Run(args) => return run::execute(&args, environment),
            Self::Conf(verb) => return conf::execute(&verb, environment),
            Self::Init(args) => return Ok(init::execute(&args)),
            Self::Supervise(args) => return supervise::execute(&args, environment),
            Self::Exec(args) => return exec::execute(&args, environment),
            Self::Start(args) => start::execute(&args, environment),
            Self::Stop(args) => stop::execute(&args),
            Self::Restart(args) => restart::execute(&args, environment),
            Self::Logs(args) => logs::execute(&args),
            Self::Rm(args) => rm::execute(&args, environment),
            Self::Add(args) => add::execute(&args, environment),
            Self::Del(args) => del::execute(&args, environment),
            Self::Check(args) => return check::execute(&args, environment),
            Self::Repair(args) => return repair::execute(&args, environment),
            Self::Status(args) => status::execute(&args, environment),
            Self::Gc(args) => gc::execute(&args, environment),
            Self::Network(verb) => verb.execute(environment),
            Self::Node(verb) => verb.execute(environment),
            Self::Inspect(args) => inspect::execute(&args, environment),
            Self::Leases(args) => leases::execute(&args, environment),
            Self::Ps(args) => ps::execute(&args, environment),
            Self::Graph(args) => graph::execute(&args, environment),
            Self::Generate(args) => generate::execute(&args, command_line),
            Self::Port(args) => port::execute(&args, environment),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
