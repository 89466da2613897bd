//! `cleat ps`: the containers of every network, whichever runtime made them, with a row for each network that they are on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::age;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::output::{BAD, Cell, FAINT, Form, Table};
use crate::runs::{self, Run};
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also containers of `cleat run` that have ended
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Lists them by network and container, then those of `cleat run` that are on no network.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.cache))?;
    let attachments = rows(&inventory.attachments);
    let (mut apart, mut ended) = (Vec::new(), Vec::new());
    for run in runs::all()? {
        let is_its =
            |attached: &Attached| attached.attachment.container_id.as_str() == run.record.container_id;
        if run.record.exit_code.is_some() {
            ended.extend(args.all.then_some(run));
        } else if !inventory.attachments.iter().any(is_its) && run.is_alive()? {
            apart.push(run);
        }
    }
    let alone: Vec<Run> = apart.into_iter().chain(ended).collect();
    args.form.show(
        || attachments.iter().copied().map(object).chain(alone.iter().map(object_alone)).collect::<Vec<_>>(),
        || {
            let mut table = table(&attachments);
            alone.iter().map(row_alone).for_each(|row| table.row(row));
            table
        },
    )
}

/// A row each, but for the loopback interface of a container that has another one.
fn rows(attachments: &[Attached]) -> Vec<&Attached> {
    let (inner, outer): (Vec<_>, Vec<_>) = attachments.iter().partition(|attached| attached.is_loopback());
    let ids: BTreeSet<&str> =
        outer.iter().map(|attached| attached.attachment.container_id.as_str()).collect();
    let lonely = inner.into_iter().filter(|lo| !ids.contains(lo.attachment.container_id.as_str()));
    let mut rows: Vec<&Attached> = outer.iter().copied().chain(lonely).collect();
    rows.sort_by(|one, other| one.attachment.cmp(&other.attachment));
    rows
}

fn table(attachments: &[&Attached]) -> Table {
    let mut table =
        Table::new(&["CONTAINER ID", "NAME", "RUNTIME", "NETWORK", "INTERFACE", "ADDRESS", "PORTS", "AGE"]);
    for attached in attachments {
        let ports: Vec<String> = attached.ports.iter().map(ToString::to_string).collect();
        let age = attached.since.map(age::since).unwrap_or_default();
        table.row([
            attached.short_id().into(),
            attached.called().into(),
            Cell::styled(runtime(attached), FAINT),
            attached.attachment.network.as_str().into(),
            attached.attachment.ifname.as_str().into(),
            attached.addresses().join(", ").into(),
            ports.join(", ").into(),
            if attached.is_gone() { Cell::styled("gone", BAD) } else { Cell::styled(age, FAINT) },
        ]);
    }
    table
}

/// A word in every row: scripts count columns.
fn runtime(attached: &Attached) -> &str {
    if attached.caller.is_empty() { "-" } else { attached.caller }
}

fn object(attached: &Attached) -> Value {
    json!({
        "id": attached.attachment.container_id.as_str(),
        "name": attached.name(),
        "namespace": attached.namespace,
        "runtime": attached.caller,
        "network": attached.attachment.network.as_str(),
        "interface": attached.attachment.ifname.as_str(),
        "hostInterface": attached.host_interface(),
        "mac": attached.mac(),
        "addresses": attached.addresses(),
        "ports": attached.ports,
        "aliases": attached.aliases(),
        "links": attached.links(),
        "netns": attached.netns,
        "gone": attached.is_gone(),
        "since": attached.since.map(age::timestamp),
    })
}

/// A container of `cleat run` that is on no network, or has ended.
fn row_alone(run: &Run) -> [Cell; 8] {
    let record = &run.record;
    let (networks, state) = match record.exit_code {
        None => (String::new(), Cell::styled(age::since(record.created), FAINT)),
        Some(code) => {
            let style = if code == 0 { FAINT } else { BAD };
            (record.networks.join(", "), Cell::styled(format!("exited ({code})"), style))
        }
    };
    [
        registry::short_id(&record.container_id).into(),
        record.name.clone().unwrap_or_default().into(),
        Cell::styled("cleat", FAINT),
        networks.into(),
        "".into(),
        "".into(),
        "".into(),
        state,
    ]
}

fn object_alone(run: &Run) -> Value {
    let record = &run.record;
    if record.exit_code.is_some() {
        return json!({"id": record.container_id, "name": record.name, "runtime": "cleat",
            "networks": record.networks, "exitCode": record.exit_code, "command": record.command});
    }
    json!({"id": record.container_id, "name": record.name, "runtime": "cleat", "network": null, "interface": null,
        "addresses": [], "ports": [], "gone": false, "since": age::timestamp(record.created)})
}
