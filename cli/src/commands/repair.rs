//! `cleat repair`: what CHECK finds broken is put back, from what the runtimes' result cache says of it.
//!
//! The interface itself is put right in place, so that a container keeps its address and its connections. Plugins behind
//! it that are known to complete their own work are called with ADD once more. Whatever is left needs DEL and ADD, which
//! interrupts the container: that is done under `--force` alone, and with the same addresses.

use std::collections::BTreeSet;
use std::process::ExitCode;

use bridge::Bridge;
use cni::{Attachment, Code, Parameters, Plugin, case_blind};
use host_port::HostPort;
use registry::Protocol;
use serde_json::{Map, Value, json};

use crate::endpoint::LINK_ENV;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::joining::add_args;
use crate::output::{self, BAD, Cell, Form, GOOD, Table};
use crate::runtime::{CacheFolder, Making, Runtime};

/// Plugins whose ADD finds its own work there and completes it: host-port by both of its names, also the reference's
/// portmap, and link-env.
const REPEATABLE: [&str; 3] = [HostPort::NAME, "portmap", LINK_ENV];

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
    form: Form,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Repairs what is broken, and tells it. The exit code is 1 where something is left.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let _lock = runtime.lock_exclusive()?;
    let inventory = Inventory::read(&runtime)?;
    let is_meant = |attached: &&Attached| {
        let network = attached.attachment.network.as_str();
        !attached.is_gone() && args.network.as_deref().is_none_or(|wanted| wanted == network)
    };
    let (mut patients, mut errors) = (Vec::new(), Vec::new());
    for attached in inventory.attachments.iter().filter(is_meant) {
        if let Some(entry) = attached.entry.clone() {
            match Making::of(entry) {
                Ok(mut making) => {
                    keep_ports(&mut making, attached);
                    let (done, left) = (Vec::new(), Vec::new());
                    patients.push(Patient { attached, making, done, left, is_given_up: false });
                }
                Err(error) => errors.push(error),
            }
        }
    }
    // A link may wait for another container to be put right first.
    for _ in 0..2 {
        for patient in &mut patients {
            patient.treat(&runtime, args);
        }
    }
    patients.retain(|patient| !patient.done.is_empty() || !patient.left.is_empty());
    if !args.force && !args.dry_run && patients.iter().any(|patient| !patient.left.is_empty()) {
        output::tell(
            "cleat: --force makes anew what is left, with the same addresses: this interrupts the container\n",
        );
    }
    args.form.show(|| patients.iter().map(Patient::object).collect::<Vec<_>>(), || table(&patients))?;
    Error::all(errors)?;
    let is_left = patients.iter().any(|patient| !patient.left.is_empty());
    Ok(if is_left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// An attachment that is looked at.
struct Patient<'a> {
    attached: &'a Attached,
    making: Making,
    /// What was done, or would be.
    done: Vec<String>,
    /// What is broken still.
    left: Vec<String>,
    /// Whether there is nothing to be tried again.
    is_given_up: bool,
}

impl Patient<'_> {
    /// One that fails is told, and keeps nobody else from being treated.
    fn treat(&mut self, runtime: &Runtime<'_>, args: &Args) {
        if self.is_given_up {
            return;
        }
        if let Err(error) = self.try_to_treat(runtime, args) {
            self.left = vec![error.to_string()];
            self.is_given_up = true;
        }
    }

    fn try_to_treat(&mut self, runtime: &Runtime<'_>, args: &Args) -> Result<(), Error> {
        let attachment = &self.attached.attachment;
        let chain = runtime.chain(&self.making.list);
        let parameters = self.making.parameters(attachment);
        let check = || chain.check_each(&parameters).map_err(Error::contract(format!("check {attachment}")));
        self.left.clear();
        let mut done: Vec<(usize, String)> = Vec::new();
        let (mut has_no_interface, mut is_taken) = (false, false);
        for (place, outcome) in check()?.into_iter().enumerate() {
            let Err(broken) = outcome else { continue };
            let name = plugin_at(&self.making, place);
            if args.dry_run {
                self.left.push(format!("{broken}: {}", prospect(place, name)));
                continue;
            }
            // What is behind an interface that is not there must not come to lead to whoever has its address by now.
            if has_no_interface {
                self.left.push(broken.to_string());
                continue;
            }
            let cured = match (place, name) {
                (0, Bridge::NAME) => chain
                    .request(0, &parameters)
                    .and_then(|(request, target)| bridge::repair(&request, &target)),
                (1.., name) if REPEATABLE.contains(&name) => chain.add_again(place, &parameters),
                _ => Err(broken.clone()),
            };
            match cured {
                Ok(()) => done.push((place, format!("{broken}: put right"))),
                Err(error) => {
                    has_no_interface |= place == 0;
                    is_taken |= error.code() == Code::InUse.number();
                    self.left.push(error.to_string());
                }
            }
        }
        if args.dry_run {
            return Ok(());
        }
        if !done.is_empty() {
            // What was put right must be right.
            for (place, outcome) in check()?.into_iter().enumerate() {
                if let Err(broken) = outcome
                    && let Some(at) = done.iter().position(|(cured, _)| *cured == place)
                {
                    done.remove(at);
                    self.left.push(broken.to_string());
                }
            }
        }
        // An address or a port that somebody else has by now would be refused to the new one as well, and the old one is
        // better than none.
        if !self.left.is_empty() && args.force && !is_taken {
            self.done.push(format!("made anew: {}", self.left.join("; ")));
            rebuild(runtime, &mut self.making, self.attached)?;
            self.left.clear();
        }
        self.done.extend(done.into_iter().map(|(_, text)| text));
        Ok(())
    }

    fn object(&self) -> Value {
        let Attachment { network, container_id, ifname } = &self.attached.attachment;
        json!({"network": network.as_str(), "id": container_id.as_str(), "name": self.attached.name(),
            "interface": ifname.as_str(), "done": self.done, "left": self.left})
    }
}

