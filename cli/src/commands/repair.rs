//! `cleat repair`: repairs what CHECK finds broken, from what the runtimes' result cache has of it.
//!
//! The interface itself is repaired in place, so that a container keeps its address and its connections. Of the plugins after
//! it, those that are known to complete their own work are called with ADD once more. Everything else needs DEL and ADD, which
//! interrupts the container. That is done with `--force` only, with the same addresses, and only where nothing is known that
//! would make ADD fail. An attachment that cannot be compared is left alone.
//!
//! Of a network itself, the bridge is closed as its file says by now. What leads to the other nodes of an overlay network is its
//! agent's, which is asked to look at all of it.

mod agent;
mod attachment;
mod network;
mod recreate;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::View;
use super::verdict::{BROKEN, REPAIRED, UNKNOWN, Verdict};
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::output::{self, Table};
use crate::runtime::Runtime;
use crate::way_out;

use attachment::Repair;

/// The arguments of `cleat repair`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network [default: all of them]
    network: Option<String>,
    /// Say what is broken, and what would be done about it
    #[arg(long)]
    dry_run: bool,
    /// Remove and make anew, with the same addresses, what cannot be put right in place: this interrupts the container
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    view: View,
}

/// Repairs what is broken, and reports it. The exit code is 1 where something is left.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let runtime = Runtime::new(environment, &args.view.cache);
    let _lock = runtime.lock_exclusive()?;
    let inventory = Inventory::read(&runtime)?;
    if args.force {
        inventory.expect_whole("repair by force")?;
    }
    let is_meant = |attached: &&Attached| {
        let network = attached.attachment.network.as_str();
        !attached.is_gone() && args.network.as_deref().is_none_or(|wanted| wanted == network)
    };
    let (mut all, mut outcomes) = (Vec::new(), Vec::new());
    for attached in inventory.attachments.iter().filter(is_meant) {
        match repair(attached) {
            Ok(repair) => all.extend(repair),
            Err(why) => outcomes.push(Outcome::new(Verdict { attached, state: UNKNOWN, why })),
        }
    }
    if args.dry_run {
        for repair in &mut all {
            repair.dry_run(&runtime);
        }
    } else {
        // A link may depend on another container that has to be repaired first.
        for _ in 0..2 {
            for repair in &mut all {
                repair.in_place(&runtime);
            }
        }
        if args.force {
            for repair in &mut all {
                repair.recreate(&runtime);
            }
            // Also those that depend on what was made anew.
            all.iter_mut()
                .filter(|repair| repair.left.is_empty())
                .for_each(|repair| repair.in_place(&runtime));
        }
    }
    // A default route that was put back is behind those of the container's other networks.
    for repair in all.iter_mut().filter(|repair| !repair.done.is_empty()) {
        let Attached { attachment, netns, .. } = repair.attached;
        let ordered = way_out::put_in_order(&runtime, &attachment.container_id, netns);
        repair.left.extend(ordered.err().map(|error| error.to_string()));
    }
    let is_closed = network::close(&runtime, args.network.as_deref(), args.dry_run);
    let is_synced = agent::sync(&inventory, args.network.as_deref(), args.dry_run);
    let helps = all.iter().any(|repair| !repair.left.is_empty() && !repair.is_the_hosts);
    if helps && !args.force && !args.dry_run {
        output::tell(
            "cleat: --force makes anew what is left, with the same addresses: this interrupts the container\n",
        );
    }
    outcomes.extend(all.into_iter().filter_map(Outcome::of));
    outcomes.sort_by_key(|outcome| &outcome.verdict.attached.attachment);
    args.view.form.show(|| outcomes.iter().map(Outcome::object).collect::<Vec<_>>(), || table(&outcomes))?;
    let is_left = !is_closed || !is_synced || outcomes.iter().any(|outcome| outcome.verdict.state == BROKEN);
    Ok(if is_left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The repair of an attachment; or why it cannot be compared. `None` for those of programs with a cache of their own, and for
/// those of networks without CHECK.
fn repair(attached: &Attached) -> Result<Option<Repair<'_>>, String> {
    if let Some(damage) = &attached.damage {
        return Err(damage.clone());
    }
    let making = attached.making().transpose().map_err(|error| error.to_string())?;
    let Some(making) = making.filter(|making| making.expect_check().is_ok()) else { return Ok(None) };
    attached.expect_comparable(&making)?;
    Ok(Some(Repair::new(attached, making)))
}

/// What is reported of an attachment.
struct Outcome<'a> {
    verdict: Verdict<'a>,
    done: Vec<String>,
    left: Vec<String>,
}

impl<'a> Outcome<'a> {
    fn new(verdict: Verdict<'a>) -> Self {
        Self { verdict, done: Vec::new(), left: Vec::new() }
    }

    /// `None` where nothing was broken.
    fn of(repair: Repair<'a>) -> Option<Self> {
        let Repair { attached, done, left, .. } = repair;
        let (state, what) = if left.is_empty() { (REPAIRED, &done) } else { (BROKEN, &left) };
        let verdict = Verdict { attached, state, why: what.join("; ") };
        (!what.is_empty()).then_some(Self { verdict, done, left })
    }

    fn object(&self) -> Value {
        let mut object = self.verdict.object();
        (object["done"], object["left"]) = (json!(self.done), json!(self.left));
        object
    }
}

fn table(outcomes: &[Outcome<'_>]) -> Table {
    let row = |Outcome { verdict, .. }: &Outcome<'_>| {
        [
            verdict.attached.attachment.network.as_str().into(),
            verdict.attached.called().into(),
            verdict.attached.attachment.ifname.as_str().into(),
            verdict.cell(),
            verdict.why.as_str().into(),
        ]
    };
    Table::of(["NETWORK", "NAME", "INTERFACE", "STATE", "WHAT"], outcomes.iter().map(row))
}
