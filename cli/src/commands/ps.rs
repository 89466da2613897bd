//! `cleat ps`: the attachments of every network, whichever runtime made them.

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

/// Lists them by network and container.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.cache))?;
    let attachments = &inventory.attachments;
    let mut ended = if args.all { runs::all()? } else { Vec::new() };
    ended.retain(|run| run.record.exit_code.is_some());
    let objects =
        || -> Vec<Value> { attachments.iter().map(object).chain(ended.iter().map(ended_object)).collect() };
    args.form.show(objects, || {
        let mut table = table(attachments);
        for run in &ended {
            table.row(ended_row(run));
        }
        table
    })
}

fn table(attachments: &[Attached]) -> Table {
    let mut table =
        Table::new(&["CONTAINER ID", "NAME", "RUNTIME", "NETWORK", "INTERFACE", "ADDRESS", "PORTS", "AGE"]);
    for attached in attachments {
        let ports: Vec<String> = attached.ports.iter().map(ToString::to_string).collect();
        let age = attached.since.map(age::since).unwrap_or_default();
        table.row([
            attached.short_id().into(),
            attached.name().into(),
            Cell::styled(attached.caller, FAINT),
            attached.attachment.network.as_str().into(),
            attached.attachment.ifname.as_str().into(),
            attached.addresses().join(", ").into(),
            ports.join(", ").into(),
            if attached.is_gone() { Cell::styled("gone", BAD) } else { Cell::styled(age, FAINT) },
        ]);
    }
    table
}

fn object(attached: &Attached) -> Value {
    json!({
        "id": attached.attachment.container_id.as_str(),
        "name": attached.name(),
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

fn ended_row(run: &Run) -> [Cell; 8] {
    let record = &run.record;
    let code = record.exit_code.unwrap_or_default();
    [
        registry::short_id(&record.container_id).into(),
        record.name.clone().unwrap_or_default().into(),
        Cell::styled("cleat", FAINT),
        record.networks.join(", ").into(),
        "".into(),
        "".into(),
        "".into(),
        Cell::styled(format!("exited ({code})"), if code == 0 { FAINT } else { BAD }),
    ]
}

fn ended_object(run: &Run) -> Value {
    let record = &run.record;
    json!({"id": record.container_id, "name": record.name, "runtime": "cleat", "networks": record.networks,
        "exitCode": record.exit_code, "command": record.command})
}