fn plugin_at(making: &Making, place: usize) -> &str {
    let plugin = making.list.plugins.get(place);
    plugin.and_then(|plugin| case_blind::get(plugin, "type")).and_then(Value::as_str).unwrap_or_default()
}

/// What would be done about a plugin's complaint.
fn prospect(place: usize, name: &str) -> &'static str {
    match place {
        0 if name == Bridge::NAME => "to be put right in place, where the interface is still there",
        1.. if REPEATABLE.contains(&name) => "to be put right by another ADD",
        _ => "only --force mends it, which interrupts the container",
    }
}

/// Ports that the plugin chose itself, it is to choose again: people have come to know them.
pub(crate) fn keep_ports(making: &mut Making, attached: &Attached) {
    let Some(Value::Array(mappings)) = making.capabilities.get_mut("portMappings") else { return };
    let published = attached.member.iter().flat_map(|member| &member.published);
    let registered = published.map(|port| (port.container_port, port.protocol, port.host_port));
    let kernels = attached.ports.iter().map(|port| (port.container_port, port.protocol, port.host_port));
    // One that is published on several addresses, or for both families, has one number.
    let mut known: BTreeSet<_> = kernels.chain(registered).filter(|port| port.2 != 0).collect();
    for mapping in mappings.iter_mut().filter_map(Value::as_object_mut) {
        let number = |key| case_blind::get(mapping, key).and_then(Value::as_u64).unwrap_or_default();
        let protocol = case_blind::get(mapping, "protocol").and_then(Value::as_str).unwrap_or("tcp");
        let is_it = |(inner, of, _): &&(u16, Protocol, u16)| {
            u64::from(*inner) == number("containerPort") && of.as_str().eq_ignore_ascii_case(protocol)
        };
        if number("hostPort") == 0
            && let Some(port) = known.iter().find(is_it).copied()
        {
            known.remove(&port);
            mapping.retain(|key, _| !key.eq_ignore_ascii_case("hostPort"));
            mapping.insert("hostPort".to_owned(), port.2.into());
        }
    }
}

/// DEL and ADD of the whole chain, with the addresses and the hardware address that the attachment had.
fn rebuild(runtime: &Runtime<'_>, making: &mut Making, attached: &Attached) -> Result<(), Error> {
    let attachment = &attached.attachment;
    let doing = || format!("make {attachment} anew");
    let chain = runtime.chain(&making.list);
    chain.del(&making.parameters(attachment)).map_err(Error::contract(doing()))?;
    let mut wanted = Map::new();
    let addresses: Vec<String> = attached.ips().map(|ip| ip.address.ip().to_string()).collect();
    wanted.insert("ips".to_owned(), json!(addresses));
    if !attached.mac().is_empty() {
        wanted.insert("mac".to_owned(), attached.mac().into());
    }
    let list = making.list.clone().with_plugins(|plugins| add_args(plugins, &wanted));
    making.list = list.map_err(Error::contract(doing()))?;
    let chain = runtime.chain(&making.list);
    let parameters: Parameters<'_> = making.parameters(attachment);
    chain.add(&parameters).map_err(Error::contract(doing()))?;
    Ok(())
}

fn table(patients: &[Patient<'_>]) -> Table {
    let mut table = Table::new(&["NETWORK", "NAME", "INTERFACE", "STATE", "WHAT"]);
    for patient in patients {
        let Attachment { network, ifname, .. } = &patient.attached.attachment;
        let done = patient.done.iter().map(|text| (Cell::styled("repaired", GOOD), text));
        let left = patient.left.iter().map(|text| (Cell::styled("broken", BAD), text));
        for (state, text) in done.chain(left) {
            let name = patient.attached.name();
            table.row([
                network.as_str().into(),
                name.into(),
                ifname.as_str().into(),
                state,
                text.as_str().into(),
            ]);
        }
    }
    table
}
