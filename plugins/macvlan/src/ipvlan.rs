//! ipvlan: gives a container an interface on a network of the host's, with the host's hardware address.

use std::process::ExitCode;

fn main() -> ExitCode {
    macvlan::main::<macvlan::Ipvlan>()
}
