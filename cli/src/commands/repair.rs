//! `cleat repair`: what CHECK finds broken is put back, from what the runtimes' result cache says of it.
//!
//! The interface itself is put right in place, so that a container keeps its address and its connections. Plugins behind
//! it that are known to complete their own work are called with ADD once more. Whatever is left needs DEL and ADD, which
//! interrupts the container: that is done under `--force` alone, with the same addresses, and only where nothing stands
//! against the ADD. What nobody can judge is left alone.

mod anew;
mod patient;

use std::process::ExitCode;

use cni::Attachment;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::output::{self, BAD, Cell, FAINT, Form, GOOD, Table};
use crate::runtime::{CacheFolder, Runtime};
use crate::way_out;

use patient::Patient;

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
    if args.force {
        inventory.expect_whole("repair by force")?;
    }
    let is_meant = |attached: &&Attached| {
        let network = attached.attachment.network.as_str();
        !attached.is_gone() && args.network.as_deref().is_none_or(|wanted| wanted == network)
    };
    let mut all: Vec<Case<'_>> = inventory.attachments.iter().filter(is_meant).filter_map(Case::of).collect();
    if args.dry_run {
        patients(&mut all).for_each(|patient| patient.look(&runtime));
    } else {
        // A link may wait for another container to be put right first.
        for _ in 0..2 {
            patients(&mut all).for_each(|patient| patient.treat(&runtime));
        }
        if args.force {
            patients(&mut all).for_each(|patient| patient.make_anew(&runtime));
            // Also of those whom what was made anew had to do with.
            let well = patients(&mut all).filter(|patient| patient.left.is_empty());
            well.for_each(|patient| patient.treat(&runtime));
        }
    }
    // A default route that was put back is behind those of the container's other networks.
    for patient in patients(&mut all).filter(|patient| !patient.done.is_empty()) {
        let Attached { attachment, netns, .. } = patient.attached;
        let ordered = way_out::put_in_order(&runtime, &attachment.container_id, netns);
        patient.left.extend(ordered.err().map(|error| error.to_string()));
    }
    let is_left = patients(&mut all).any(|patient| !patient.left.is_empty());
    let helps = patients(&mut all).any(|patient| !patient.left.is_empty() && !patient.is_the_hosts);
    all.retain(Case::has_something_to_tell);
    if helps && !args.force && !args.dry_run {
        output::tell(
            "cleat: --force makes anew what is left, with the same addresses: this interrupts the container\n",
        );
    }
    args.form.show(|| all.iter().map(Case::object).collect::<Vec<_>>(), || table(&all))?;
    Ok(if is_left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// An attachment, and what can be done about it.
enum Case<'a> {
    /// It is known how it was made, and where it is.
    Patient(Box<Patient<'a>>),
    /// It cannot be judged, and why: it is left alone.
    Unknown(&'a Attached, String),
}

fn patients<'b, 'a>(all: &'b mut [Case<'a>]) -> impl Iterator<Item = &'b mut Patient<'a>> {
    all.iter_mut().filter_map(|case| match case {
        Case::Patient(patient) => Some(&mut **patient),
        Case::Unknown(..) => None,
    })
}

impl<'a> Case<'a> {
    /// Nothing where it is not ours to judge: made by a program with a cache of its own, or of a network without CHECK.
    fn of(attached: &'a Attached) -> Option<Self> {
        if let Some(damage) = &attached.damage {
            return Some(Self::Unknown(attached, damage.clone()));
        }
        match attached.making()? {
            Err(error) => Some(Self::Unknown(attached, error.to_string())),
            Ok(making) if making.expect_check().is_err() => None,
            Ok(making) => Some(match attached.expect_comparable(&making) {
                Ok(()) => Self::Patient(Box::new(Patient::new(attached, making))),
                Err(reason) => Self::Unknown(attached, reason),
            }),
        }
    }

    fn has_something_to_tell(&self) -> bool {
        match self {
            Self::Patient(patient) => !patient.done.is_empty() || !patient.left.is_empty(),
            Self::Unknown(..) => true,
        }
    }

    fn attached(&self) -> &'a Attached {
        match self {
            Self::Patient(patient) => patient.attached,
            Self::Unknown(attached, _) => attached,
        }
    }

    /// Its state now, and the reasons.
    fn state(&self) -> (&'static str, String) {
        match self {
            Self::Unknown(_, reason) => ("unknown", reason.clone()),
            Self::Patient(patient) if patient.left.is_empty() => ("repaired", patient.done.join("; ")),
            Self::Patient(patient) => ("broken", patient.left.join("; ")),
        }
    }

    fn object(&self) -> Value {
        let attached = self.attached();
        let Attachment { network, container_id, ifname } = &attached.attachment;
        let (done, left): (&[String], &[String]) = match self {
            Self::Patient(patient) => (&patient.done, &patient.left),
            Self::Unknown(..) => (&[], &[]),
        };
        let (state, why) = self.state();
        json!({"network": network.as_str(), "id": container_id.as_str(), "name": attached.name(),
            "namespace": attached.namespace,
            "interface": ifname.as_str(), "state": state, "why": why, "done": done, "left": left})
    }
}

fn table(all: &[Case<'_>]) -> Table {
    let mut table = Table::new(&["NETWORK", "NAME", "INTERFACE", "STATE", "WHAT"]);
    for case in all {
        let Attachment { network, ifname, .. } = &case.attached().attachment;
        let (state, what) = case.state();
        let style = match state {
            "repaired" => GOOD,
            "broken" => BAD,
            _ => FAINT,
        };
        table.row([
            network.as_str().into(),
            case.attached().called().into(),
            ifname.as_str().into(),
            Cell::styled(state, style),
            what.into(),
        ]);
    }
    table
}
