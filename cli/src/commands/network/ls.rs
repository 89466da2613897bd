//! `cleat network ls`: the networks of the folder of configurations, and those that every host has.

use serde_json::{Value, json};

use super::known::BUILT_IN;
use crate::commands::View;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::network::{Described, id};
use crate::output::{self, Cell, FAINT, Table};
use crate::runtime::Runtime;

/// How much of an ID people are shown.
const SHORT: usize = 12;

/// The arguments of `cleat network ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    view: View,
}

/// Lists them by name.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.view.cache))?;
    let mut networks: Vec<Described> = inventory.networks.iter().map(Described::of).collect();
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    if args.quiet {
        let names: String = networks.iter().flat_map(|network| [network.name.as_str(), "\n"]).collect();
        return output::text(&names);
    }
    let members = |network: &Described| inventory.members_of(&network.name).count();
    args.view.form.show(|| objects(&networks, members), || table(&networks, members))
}

fn table(networks: &[Described], members: impl Fn(&Described) -> usize) -> Table {
    let row = |id: &str, [name, driver, scope]: [&str; 3], subnets: String, members: String| {
        let id = Cell::styled(&id[..SHORT], FAINT);
        [id, name.into(), driver.into(), scope.into(), subnets.into(), members.into()]
    };
    let created = networks.iter().map(|network| {
        let members = members(network).to_string();
        let words = [&*network.name, &*network.driver, network.scope()];
        row(&network.id, words, subnets(network).join(", "), members)
    });
    let built_in =
        BUILT_IN.map(|(name, driver)| row(&id(name), [name, driver, "local"], String::new(), String::new()));
    let heading = ["NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET", "CONTAINERS"];
    Table::of(heading, created.chain(built_in))
}

fn subnets(network: &Described) -> Vec<String> {
    network.pools.iter().map(|pool| pool.subnet.to_string()).collect()
}

fn objects(networks: &[Described], members: impl Fn(&Described) -> usize) -> Vec<Value> {
    let created = networks.iter().map(|network| {
        json!({"ID": network.id, "Name": network.name, "Driver": network.driver, "Scope": network.scope(),
            "Subnets": subnets(network), "Containers": members(network)})
    });
    let built_in = BUILT_IN
        .map(|(name, driver)| json!({"ID": id(name), "Name": name, "Driver": driver, "Scope": "local"}));
    created.chain(built_in).collect()
}
