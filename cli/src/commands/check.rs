//! `cleat check`: compares attachments with what was set up, one as `cnitool` does, or all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bridge::Bridge;
use cni::{NetworkList, Plugin};
use serde_json::{Value, json};

use super::attachment::AttachmentOptions;
use super::verdict::{BROKEN, GONE, OK, UNKNOWN, Verdict};
use crate::agent;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::netns;
use crate::network::{obstacles, overlay, text};
use crate::output::{Cell, Form, Table};
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
    let wide = wide(&inventory, args.network.as_deref());
    let objects = || all.iter().map(Verdict::object).chain(wide.iter().map(Wide::object)).collect::<Vec<_>>();
    args.form.show(objects, || table(&all, &wide))?;
    // What drops all packets of a network is no fault of an attachment.
    let networks = inventory
        .networks
        .iter()
        .filter(|list| all.iter().any(|verdict| verdict.attached.attachment.network == list.name));
    let is_dead = networks.filter(|list| obstacles::tell(&runtime.chain(list))).count() > 0;
    let is_broken = is_dead || !wide.is_empty() || all.iter().any(|verdict| verdict.state == BROKEN);
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

/// What is wrong with this host's part of an overlay network, whichever containers are on it.
struct Wide {
    network: String,
    why: String,
}

/// Of all overlay networks, or the one of a name.
fn wide(inventory: &Inventory, wanted: Option<&str>) -> Vec<Wide> {
    let is_meant = |list: &&NetworkList| wanted.is_none_or(|wanted| wanted == list.name.as_str());
    let of_one = |list: &NetworkList| {
        let found = overlay(list).map(|overlay| agent::problems(&overlay)).unwrap_or_default();
        found
            .into_iter()
            .map(|problem| Wide { network: list.name.to_string(), why: problem.told() })
            .collect()
    };
    let all: Vec<Vec<Wide>> = inventory.networks.iter().filter(is_meant).map(of_one).collect();
    all.into_iter().flatten().collect()
}

impl Wide {
    /// With the keys of an attachment, which it is not.
    fn object(&self) -> Value {
        json!({"network": self.network, "id": "", "name": "", "namespace": "", "interface": "",
            "state": BROKEN.word(), "why": self.why})
    }
}

fn table(all: &[Verdict<'_>], wide: &[Wide]) -> Table {
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
    let of_network = |Wide { network, why }: &Wide| {
        let [name, id, interface] = ["", "", ""].map(Cell::from);
        [network.as_str().into(), name, id, interface, BROKEN.cell(), why.as_str().into()]
    };
    let rows = all.iter().map(row).chain(wide.iter().map(of_network));
    Table::of(["NETWORK", "NAME", "CONTAINER ID", "INTERFACE", "STATE", "WHY"], rows)
}
