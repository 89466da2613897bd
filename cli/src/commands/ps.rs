//! `cleat ps`: the containers of all runtimes, with a row for each network that they are on.

mod listed;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::View;
use crate::age;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::output::{self, BAD, Cell, FAINT, Table};
use crate::runs::{self, Record, Run};
use crate::runtime::Runtime;
use listed::{Filter, Listed};

const HEADING: [&str; 8] =
    ["CONTAINER ID", "NAME", "RUNTIME", "NETWORK", "INTERFACE", "ADDRESS", "PORTS", "AGE"];

/// The arguments of `cleat ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also containers of `cleat run` that have ended
    #[arg(short, long)]
    all: bool,
    /// Print IDs only
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Only containers with name=PART, id=START, network=NAME, runtime=NAME, status=running or exited=CODE; again for further ones
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print a line for each container by a template such as '{{.ID}} {{.Names}}', in columns after `table `, or `json`
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["json", "quiet"])]
    format: Option<String>,
    #[command(flatten)]
    view: View,
}

/// Lists them by network and container, then those of `cleat run` that are on no network.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.view.cache))?;
    let mut attachments = rows(&inventory.attachments);
    let of_container = |id: &str| -> Vec<&Attached> {
        attachments.iter().filter(|one| one.container_id() == id).copied().collect()
    };
    // Each once, where its first network is.
    let mut listed: Vec<(String, Listed)> = Vec::new();
    for attached in &attachments {
        let id = attached.container_id();
        if !listed.iter().any(|(known, _)| known == id) {
            listed.push((id.to_owned(), Listed::of(&of_container(id))));
        }
    }
    listed.retain(|(_, one)| one.passes_all(&args.filter));
    attachments.retain(|one| listed.iter().any(|(id, _)| id == one.container_id()));
    let (mut apart, mut ended) = (Vec::new(), Vec::new());
    for run in runs::all()? {
        let is_its =
            |attached: &Attached| attached.attachment.container_id.as_str() == run.record.container_id;
        if run.record.exit_code.is_some() {
            let asks_for_it = args.filter.iter().any(Filter::is_of_ended);
            ended.extend((args.all || asks_for_it).then_some(run));
        } else if !inventory.attachments.iter().any(is_its) && run.is_alive()? {
            apart.push(run);
        }
    }
    apart.extend(ended);
    apart.retain(|run| Listed::of_run(run).passes_all(&args.filter));
    if args.quiet || args.format.is_some() {
        let all: Vec<Listed> =
            listed.into_iter().map(|(_, one)| one).chain(apart.iter().map(Listed::of_run)).collect();
        let text = match &args.format {
            None => all.iter().map(|one| one.short_id() + "\n").collect(),
            Some(format) => listed::formatted(format, &all).map_err(|reason| Error::Refused {
                doing: format!("use --format {format}"),
                reason,
                cure: None,
            })?,
        };
        return output::plain(&text);
    }
    args.view.form.show(
        || attachments.iter().map(|it| object(it)).chain(apart.iter().map(object_alone)).collect::<Vec<_>>(),
        || {
            let rows = attachments.iter().map(|it| row(it)).chain(apart.iter().map(row_alone));
            Table::of(HEADING, rows)
        },
    )
}

/// A row each, but for the loopback interface of a container that has another one.
fn rows(attachments: &[Attached]) -> Vec<&Attached> {
    let others = attachments.iter().filter(|attached| !attached.is_loopback());
    let ids: BTreeSet<_> = others.map(|attached| &attached.attachment.container_id).collect();
    let is_shown = |it: &&Attached| !it.is_loopback() || !ids.contains(&it.attachment.container_id);
    attachments.iter().filter(is_shown).collect()
}

fn row(attached: &Attached) -> [Cell; 8] {
    let ports: Vec<String> = attached.ports.iter().map(ToString::to_string).collect();
    let age = attached.since.map(age::since).unwrap_or_default();
    // A word in every row, as scripts count columns.
    let runtime = if attached.caller.is_empty() { "-" } else { attached.caller };
    [
        attached.short_id().into(),
        attached.called().into(),
        Cell::styled(runtime, FAINT),
        attached.attachment.network.as_str().into(),
        attached.attachment.ifname.as_str().into(),
        attached.addresses().join(", ").into(),
        ports.join(", ").into(),
        if attached.is_gone() { Cell::styled("gone", BAD) } else { Cell::styled(age, FAINT) },
    ]
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
    let Record { container_id, name, networks, exit_code, command, created, .. } = &run.record;
    if exit_code.is_some() {
        return json!({"id": container_id, "name": name, "runtime": "cleat", "networks": networks,
            "exitCode": exit_code, "command": command});
    }
    json!({"id": container_id, "name": name, "runtime": "cleat", "network": null, "interface": null,
        "addresses": [], "ports": [], "gone": false, "since": age::timestamp(*created)})
}
