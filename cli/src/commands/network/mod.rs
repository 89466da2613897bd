//! `cleat network`: its verbs, one a file.

mod connect;
mod container;
mod create;
mod disconnect;
mod inspect;
mod join;
mod known;
mod leave;
mod ls;
mod new;
mod options;
mod part;
mod prune;
mod rm;
mod wide;

use clap::Subcommand;

use crate::environment::Environment;
use crate::error::Error;

/// A verb about networks with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the configuration of a new network, and print its ID
    Create(create::Args),
    /// Take this host into an overlay network that another host created, and print its ID
    Join(join::Args),
    /// Take this host off an overlay network
    Leave(leave::Args),
    /// List the networks
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Describe networks and who is on them
    Inspect(inspect::Args),
    /// Remove networks that nobody is on
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove every network that was created here and that nobody is on
    Prune(prune::Args),
    /// Attach a running container to a further network
    Connect(connect::Args),
    /// Take a running container off a network
    Disconnect(disconnect::Args),
}

impl Verb {
    /// Does what the verb says.
    pub(crate) fn execute(&self, environment: &Environment) -> Result<(), Error> {
        match self {
            Self::Create(args) => create::execute(args, environment),
            Self::Join(args) => join::execute(args, environment),
            Self::Leave(args) => leave::execute(args, environment),
            Self::Ls(args) => ls::execute(args, environment),
            Self::Inspect(args) => inspect::execute(args, environment),
            Self::Rm(args) => rm::execute(args, environment),
            Self::Prune(args) => prune::execute(args, environment),
            Self::Connect(args) => connect::execute(args, environment),
            Self::Disconnect(args) => disconnect::execute(args, environment),
        }
    }
}
