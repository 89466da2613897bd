//! `cleat`: networks for containers and for plain commands, from the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    cleat_cli::run()
}
