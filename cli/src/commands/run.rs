//! `cleat run`: a command in a network namespace of its own, attached to networks while it runs.

use std::process::ExitCode;
use std::time::SystemTime;

use cni::ContainerId;

use super::supervise;
use crate::container::Container;
use crate::container_id;
use crate::env_file;
use crate::environment::{self, Environment};
use crate::error::Error;
use crate::output;
use crate::runs::{Record, Run, Start};
use crate::spec::Options;

/// Runs the container to its end, or leaves it running in the background.
pub(crate) fn execute(options: &Options, environment: &Environment) -> Result<ExitCode, Error> {
    with_files(options).and_then(|options| run(&options, environment)).map_err(Error::not_run)
}

/// The options with the variables of `--env-file` before those of `-e`.
fn with_files(options: &Options) -> Result<Options, Error> {
    let mut options = options.clone();
    let mut all = Vec::new();
    for file in &options.env_file {
        all.extend(env_file::read(file)?);
    }
    options.spec.env.splice(0..0, all);
    Ok(options)
}

fn run(options: &Options, environment: &Environment) -> Result<ExitCode, Error> {
    let container_id = container_id::random()?;
    let name = options.name.as_deref();
    let container = Container::new(&options.spec, name, environment, container_id.clone(), None)?;
    let record = record(options, &container_id, container.networks())?;
    container.tell_obstacles();
    let lock = container.runtime.lock_shared()?;
    let (mut run, guard) = Run::create(record)?;
    if options.detach {
        // The supervisor takes the lock.
        drop(guard);
        supervise::start(&run).inspect_err(|_| {
            // A failure of this is not worth reporting beside the error.
            let _ = run.forget();
        })?;
        output::text(&format!("{container_id}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    drop(lock);
    let ran = container.run(&mut run, || ());
    let forgotten = run.forget();
    let code = ran?;
    forgotten.map(|()| ExitCode::from(code))
}

fn record(options: &Options, container_id: &ContainerId, networks: Vec<String>) -> Result<Record, Error> {
    let words: Vec<_> = options.spec.command.iter().map(|word| word.to_string_lossy()).collect();
    Ok(Record {
        container_id: container_id.to_string(),
        name: options.name.clone(),
        start: Start::Spec(Box::new(options.spec.clone())),
        folder: std::env::current_dir().map_err(|error| Error::io("find the current folder", error))?,
        environment: environment::all(),
        command: words.join(" "),
        networks,
        detached: options.detach,
        vanishes: options.rm || !options.detach,
        created: SystemTime::now(),
        supervisor: None,
        process: None,
        exit_code: None,
    })
}
