//! `cleat leases`: the addresses of a network, and which containers have them.

use cni::Attachment;
use host_local::{Lease, Leases};
use serde_json::{Value, json};

use super::View;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::network::leases;
use crate::output::{self, BAD, Cell, GOOD, Table};
use crate::runtime::Runtime;

/// The arguments of `cleat leases`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    #[command(flatten)]
    view: View,
}

/// Lists the ranges, then the leases. A lease whose container has gone is stale: `cleat gc` removes it.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.view.cache);
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
    let members: Vec<&Attached> = inventory.members_of(list.name.as_str()).collect();
    if args.view.form.is_json() {
        return output::json(&sets.iter().map(|set| object(set, &members)).collect::<Vec<Value>>());
    }
    output::tables(&[ranges(&sets, &members), table(&sets, &members)])
}

/// The attachment of a lease, where it lives. Leases of old programs do not name the interface.
fn holder<'a>(members: &[&'a Attached], lease: &Lease) -> Option<&'a Attached> {
    let is_it = |attached: &&&Attached| {
        let Attachment { container_id, ifname, .. } = &attached.attachment;
        container_id.as_str() == lease.container_id
            && lease.ifname.as_deref().is_none_or(|name| name == ifname.as_str())
    };
    members.iter().find(is_it).copied().filter(|attached| !attached.is_gone())
}

fn stale(set: &Leases, members: &[&Attached]) -> usize {
    set.used.iter().filter(|lease| holder(members, lease).is_none()).count()
}

fn ranges(sets: &[Leases], members: &[&Attached]) -> Table {
    let row = |set: &Leases| {
        let stale = stale(set, members);
        [
            set.ranges.as_str().into(),
            set.used.len().to_string().into(),
            set.free.to_string().into(),
            set.next.map_or_else(|| Cell::styled("none", BAD), |next| next.to_string().into()),
            if stale == 0 { "0".into() } else { Cell::styled(stale.to_string(), BAD) },
        ]
    };
    Table::of(["RANGE", "USED", "FREE", "NEXT", "STALE"], sets.iter().map(row))
}

fn table(sets: &[Leases], members: &[&Attached]) -> Table {
    let row = |lease: &Lease| {
        let holder = holder(members, lease);
        [
            lease.address.to_string().into(),
            holder.map(Attached::name).unwrap_or_default().into(),
            registry::short_id(&lease.container_id).into(),
            lease.ifname.clone().unwrap_or_default().into(),
            if holder.is_some() { Cell::styled("used", GOOD) } else { Cell::styled("stale", BAD) },
        ]
    };
    let leases = sets.iter().flat_map(|set| &set.used);
    Table::of(["ADDRESS", "NAME", "CONTAINER ID", "INTERFACE", "STATE"], leases.map(row))
}

fn object(set: &Leases, members: &[&Attached]) -> Value {
    let lease = |lease: &Lease| {
        let holder = holder(members, lease);
        json!({"address": lease.address, "containerID": lease.container_id, "ifname": lease.ifname,
            "name": holder.map(Attached::name), "stale": holder.is_none()})
    };
    // An IPv6 range has more addresses than a JSON number can be relied upon to hold.
    json!({"ranges": set.ranges, "size": set.size.to_string(), "free": set.free.to_string(),
        "next": set.next, "stale": stale(set, members), "used": set.used.iter().map(lease).collect::<Vec<_>>()})
}
