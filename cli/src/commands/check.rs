//! `cleat check`: compares attachments with what was set up, one as `cnitool` does, or all.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cni::Attachment;
use serde_json::{Value, json};

use super::attachment::AttachmentOptions;
use super::clash::Clashes;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::netns;
use crate::network::obstacles;
use crate::output::{BAD, Cell, FAINT, Form, GOOD, Table};
use crate::runtime::Runtime;

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
    let (mut all, mut clashes) = (Vec::new(), Clashes::default());
    for attached in inventory.attachments.iter().filter(is_meant) {
        let state = match state(&runtime, attached) {
            State::Well(_) => {
                let mut notes = inventory.notes(attached);
                notes.extend(clashes.note(&runtime, attached));
                State::Well(notes.join("; "))
            }
            other => other,
        };
        all.push((attached, state));
    }
    if args.network.is_none() {
        // That of containerd's pods is of a version without CHECK: a row for each pod would tell nothing.
        all.retain(|(attached, state)| !(attached.is_loopback() && matches!(state, State::Unknown(_))));
    }
    args.form.show(|| all.iter().map(object).collect::<Vec<_>>(), || table(&all))?;
    // What drops all of a network's packets is none of an attachment's faults.
    let networks = inventory
        .networks
        .iter()
        .filter(|list| all.iter().any(|(attached, _)| attached.attachment.network == list.name));
    let is_dead = networks.filter(|list| obstacles::tell(&runtime.chain(list))).count() > 0;
    let is_broken = is_dead || all.iter().any(|(_, state)| matches!(state, State::Broken(_)));
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

/// What came out.
enum State {
    /// Everything is as it was set up; with what the container could not be given all the same.
    Well(String),
    /// Something differs.
    Broken(String),
    /// The container has gone without its attachment being removed.
    Gone,
    /// There is nothing to compare with, and why.
    Unknown(String),
}

fn state(runtime: &Runtime<'_>, attached: &Attached) -> State {
    if attached.is_gone() {
        return State::Gone;
    }
    let making = match attached.making() {
        None => {
            let reason = "no result is kept: another program has it in a cache of its own";
            return State::Unknown(attached.damage.clone().unwrap_or_else(|| reason.to_owned()));
        }
        Some(Err(error)) => return State::Unknown(error.to_string()),
        Some(Ok(making)) => making,
    };
    if let Err(reason) = making.expect_check() {
        return State::Unknown(reason.to_owned());
    }
    if let Err(reason) = attached.expect_comparable(&making) {
        return State::Unknown(reason);
    }
    let chain = runtime.chain(&making.list);
    if let Some(absent) = chain.absent() {
        return State::Unknown(absent.to_string());
    }
    let checked = chain.check(&making.parameters(&attached.attachment));
    checked.map_or_else(|error| State::Broken(error.to_string()), |()| State::Well(String::new()))
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Well(_) => "ok",
            Self::Broken(_) => "broken",
            Self::Gone => "gone",
            Self::Unknown(_) => "unknown",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Well(reason) | Self::Broken(reason) | Self::Unknown(reason) => reason,
            Self::Gone => "`cleat gc` removes what is left of it",
        }
    }
}

fn table(all: &[(&Attached, State)]) -> Table {
    let mut table = Table::new(&["NETWORK", "NAME", "CONTAINER ID", "INTERFACE", "STATE", "WHY"]);
    for (attached, state) in all {
        let style = match state {
            State::Well(_) => GOOD,
            State::Broken(_) => BAD,
            State::Gone | State::Unknown(_) => FAINT,
        };
        table.row([
            attached.attachment.network.as_str().into(),
            attached.called().into(),
            attached.short_id().into(),
            attached.attachment.ifname.as_str().into(),
            Cell::styled(state.word(), style),
            state.reason().into(),
        ]);
    }
    table
}

fn object((attached, state): &(&Attached, State)) -> Value {
    let Attachment { network, container_id, ifname } = &attached.attachment;
    json!({"network": network.as_str(), "id": container_id.as_str(), "name": attached.name(),
        "namespace": attached.namespace,
        "interface": ifname.as_str(), "state": state.word(), "why": state.reason()})
}
