//! `cleat conf`: checks network configurations without making an attachment.

use std::path::PathBuf;
use std::process::ExitCode;

use cni::NetworkList;
use ipnetwork::IpNetwork;
use netlink::{Route, Socket};

use crate::conf::{self, Surroundings};
use crate::environment::Environment;
use crate::error::Error;
use crate::output::{self, Form};

const CODES: &str = "The exit code is 0 where nothing is wrong, and 1 otherwise.";

/// What to do with configurations.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Check keys, values, plugins and subnets, and print each mistake with its place
    #[command(after_help = CODES)]
    Check(CheckArgs),
}

/// The arguments of `cleat conf check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Files, or folders of them [default: the folder NETCONFPATH]
    files: Vec<PathBuf>,
    #[command(flatten)]
    form: Form,
    /// Leave this host out of it: look neither for plugins nor for its routes
    #[arg(long)]
    files_only: bool,
}

/// Does what the verb says.
pub(crate) fn execute(verb: &Verb, environment: &Environment) -> Result<ExitCode, Error> {
    let Verb::Check(args) = verb;
    let files = files(&args.files, environment)?;
    let surroundings = if args.files_only {
        None
    } else {
        Some(Surroundings { path: environment.path.clone(), routes: routes()? })
    };
    let findings = conf::check(&files, surroundings.as_ref());
    if args.form.is_json() {
        output::json(&findings)?;
    } else {
        let count = match findings.len() {
            0 => "nothing is wrong".to_owned(),
            1 => "1 mistake".to_owned(),
            mistakes => format!("{mistakes} mistakes"),
        };
        let files = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
        let lines = findings.iter().map(ToString::to_string).chain([format!("{files}: {count}\n")]);
        output::text(&lines.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files to check: those named, and those of the folders named, in the order in which runtimes read them.
fn files(named: &[PathBuf], environment: &Environment) -> Result<Vec<PathBuf>, Error> {
    let all = |folder| NetworkList::files(folder).map_err(Error::contract("look for configurations"));
    if named.is_empty() {
        let files = all(&environment.folder)?;
        if files.is_empty() {
            return Err(Error::Choice { folder: environment.folder.clone(), names: Vec::new() });
        }
        return Ok(files);
    }
    let files = named.iter().map(|path| if path.is_dir() { all(path) } else { Ok(vec![path.clone()]) });
    Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The destinations of this host's routes, but for default routes, and the link of each.
fn routes() -> Result<Vec<(IpNetwork, String)>, Error> {
    let mut socket = Socket::open()?;
    let mut routes = Vec::new();
    // Only the main table (`RT_TABLE_MAIN`, linux/rtnetlink.h): that of local addresses has the same again.
    let is_main = |route: &Route| route.table.is_none_or(|table| table == 254);
    for route in socket.all_routes()?.into_iter().filter(is_main) {
        let Some(link) = route.oif.map(|index| socket.get_link_by_index(index)).transpose()?.flatten() else {
            continue;
        };
        if route.dst.prefix() > 0 && !is_of_every_link(route.dst) {
            routes.push((route.dst, link.name));
        }
    }
    Ok(routes)
}

/// Link-local and multicast addresses, which are routed on every link.
fn is_of_every_link(dst: IpNetwork) -> bool {
    match dst {
        IpNetwork::V4(dst) => dst.ip().is_link_local() || dst.ip().is_multicast(),
        IpNetwork::V6(dst) => dst.ip().is_unicast_link_local() || dst.ip().is_multicast(),
    }
}
