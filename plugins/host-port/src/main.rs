//! host-port: publishes ports of a container on the host.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run::<host_port::HostPort>()
}
