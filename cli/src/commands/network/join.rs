//! `cleat network join`: takes this host into an overlay network that another host created.

use cni::{NetworkList, NetworkName, cidr};

use super::new::{self, HostOptions};
use super::part::Part;
use crate::agent::{self, Conf, NodeOptions, Own, Program, Shared};
use crate::environment::Environment;
use crate::error::Error;
use crate::network::{Folder, Pool, Taken, Wanted, overlay};
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat network join`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    name: String,
    #[command(flatten)]
    host: HostOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// Also where this host is on it already, or on another network of this name: what was known of that is forgotten
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Writes the agent's file and the conflist, waits for this node's block, and prints the network's ID.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("join network {}", args.name);
    let name = NetworkName::new(args.name.as_str()).map_err(Error::contract(doing.as_str()))?;
    if args.host.options.iter().any(|option| option.is_shared() || option.mtu.is_some()) {
        let reason = "encryption, VNI, port and MTU are the same on all nodes";
        return Err(Error::refused(doing, reason, "they are given when the network is created"));
    }
    if let Some((key, _)) = args.host.upper().first() {
        let reason =
            format!("{key} is an option of drivers macvlan and ipvlan, whose networks are of one host");
        return Err(Error::refused(doing, reason, "leave it out"));
    }
    let conf = args.node.conf(&doing)?;
    let program = Program::find(&doing)?;
    let runtime = Runtime::new(environment, &args.cache);
    let folder = Folder::lock(&environment.folder)?;
    let networks = runtime.networks();
    let known = networks.iter().find(|list| list.name == name);
    if let Some(other) = known.filter(|list| overlay(list).as_ref() != Some(&name)) {
        let file = other.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        let reason = format!("this host has another network of that name, in {file}");
        return Err(Error::refused(doing, reason, format!("`cleat network rm {name}` removes it first")));
    }
    // Also one that cannot be read is not written over unasked.
    let earlier = if args.force { None } else { Conf::read(&name)? };
    let shared = program.show(&name, &conf)?;
    if !args.force {
        expect_new(&name, earlier.as_ref(), known, &shared, &doing)?;
    }
    let bridge = args.host.bridge(&args.name, &networks, &doing)?;
    let own = Own::of(&name).prefixes;
    let others: Vec<NetworkList> = networks.iter().filter(|list| list.name != name).cloned().collect();
    let pools = pools(&shared, &new::taken(&runtime, &others, (&bridge, &own), &doing)?, &doing)?;
    let wanted = Wanted { overlay: Some(&args.name), ..args.host.wanted(&args.name, &bridge, &pools) };
    let conf = Conf { id: Some(shared.id), ..conf };
    let part = Part { program: &program, network: &name, conf: &conf };
    if args.force {
        // What this host knew goes, also where its file has gone: the engine may have another network of this name by now.
        if !agent::file(&name).exists() {
            conf.write(&name)?;
        }
        part.end(true)?;
    }
    let text = new::text(&wanted, &runtime, &doing)?;
    match known {
        None => part.begin(&folder, &text)?,
        Some(list) => {
            folder.replace(list, &text)?;
            conf.write(&name)?;
            part.wait()?;
        }
    }
    output::text(&format!("{}\n", crate::network::id(&args.name)))
}

/// Refuses where this host is on the network already, or on another one of the name.
fn expect_new(
    name: &NetworkName,
    earlier: Option<&Conf>,
    known: Option<&NetworkList>,
    shared: &Shared,
    doing: &str,
) -> Result<(), Error> {
    let file = agent::file(name);
    let (reason, cure) = match (earlier, known) {
        (None, None) => return Ok(()),
        (Some(Conf { id: Some(id), .. }), _) if *id != shared.id => (
            format!("the engine has network {}, and this host is on {id} of the same name", shared.id),
            "--force forgets the network that this host is on; containers keep their addresses".to_owned(),
        ),
        (Some(_), _) => (
            format!("this host is on it, by {}", file.display()),
            format!("`cleat network leave {name}` first, or --force writes its files anew"),
        ),
        (None, Some(_)) => (
            format!("it has a conflist on this host, but no {}", file.display()),
            "--force writes both anew".to_owned(),
        ),
    };
    Err(Error::refused(doing, reason, cure))
}

/// The network's prefixes, unless one of them has addresses that are in use on this host.
fn pools(shared: &Shared, taken: &Taken, doing: &str) -> Result<Vec<Pool>, Error> {
    let pool = |prefix: &String| {
        let refuse = |reason: String, cure: &str| Error::refused(doing, reason, cure);
        let useless = "the engine has what no node can use: create the network anew";
        let subnet = cidr::parse(prefix).map_err(|reason| refuse(reason, useless))?;
        match taken.holder(subnet) {
            Some(holder) => Err(refuse(
                format!("the network's subnet {subnet} overlaps with {holder}"),
                "remove that, or create the network with a --subnet that is free on all its hosts",
            )),
            None => Pool::new(subnet, None, None).map_err(|reason| refuse(reason, useless)),
        }
    };
    shared.prefixes.iter().map(pool).collect()
}
