//! link-env: names and links between the containers of a network.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run::<link_env::LinkEnv>()
}
