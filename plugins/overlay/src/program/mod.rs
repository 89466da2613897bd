//! The program: its command line, the agent's process, and what is asked of an engine or of this node once.

mod arguments;
mod board;
mod commands;
mod conf_file;
mod error;
mod folder;
mod health;
mod identity;
mod log;
mod metrics;
mod remove;
mod run;
mod tasks;

use std::process::ExitCode;

use clap::Parser;
use cni::NetworkName;

use arguments::{Arguments, Command};
use error::Error;
use log::{Priority, log};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::init(arguments.journal_stream.as_deref());
    match perform(arguments.command.unwrap_or(Command::Run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(Priority::Error, error);
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<(), Error> {
    match command {
        Command::Run => run::run(),
        Command::Create { network } => commands::create(&name(network)?),
        Command::Show { network, conf } => commands::show(&name(network)?, conf.is_some()),
        Command::Nodes { network } => commands::nodes(&name(network)?),
        Command::RemoveNode { network, node, force } => commands::remove_node(&name(network)?, &node, force),
        Command::Remove { network, force } => remove::remove(&name(network)?, force),
        Command::Delete { network, conf, force } => commands::delete(&name(network)?, conf.is_some(), force),
    }
}

fn name(network: String) -> Result<NetworkName, Error> {
    NetworkName::new(network).map_err(|error| Error::Plain(error.to_string()))
}
