//! loopback: sets the container's loopback interface up.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run::<loopback::Loopback>()
}
