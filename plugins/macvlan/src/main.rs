//! macvlan: gives a container an interface of its own on a network of the host's.

use std::process::ExitCode;

fn main() -> ExitCode {
    macvlan::main::<macvlan::Macvlan>()
}
