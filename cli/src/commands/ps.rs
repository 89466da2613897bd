//! `cleat ps`: the attachments of every network, whichever runtime made them.

use serde_json::{Value, json};

use crate::age;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::output::{BAD, Cell, FAINT, Form, Table};
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Lists them by network and container.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let inventory = Inventory::read(&Runtime::new(environment, &args.cache))?;
    let attachments = &inventory.attachments;
    args.form.show(|| attachments.iter().map(object).collect::<Vec<Value>>(), || table(attachments))
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
            if attached.gone { Cell::styled("gone", BAD) } else { Cell::styled(age, FAINT) },
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
        "gone": attached.gone,
        "since": attached.since.map(age::timestamp),
    })
}
