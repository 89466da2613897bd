//! `cleat node`: the nodes of overlay networks, its verbs one a file.

mod inspect;
mod known;
mod ls;
mod rm;
mod sync;

use clap::Subcommand;

use crate::environment::Environment;
use crate::error::Error;

/// A verb about nodes with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the nodes of an overlay network
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Describe a node of an overlay network
    Inspect(inspect::Args),
    /// Take a node that has gone for good out of an overlay network
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Have this host's agent compare an overlay network with its engine and the kernel at once
    Sync(sync::Args),
}

impl Verb {
    /// Does what the verb says.
    pub(crate) fn execute(&self, environment: &Environment) -> Result<(), Error> {
        match self {
            Self::Ls(args) => ls::execute(args, environment),
            Self::Inspect(args) => inspect::execute(args, environment),
            Self::Rm(args) => rm::execute(args, environment),
            Self::Sync(args) => sync::execute(args, environment),
        }
    }
}
