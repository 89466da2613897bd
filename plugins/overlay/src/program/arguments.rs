//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(
    name = "cleat-overlay",
    version,
    about = "The agent of overlay networks: one network over many nodes"
)]
pub(crate) struct Arguments {
    /// What to do; without one, as `run`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Set by systemd where standard error is the journal's
    #[arg(long, env = "JOURNAL_STREAM", hide = true, hide_env = true, global = true)]
    pub(crate) journal_stream: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent for all networks of this node, until SIGTERM or SIGINT
    Run,
    /// Create a network in the engine, as an object on standard input describes it
    Create {
        /// The network
        network: String,
    },
    /// Print what the engine says of a network
    Show {
        /// The network
        network: String,
        /// Where the engine is said: with `-` on standard input, by default in the network's file
        #[arg(long)]
        conf: Option<From>,
    },
    /// Print the nodes of a network, as the engine knows them
    Nodes {
        /// The network
        network: String,
    },
    /// Take a node that is gone out of a network, so that its blocks are free
    RemoveNode {
        /// The network
        network: String,
        /// The node
        node: String,
        /// Also if it is alive
        #[arg(long)]
        force: bool,
    },
    /// Take a network off this node: its records in the engine, and all of it in the kernel
    Remove {
        /// The network
        network: String,
        /// Do not ask the engine: others keep this node's records until `remove-node`
        #[arg(long)]
        force: bool,
    },
    /// Delete a network that has no nodes from the engine
    Delete {
        /// The network
        network: String,
        /// Where the engine is said: with `-` on standard input, by default in the network's file
        #[arg(long)]
        conf: Option<From>,
        /// Also if it has nodes
        #[arg(long)]
        force: bool,
    },
}

/// Where a network's configuration is read from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum From {
    /// Standard input.
    #[value(name = "-")]
    Stdin,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> String {
        let error = Arguments::try_parse_from([&["cleat-overlay"], words].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{words:?}");
        error.to_string()
    }

    #[test]
    fn bad_command_lines_say_what_is_wrong() {
        for (words, says) in [
            (&["creat", "shop"][..], "create"),
            (&["create"], "<NETWORK>"),
            (&["show", "shop", "--conf", "/etc/conf"], "[possible values: -]"),
            (&["remove", "shop", "--forced"], "--force"),
            (&["remove-node", "shop"], "<NODE>"),
            (&["run", "shop"], "unexpected argument"),
        ] {
            let said = refused(words);
            assert!(said.contains(says), "{words:?}: {said}");
        }
    }

    #[test]
    fn without_a_command_the_agent_runs() {
        assert!(Arguments::try_parse_from(["cleat-overlay"]).unwrap().command.is_none());
        let arguments = Arguments::try_parse_from(["cleat-overlay", "show", "shop", "--conf", "-"]).unwrap();
        assert!(matches!(arguments.command, Some(Command::Show { conf: Some(From::Stdin), .. })));
    }
}
