//! bridge: connects a container to a Linux bridge by a veth pair.

use std::process::ExitCode;

fn main() -> ExitCode {
    bridge::main()
}
