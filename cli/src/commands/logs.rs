//! `cleat logs`: what a container in the background wrote.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::runs;

/// How often a log that is followed is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// The arguments of `cleat logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container
    container: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
}

/// Prints the log as it is, byte for byte.
pub(crate) fn execute(args: &Args) -> Result<(), Error> {
    let run = runs::find(&args.container)?;
    let Some(mut log) = run.log()? else {
        return Err(Error::refused(
            format!("read the log of container {}", args.container),
            "it runs in the foreground",
            "it writes where it was started",
        ));
    };
    let failed = |error| Error::io("print the log", error);
    loop {
        // In this order: what is written before the end is read after it.
        let goes_on = args.follow && run.is_alive()?;
        match print(&mut log) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(failed)?,
        }
        if !goes_on {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
}

fn print(log: &mut File) -> io::Result<()> {
    let mut output = io::stdout().lock();
    io::copy(log, &mut output)?;
    output.flush()
}
