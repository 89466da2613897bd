//! The `cleat` command: a CNI runtime for people.
//!
//! `add`, `del`, `check`, `status` and `gc` keep the environment, the container IDs and the result cache of libcni's own
//! `cnitool`, so that either program can go on with what the other began. `run` gives a command a network namespace
//! of its own, attached to networks for as long as the command lives; `network` writes conflists, and takes running
//! containers, of any runtime, on and off networks.
//!
//! There is no daemon and no state of its own but for what `run` has running: networks are the files in `NETCONFPATH`,
//! attachments are what the runtimes' result cache, the registry of names and the kernel say (`inventory`).
//!
//! This crate does a runtime's work and none of a plugin's: it configures no interface, writes no lease and no
//! packet filter. All of that is done by the programs in `CNI_PATH`, and by the plugins' libraries where no verb of the
//! contract fits: `repair` of a bridge, the leases of a network, the published ports.

mod age;
mod agent;
mod attach;
mod commands;
mod conf;
mod container;
mod container_id;
mod docker;
mod endpoint;
mod env_file;
mod environment;
mod error;
mod foreign_options;
mod graph;
mod handshake;
mod inventory;
mod launch;
mod listeners;
mod mounts;
mod netns;
mod network;
mod output;
mod own_files;
mod place;
mod ports;
mod processes;
mod registered;
mod resolv;
mod runs;
mod runtime;
mod sandbox;
mod shared_network;
mod signals;
mod spec;
mod suggestion;
mod template;
mod user;
mod volumes;
mod way_out;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use cni::shorten;

use commands::Verb;
pub use conf::{Finding, check_content};
use environment::Environment;
pub use error::Error;

/// Container networks from the command line.
#[derive(Debug, Parser)]
#[command(name = "cleat", bin_name = "cleat", version, max_term_width = 110, after_help = VARIABLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const VARIABLES: &str = "\
Environment, as cnitool has it:
  CNI_PATH     folders of plugins, separated by colons [default: /opt/cni/bin:/usr/lib/cni:/usr/libexec/cni]
  NETCONFPATH  folder of network configurations [default: /etc/cni/net.d]
  CNI_IFNAME   interface inside the container [default: eth0]
  CNI_ARGS     KEY=value;KEY=value for the plugins
  CAP_ARGS     JSON object, by capability, for the plugins that declare it";

/// Executes the command line. Errors and their cures go to standard error.
///
/// The exit code is 0, 1 where cleat itself failed, and for `run` that of the command: 128 and the signal's number
/// where a signal ended it, 126 or 127 where it could not be executed, as in a shell.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return usage(&refusal, std::env::args_os().nth(1).is_some_and(|verb| verb == "run")),
    };
    let outcome = Environment::read().and_then(|environment| cli.verb.execute(&environment, &Cli::command()));
    outcome.unwrap_or_else(|error| {
        output::fail(&shorten(error.to_string()), error.cure().as_deref());
        ExitCode::from(error.exit_code())
    })
}

/// Help and version go to standard output and are a success; everything else is a mistake on the command line. That of a
/// `run` must not look like the exit code of its command.
fn usage(refusal: &clap::Error, is_run: bool) -> ExitCode {
    if !refusal.use_stderr() {
        return refusal.print().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let Some(ContextValue::String(option)) = refusal.get(ContextKind::InvalidArg)
        && is_run
        && refusal.kind() == ErrorKind::UnknownArgument
        && let Some(reason) = foreign_options::reason(option)
    {
        output::fail(&format!("use {option} with run: {reason}"), None);
        return ExitCode::from(error::NOT_RUN);
    }
    let text = refusal.render().to_string();
    // Without a verb it is the help, which has no such beginning.
    let text = text.strip_prefix("error: ").map_or(text.clone(), |text| format!("cleat: {text}"));
    output::tell(&text);
    if is_run { ExitCode::from(error::NOT_RUN) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn refuses(line: &str) -> String {
        Cli::try_parse_from(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn everything_after_the_command_belongs_to_it() {
        let line = "cleat run -p 80 --link db:sql -e A=b=c --name web sh -c -p";
        let Verb::Run(args) = Cli::try_parse_from(line.split(' ')).unwrap().verb else {
            panic!("another verb");
        };
        assert_eq!(args.spec.command, ["sh", "-c", "-p"]);
        assert_eq!(args.name.as_deref(), Some("web"));
        assert!(Cli::try_parse_from(["cleat", "run", "--", "-odd"]).is_ok());
        assert!(refuses("cleat run --name web").contains("COMMAND"));
    }

    #[test]
    fn a_wrong_value_names_its_option_and_the_reason() {
        let text = refuses("cleat run -p 80:x true");
        assert!(text.contains("--publish") && text.contains("\"80:x\": ports are 1 to 65535"), "{text}");
        let text = refuses("cleat run -e K true");
        assert!(text.contains("--env") && text.contains("write it as KEY=value"), "{text}");
    }

    #[test]
    fn the_namespace_may_be_left_out_only_where_an_id_is_given() {
        assert!(Cli::try_parse_from(["cleat", "del", "net", "--id", "a"]).is_ok());
        assert!(refuses("cleat del net").contains("NETNS"));
        assert!(refuses("cleat add net --id a").contains("NETNS"));
        assert!(Cli::try_parse_from(["cleat", "gc", "net"]).is_ok());
        assert!(Cli::try_parse_from(["cleat", "status", "net", "/run/netns/a"]).is_ok());
    }
}
