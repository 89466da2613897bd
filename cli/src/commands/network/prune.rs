//! `cleat network prune`: removes the networks of `network create` that have no containers.

use std::io::{self, BufRead};

use cni::NetworkList;

use super::known::names_on;
use super::rm;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::network::{Folder, is_created, overlay};
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat network prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Asks, removes networks and prints their names. Configurations that were not made by `network create` stay.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let names: Vec<String> = unused(&Inventory::read(&runtime)?).map(|list| list.name.to_string()).collect();
    if names.is_empty() {
        output::tell("cleat: no network that was created here is unused\n");
        return Ok(());
    }
    if !args.force && !confirm(&names)? {
        return Ok(());
    }
    let folder = Folder::lock(&environment.folder)?;
    let _lock = runtime.lock_exclusive()?;
    // Containers may have been attached before the question was answered.
    let inventory = Inventory::read(&runtime)?;
    let asked_about = unused(&inventory).filter(|list| names.iter().any(|name| name == list.name.as_str()));
    let errors = asked_about.filter_map(|list| rm::remove(&runtime, &folder, &inventory, list).err());
    Error::all(errors.collect())
}

/// An overlay network may be in use on other hosts, and this one may only wait for its first container.
fn unused(inventory: &Inventory) -> impl Iterator<Item = &NetworkList> {
    let is_unused = |list: &&NetworkList| names_on(inventory, list.name.as_str()).is_empty();
    let of_this_host = inventory.networks.iter().filter(|list| is_created(list) && overlay(list).is_none());
    of_this_host.filter(is_unused)
}

fn confirm(names: &[String]) -> Result<bool, Error> {
    // The answer may come from a pipe: `yes | cleat network prune`.
    let mut input = io::stdin().lock();
    output::tell(&format!("This removes {}. Go on? [y/N] ", names.join(", ")));
    let mut answer = String::new();
    let length = input.read_line(&mut answer).map_err(|error| Error::io("read the answer", error))?;
    if length == 0 {
        output::tell("\n");
        return Err(Error::refused("prune networks", "there is nobody to ask", "-f removes them unasked"));
    }
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
