//! `cleat-nri`: links' environment and hosts file in the containers of pods.

use std::process::ExitCode;

fn main() -> ExitCode {
    cleat_nri::run()
}
