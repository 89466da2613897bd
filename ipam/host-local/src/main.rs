//! host-local: the IPAM plugin as a program of its own; the bridge plugin calls the same library in its own process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run::<host_local::HostLocal>()
}
