//! The `link-env` plugin: containers of a network know each other by name, and links give them Docker's environment.
//!
//! It works behind a plugin that makes an interface with addresses and passes that plugin's result on. What it knows
//! is in the registry (see the `registry` crate for its format and the places of the files); what containers see is
//! made anew from it with every change:
//!
//! - `conf` takes the configuration apart, `endpoint` merges and validates what it says of the container;
//! - `bounds` is the table of how much one container may say and be given;
//! - `env` and `hosts` (with `neighbourhood`) make texts of members, `foreign` keeps the lines of others, `files` writes them,
//!   `view` knows who sees whom;
//! - `delivery` puts them where `ip netns exec` and runtimes look by themselves;
//! - `attach`, `detach` and `check` are the verbs, and `pod` is for an agent of the runtime.
//!
//! Where the bridge keeps the members of a network apart (`"icc": false`), `firewall` opens it for links; without that, who may
//! connect to whom is none of its business.

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
mod foreign;
#[cfg(test)]
mod golden;
mod hosts;
mod name;
mod neighbourhood;
mod pod;
mod view;

use std::time::Duration;

use cni::schema::{self, Described};
use cni::{AddResult, Args, Plugin, Request, Target};
use registry::Registry;

pub use error::Error;
pub use pod::{Given, Pod, is_writable};

use conf::Conf;
use endpoint::Endpoint;

/// How long STATUS waits for the registry's lock: it is asked every few seconds, and asked again.
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
        // A container as good as any: what is said of the endpoint is judged, and that needs somebody's endpoint.
        let container_id = target.map_or("container", |target| target.container_id().as_str());
        let ifname = target.map_or("eth0", |target| target.ifname().as_str());
        Ok(Endpoint::new(&conf, container_id, ifname, Vec::new()).map(|_| ())?)
    }
}
