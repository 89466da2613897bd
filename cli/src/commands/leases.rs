//! `cleat leases`: the addresses of a network, and whose they are.

use std::collections::BTreeMap;

use host_local::{Lease, Leases};
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::network::leases;
use crate::output::{self, BAD, Cell, Form, GOOD, Table};
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat leases`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Tells each range, then each lease. A lease whose container has gone is stale: `cleat gc` gives it back.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let list = runtime.find(&args.network)?;
    let sets = leases(&list)?;
    if sets.is_empty() {
        return Err(Error::refused(
            format!("read leases of network {}", list.name),
            "its addresses are not host-local's",
            "ask the plugin that \"ipam\" names",
        ));
    }
    let inventory = Inventory::read(&runtime)?;
    let holders = Holders::of(inventory.members_of(list.name.as_str()));
    if args.form.is_json() {
        return output::json(&sets.iter().map(|set| object(set, &holders)).collect::<Vec<Value>>());
    }
    output::tables(&[ranges(&sets, &holders), table(&sets, &holders)])
}

/// The attachments of a network, by container and interface.
pub(crate) struct Holders<'a>(BTreeMap<(&'a str, &'a str), &'a Attached>);

impl<'a> Holders<'a> {
    pub(crate) fn of(attachments: impl Iterator<Item = &'a Attached>) -> Self {
        let key = |attached: &'a Attached| {
            let attachment = &attached.attachment;
            ((attachment.container_id.as_str(), attachment.ifname.as_str()), attached)
        };
        Self(attachments.map(key).collect())
    }

    /// The attachment that holds a lease, where it lives. Leases of old programs do not name the interface.
    pub(crate) fn living(&self, lease: &Lease) -> Option<&'a Attached> {
        let is_it = |(container_id, ifname): &(&str, &str)| {
            *container_id == lease.container_id && lease.ifname.as_deref().is_none_or(|name| name == *ifname)
        };
        let found = self.0.iter().find(|(key, _)| is_it(key)).map(|(_, attached)| *attached);
        found.filter(|attached| !attached.is_gone())
    }
}

fn stale(set: &Leases, holders: &Holders<'_>) -> usize {
    set.used.iter().filter(|lease| holders.living(lease).is_none()).count()
}

fn ranges(sets: &[Leases], holders: &Holders<'_>) -> Table {
    let mut table = Table::new(&["RANGE", "USED", "FREE", "NEXT", "STALE"]);
    for set in sets {
        let stale = stale(set, holders);
        table.row([
            set.ranges.as_str().into(),
            set.used.len().to_string().into(),
            set.free.to_string().into(),
            set.next.map_or_else(|| Cell::styled("none", BAD), |next| next.to_string().into()),
            if stale == 0 { "0".into() } else { Cell::styled(stale.to_string(), BAD) },
        ]);
    }
    table
}

fn table(sets: &[Leases], holders: &Holders<'_>) -> Table {
    let mut table = Table::new(&["ADDRESS", "NAME", "CONTAINER ID", "INTERFACE", "STATE"]);
    for lease in sets.iter().flat_map(|set| &set.used) {
        let holder = holders.living(lease);
        table.row([
            lease.address.to_string().into(),
            holder.map(Attached::name).unwrap_or_default().into(),
            registry::short_id(&lease.container_id).into(),
            lease.ifname.clone().unwrap_or_default().into(),
            if holder.is_some() { Cell::styled("used", GOOD) } else { Cell::styled("stale", BAD) },
        ]);
    }
    table
}

fn object(set: &Leases, holders: &Holders<'_>) -> Value {
    let used: Vec<Value> = set
        .used
        .iter()
        .map(|lease| {
            let holder = holders.living(lease);
            json!({"address": lease.address, "containerID": lease.container_id, "ifname": lease.ifname,
                "name": holder.map(Attached::name), "stale": holder.is_none()})
        })
        .collect();
    // An IPv6 range has more addresses than a JSON number can be relied upon to hold.
    json!({"ranges": set.ranges, "size": set.size.to_string(), "free": set.free.to_string(),
        "next": set.next, "stale": stale(set, holders), "used": used})
}
