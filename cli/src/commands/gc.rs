//! `cleat gc`: removes what is left of attachments whose namespace has gone.
//!
//! `cnitool gc` names no valid attachment, and so removes every one. This keeps all attachments whose namespace lives, by what
//! the caches say, or by what the kernel shows where they say nothing or cannot be read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cni::{Attachment, NetworkList};
use serde::Serialize;

use super::View;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory, Kept, Kernel};
use crate::netns::Life;
use crate::network::leases;
use crate::output::{self, Cell, Table};
use crate::runs;
use crate::runtime::{Making, Runtime};

const CAUTION: &str = "Plugins remove everything of a network but what is in the result cache or registered by name with a \
namespace that lives, and what the kernel shows to lead to one, whichever program made it. What a damaged file of the \
cache may be of is kept, until the file is removed.";

/// The arguments of `cleat gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = CAUTION)]
pub(crate) struct Args {
    /// Name of the network [default: all of them, and then --force is needed to do it]
    network: Option<String>,
    /// Ignored; accepted because cnitool has it
    #[arg(value_name = "NETNS")]
    _netns: Option<PathBuf>,
    /// Remove what was found on all networks
    #[arg(short, long, visible_alias = "yes")]
    force: bool,
    #[command(flatten)]
    view: View,
}

/// One network, or all. Without --force, nothing is removed from all of them.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.view.cache);
    let one = args.network.as_ref().map(|network| runtime.find(network)).transpose()?;
    let _lock = runtime.lock_exclusive()?;
    let inventory = Inventory::read(&runtime)?;
    let kernel = Kernel::at_rest()?;
    if let Some(list) = one {
        runs::sweep()?;
        let kept = inventory.survivors(&kernel, &list)?;
        tell_unknown(inventory.members_of(list.name.as_str()));
        tell_survivors(&kept);
        return collect(&runtime, &inventory, &list, &kept);
    }
    let mut errors = Vec::new();
    let mut survivors: Vec<(&NetworkList, Vec<Kept>)> = Vec::new();
    for list in &inventory.networks {
        match inventory.survivors(&kernel, list) {
            Ok(kept) => survivors.push((list, kept)),
            Err(error) => errors.push(error),
        }
    }
    let left = left(&inventory, &survivors)?;
    let kept: Vec<Kept> = survivors.iter().flat_map(|(_, kept)| kept.iter().cloned()).collect();
    if args.view.form.is_json() {
        output::json(&left)?;
        tell_survivors(&kept);
    } else if kept.is_empty() {
        output::tables(&[table(&left)])?;
    } else {
        output::tables(&[table(&left), table_of_kept(&kept)])?;
    }
    tell_unknown(&inventory.attachments);
    if !args.force {
        if !left.is_empty() && !args.view.form.is_json() {
            output::tell("cleat: nothing was removed: --force does it\n");
        }
        return Error::all(errors);
    }
    inventory.expect_whole("collect what is left")?;
    runs::sweep()?;
    errors
        .extend(survivors.iter().filter_map(|(list, kept)| collect(&runtime, &inventory, list, kept).err()));
    // On networks without a configuration, there are no plugins to call with GC.
    let dead = inventory.attachments.iter().filter(|attached| attached.is_gone());
    for attached in dead.filter(|dead| inventory.network(dead.attachment.network.as_str()).is_none()) {
        errors.extend(remove_dead(&runtime, attached).err());
    }
    Error::all(errors)
}

