//! The `macvlan` and `ipvlan` plugins: an interface in the container on top of one of the host's, its master. The container is
//! then on the same network as the host, as if it were a machine beside it.
//!
//! `conf` reads and validates, `master` finds the link below, `plan` decides on addresses and routes, `link` makes and removes
//! the interface; `add`, `remove`, `check` and `repair` are the verbs. What is the same as on a bridge is in the crate
//! `interface`. Nothing of an attachment is on the host: its interface goes with the container's namespace.

mod add;
mod check;
mod conf;
mod error;
mod host_access;
mod link;
mod master;
mod names;
mod plan;
mod remove;
mod repair;
mod status;

use std::process::ExitCode;

use cni::schema::Described;
use cni::{AddResult, Plugin, Request, Target};

pub use error::Error;
pub use repair::repair;

use conf::{Conf, Family};

/// The program of a plugin or, where the plugin has started it, the process that removes a link.
#[must_use]
pub fn main<P: Plugin>() -> ExitCode {
    match interface::asked_removal(std::env::args_os()) {
        Some(index) => link::remove_in_place_of_caller(index),
        None => cni::run::<P>(),
    }
}

/// The plugin `macvlan`: an interface with a hardware address of its own.
#[derive(Debug)]
pub struct Macvlan;

/// The plugin `ipvlan`: an interface with the master's hardware address.
#[derive(Debug)]
pub struct Ipvlan;

macro_rules! plugin {
    ($plugin:ident, $name:literal, $family:expr) => {
        impl Plugin for $plugin {
            const NAME: &'static str = $name;

            fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
                add::add($family, request, target)
            }

            fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
                remove::del($family, request, target)
            }

            fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
                check::check($family, request, target)
            }

            fn gc(request: &Request) -> Result<(), cni::Error> {
                remove::gc($family, request)
            }

            fn status(request: &Request) -> Result<(), cni::Error> {
                status::status($family, request)
            }
        }

        impl Described for $plugin {
            fn schema() -> serde_json::Value {
                conf::schema($family)
            }

            fn validate(request: &Request, target: Option<&Target>) -> Result<(), cni::Error> {
                Ok(Conf::new($family, request, target).map(|_| ())?)
            }
        }
    };
}

plugin!(Macvlan, "macvlan", Family::Macvlan);
plugin!(Ipvlan, "ipvlan", Family::Ipvlan);
