//! The part of a repair that is the agent's of overlay networks: the device, routes, neighbours and the other nodes.

use std::thread;
use std::time::{Duration, Instant};

use cni::NetworkName;

use crate::agent::{self, Problem, START};
use crate::inventory::Inventory;
use crate::network::overlay;
use crate::output;

/// How long the agent may take until nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Has the agent compare what there is with what should be, of all overlay networks or the one of a name; `dry_run` only tells what
/// is wrong. Says whether nothing is left.
pub(super) fn sync(inventory: &Inventory, wanted: Option<&str>, dry_run: bool) -> bool {
    let mut is_well = true;
    let lists =
        inventory.networks.iter().filter(|list| wanted.is_none_or(|wanted| wanted == list.name.as_str()));
    for (list, overlay) in lists.filter_map(|list| Some((list, overlay(list)?))) {
        let before = agent::problems(&overlay);
        let (told, is_mended) = if dry_run {
            (before.iter().map(Problem::told).collect(), before.is_empty())
        } else {
            of_one(&overlay, &before)
        };
        is_well &= is_mended;
        for what in told {
            output::tell(&format!("cleat: network {}: {what}\n", list.name));
        }
    }
    is_well
}

/// What is to be said, and whether all is well.
fn of_one(network: &NetworkName, before: &[Problem]) -> (Vec<String>, bool) {
    match agent::sync(network, false) {
        Ok(true) => {}
        Ok(false) => {
            return (
                vec![format!("the agent cleat-overlay, which repairs it, does not run: {START}")],
                false,
            );
        }
        Err(error) => return (vec![error.to_string()], false),
    }
    let start = Instant::now();
    loop {
        let left = agent::problems(network);
        if left.is_empty() || start.elapsed() > PATIENCE {
            let mended = before.iter().filter(|problem| !left.contains(problem));
            let mended = mended.map(|problem| format!("mended: {}", problem.what));
            let told = mended.chain(left.iter().map(Problem::told)).collect();
            return (told, left.is_empty());
        }
        thread::sleep(PAUSE);
    }
}
