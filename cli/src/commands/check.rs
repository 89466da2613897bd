//! `cleat check`: compares attachments with what was set up, one as `cnitool` does, or all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bridge::Bridge;
use cni::Plugin;

use super::attachment::AttachmentOptions;
use super::verdict::{BROKEN, GONE, OK, UNKNOWN, Verdict};
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::netns;
use crate::network::{obstacles, text};
use crate::output::{Form, Table};
use crate::runtime::{Making, Runtime};

/// The arguments of `cleat check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network [default: all of them]
    network: Option<String>,
    /// Path of the network namespace; without it and --id, every attachment of the network
    netns: Option<PathBuf>,
    #[command(flatten)]
    options: AttachmentOptions,
    #[command(flatten)]
    form: Form,
}

/// One attachment: silence or an error. Several: a report, and exit code 1 where one is broken.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let runtime = Runtime::new(environment, &args.options.cache);
    if let Some(network) = &args.network
        && (args.netns.is_some() || args.options.id.is_some())
    {
        return one(args, network, environment, &runtime).map(|()| ExitCode::SUCCESS);
    }
    let inventory = Inventory::read(&runtime)?;
    let is_meant = |attached: &&Attached| {
        args.network.as_deref().is_none_or(|network| network == attached.attachment.network.as_str())
    };
    let mut all: Vec<Verdict<'_>> =
        inventory.attachments.iter().filter(is_meant).map(|attached| check(&runtime, attached)).collect();
    let mut clashes = HashMap::new();
    for verdict in all.iter_mut().filter(|verdict| verdict.state == OK) {
        let mut notes = inventory.notes(verdict.attached);
        let network = &verdict.attached.attachment.network;
        notes.extend(clashes.entry(network).or_insert_with(|| clash(&runtime, verdict.attached)).clone());
        verdict.why = notes.join("; ");
    }
    if args.network.is_none() {
        // The loopback networks of containerd's pods are of a version without CHECK: a row for each pod would be noise.
        all.retain(|verdict| !(verdict.attached.is_loopback() && verdict.state == UNKNOWN));
    }
    args.form.show(|| all.iter().map(Verdict::object).collect::<Vec<_>>(), || table(&all))?;
    // What drops all packets of a network is no fault of an attachment.
    let networks = inventory
        .networks
        .iter()
        .filter(|list| all.iter().any(|verdict| verdict.attached.attachment.network == list.name));
    let is_dead = networks.filter(|list| obstacles::tell(&runtime.chain(list))).count() > 0;
    let is_broken = is_dead || all.iter().any(|verdict| verdict.state == BROKEN);
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Has every plugin check, with the configuration that the attachment was made with.
fn one(args: &Args, network: &str, environment: &Environment, runtime: &Runtime<'_>) -> Result<(), Error> {
    let netns = args.netns.as_deref().map(netns::absolute).transpose()?;
    let attachment = args.options.attachment(network, netns.as_deref(), environment)?;
    let making = runtime.recall(&attachment, netns.as_deref())?;
    let given: &Path = args.netns.as_deref().unwrap_or(&making.netns);
    if !making.netns.as_os_str().is_empty() {
        netns::open(&making.netns, given)?;
    }
    runtime
        .chain(&making.list)
        .check(&making.parameters(&attachment))
        .map_err(Error::contract(format!("check {attachment}")))
}

fn check<'a>(runtime: &Runtime<'_>, attached: &'a Attached) -> Verdict<'a> {
    let verdict = |state, why| Verdict { attached, state, why };
    if attached.is_gone() {
        return verdict(GONE, "`cleat gc` removes what is left of it".to_owned());
    }
    let making = match comparable(runtime, attached) {
        Ok(making) => making,
        Err(reason) => return verdict(UNKNOWN, reason),
    };
    match runtime.chain(&making.list).check(&making.parameters(&attached.attachment)) {
        Ok(()) => verdict(OK, String::new()),
        Err(error) => verdict(BROKEN, error.to_string()),
    }
}

/// How an attachment was made; or why it cannot be compared with that.
fn comparable(runtime: &Runtime<'_>, attached: &Attached) -> Result<Making, String> {
    let Some(making) = attached.making() else {
        let reason = "no result is kept: another program has it in a cache of its own";
        return Err(attached.damage.clone().unwrap_or_else(|| reason.to_owned()));
    };
    let making = making.map_err(|error| error.to_string())?;
    making.expect_check()?;
    attached.expect_comparable(&making)?;
    match runtime.chain(&making.list).absent() {
        Some(absent) => Err(absent.to_string()),
        None => Ok(making),
    }
}

/// The link of the host that has addresses of the attachment's network; `None` where there is none, or nothing can be said.
fn clash(runtime: &Runtime<'_>, attached: &Attached) -> Option<String> {
    let making = Making::of(attached.entry.clone()?).ok()?;
    making.list.plugins.first().filter(|plugin| text(plugin, "type") == Bridge::NAME)?;
    let parameters = making.parameters(&attached.attachment);
    let (request, _) = runtime.chain(&making.list).request(0, &parameters).ok()?;
    bridge::clash(&request).ok().flatten()
}

fn table(all: &[Verdict<'_>]) -> Table {
    let row = |verdict: &Verdict<'_>| {
        let attached = verdict.attached;
        [
            attached.attachment.network.as_str().into(),
            attached.called().into(),
            attached.short_id().into(),
            attached.attachment.ifname.as_str().into(),
            verdict.cell(),
            verdict.why.as_str().into(),
        ]
    };
    Table::of(["NETWORK", "NAME", "CONTAINER ID", "INTERFACE", "STATE", "WHY"], all.iter().map(row))
}
