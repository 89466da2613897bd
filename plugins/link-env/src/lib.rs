//! The `link-env` plugin: containers on a network find each other by name, and links give them Docker's variables.
//!
//! It comes after a plugin that makes an interface with addresses, and passes that plugin's result on. What it knows is in
//! the registry (the crate `registry` documents the format and the paths). Hosts files are made from the registry again with
//! every change:
//!
//! - `conf` splits the configuration, and `endpoint` validates what it says of the container;
//! - `bounds` has the limits of one container;
//! - `env` makes the variables of links, and `hosts` the text of hosts files;
//! - `view` decides which files change (`hosts_change`), and `files` writes them;
//! - `delivery` puts them where `ip netns exec` and runtimes look for them;
//! - `attach`, `detach` and `check` are the verbs, and `pod` is the interface for an agent of the runtime.
//!
//! Where the bridge keeps the members of a network apart (`"icc": false`), `firewall` opens it for links. Otherwise the plugin
//! has no part in who may connect to whom.

mod attach;
mod bounds;
mod check;
mod chosen;
mod conf;
mod delivery;
mod detach;
mod endpoint;
mod env;
mod error;
mod files;
mod firewall;
#[cfg(test)]
mod golden_tests;
mod hosts;
mod hosts_change;
mod name;
mod pod;
mod view;

use std::time::Duration;

use cni::schema::{self, Described};
use cni::{AddResult, Args, Plugin, Request, Target};
use registry::Registry;

pub use error::Error;
pub use pod::{Given, Pod, is_writable};

use conf::Conf;

/// How long STATUS waits for the registry's lock. The runtime asks for the status every few seconds.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// The plugin.
#[derive(Debug)]
pub struct LinkEnv;

impl Plugin for LinkEnv {
    const NAME: &'static str = "link-env";
    const ENTERS_NETNS: bool = false;

    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        attach::add(request, target)?;
        Ok(request.conf.require_prev_result()?.clone())
    }

    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        Ok(detach::del(request, target)?)
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        Ok(check::check(request, target)?)
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        Ok(detach::gc(request)?)
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        let registry = Registry::at(conf::state_dir(&request.conf)?);
        let usable = registry.lock_within(STATUS_LIMIT).and_then(|locked| locked.probe());
        Ok(usable.map_err(Error::NotAvailable)?)
    }
}

impl Described for LinkEnv {
    fn schema() -> serde_json::Value {
        schema::of::<conf::Keys>()
    }

    fn validate(request: &Request, target: Option<&Target>) -> Result<(), cni::Error> {
        let conf = Conf::new(&request.conf, target.map_or(&Args::default(), |target| &target.args))?;
        // Placeholders: an endpoint needs a container, and any will do to validate what is said of it.
        let container_id = target.map_or("container", |target| target.container_id().as_str());
        let ifname = target.map_or("eth0", |target| target.ifname().as_str());
        Ok(endpoint::member(&conf, container_id, ifname, Vec::new()).map(drop)?)
    }
}