/// Removes a network's dead attachments with the configuration they were made with, then calls the plugins with GC. What is in
/// `kept` stays, and what lives as far as the inventory knows. The caller has the lock.
pub(super) fn collect(
    runtime: &Runtime<'_>,
    inventory: &Inventory,
    list: &NetworkList,
    kept: &[Kept],
) -> Result<(), Error> {
    let doing = || format!("collect what is left on network {}", list.name);
    inventory.expect_whole(&doing())?;
    runtime.cache.remove_unfinished().map_err(Error::contract(doing()))?;
    let (mut valid, mut errors) = (Vec::new(), Vec::new());
    for attached in inventory.members_of(list.name.as_str()) {
        match &attached.life {
            Life::Alive | Life::Unknown(_) => {}
            Life::Gone => match remove_dead(runtime, attached) {
                Ok(()) => continue,
                Err(error) => errors.push(error),
            },
            Life::Unreadable(reason) => errors.push(Error::refused(
                format!("find out whether the container of {} has ended", attached.attachment),
                reason.clone(),
                "what it has was kept; try again",
            )),
        }
        // What could not be removed is kept for the next time. Otherwise the rest of it would stay for ever.
        let Attachment { container_id, ifname, .. } = &attached.attachment;
        valid.push((container_id.clone(), ifname.clone()));
    }
    // All attachments that a damaged file may be of are kept.
    let damaged = inventory.damaged.iter().flat_map(|file| file.candidates(&list.name));
    let further = kept.iter().map(|kept| kept.attachment.clone()).chain(damaged);
    valid.extend(further.map(|Attachment { container_id, ifname, .. }| (container_id, ifname)));
    valid.sort();
    valid.dedup();
    errors.extend(runtime.chain(list).gc(&valid).map_err(Error::contract(doing())).err());
    Error::all(errors)
}

/// Reports the attachments of which it is not known whether they live. Loopback interfaces leave nothing.
fn tell_unknown<'a>(attachments: impl IntoIterator<Item = &'a Attached>) {
    for attached in attachments {
        if let Life::Unknown(reason) = &attached.life
            && !attached.is_loopback()
        {
            output::tell(&format!("cleat: kept {}: {reason}\n", attached.attachment));
        }
    }
}

fn tell_survivors(kept: &[Kept]) {
    for Kept { attachment, reason } in kept {
        output::tell(&format!("cleat: kept {attachment}: {reason}\n"));
    }
}

fn table_of_kept(kept: &[Kept]) -> Table {
    let row = |Kept { attachment, reason }: &Kept| {
        [
            attachment.network.as_str().into(),
            format!("interface {}", attachment.ifname).into(),
            registry::short_id(attachment.container_id.as_str()).into(),
            reason.as_str().into(),
        ]
    };
    Table::of(["NETWORK", "KEPT", "OF", "WHY"], kept.iter().map(row))
}

fn remove_dead(runtime: &Runtime<'_>, attached: &Attached) -> Result<(), Error> {
    // A member without a cache entry is removed by GC of the plugin that registered it.
    let Some(entry) = attached.entry.clone() else { return Ok(()) };
    // The path may lead to the namespace of another process by now, which no plugin may touch.
    let making = Making::within(entry, PathBuf::new())?;
    runtime.del(&making, &attached.attachment)
}

/// Something of an attachment that is not needed any more.
#[derive(Serialize)]
struct Left {
    network: String,
    what: String,
    whose: String,
}

/// What can be found without calling the plugins: dead attachments, and leases without an attachment.
fn left(inventory: &Inventory, survivors: &[(&NetworkList, Vec<Kept>)]) -> Result<Vec<Left>, Error> {
    let dead = inventory.attachments.iter().filter(|attached| attached.is_gone());
    let mut all: Vec<Left> = dead
        .map(|attached| Left {
            network: attached.attachment.network.to_string(),
            what: format!("interface {}, {}", attached.attachment.ifname, attached.addresses().join(", ")),
            whose: attached.called(),
        })
        .collect();
    for (list, kept) in survivors {
        let members = inventory.members_of(list.name.as_str()).map(|attached| attached.attachment.clone());
        let known = members.chain(kept.iter().map(|kept| kept.attachment.clone()));
        let known = known.chain(inventory.damaged.iter().flat_map(|file| file.candidates(&list.name)));
        let known: BTreeSet<String> = known.map(|known| known.container_id.to_string()).collect();
        let leases = leases(list)?.into_iter().flat_map(|set| set.used);
        all.extend(leases.filter(|lease| !known.contains(&lease.container_id)).map(|lease| Left {
            network: list.name.to_string(),
            what: format!("lease of {}", lease.address),
            whose: registry::short_id(&lease.container_id),
        }));
    }
    Ok(all)
}

fn table(left: &[Left]) -> Table {
    let row = |left: &Left| [&left.network, &left.what, &left.whose].map(Cell::from);
    Table::of(["NETWORK", "LEFT", "OF"], left.iter().map(row))
}
