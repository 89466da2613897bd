//! The `host-port` plugin, which also answers to the name `portmap`: publishes ports of a container on the host.
//!
//! `conf` reads and validates, `plan` decides, `publish` and `remove` act, `check` compares, `published` reads back. The
//! table, whose rules are a handful whatever the number of ports, is described in `ruleset`. This file has the verbs.
//!
//! What people should know:
//! - A port on one host address is looked up before the same port on all of them, and both may be published.
//! - The kernel lets nothing from `::1` leave the host: `[::1]` leads to the host itself, never to a container.
//! - `route_localnet`, which 127.0.0.1 needs, is on only as long as a published port of the interface needs it, and the
//!   neighbours are kept from the host's 127.0.0.0/8 meanwhile.
//! - With `"snat": false` neither 127.0.0.1 nor the container's own network reaches the port by the host's address.
//!
//! It keeps no file and starts no program. It refuses the reference's keys for the iptables backend.

mod check;
mod conf;
mod container;
mod error;
mod flows;
mod free;
mod holder;
mod listener;
mod localhost;
mod memory;
mod names;
mod plan;
mod port;
mod publish;
mod published;
mod remove;
mod ruleset;

use cni::schema::{self, Described};
use cni::{AddResult, Code, Plugin, Request, Target};
use nftables::Socket;

pub use error::Error;
pub use port::{Port, Protocol};
pub use published::{Published, published};

use conf::Conf;
use container::Container;
use holder::Owner;
use publish::Publish;

/// The plugin.
#[derive(Debug)]
pub struct HostPort;

impl Plugin for HostPort {
    const NAME: &'static str = "host-port";

    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        let conf = Conf::new(request)?;
        let result = request.conf.require_prev_result()?;
        if !conf.mappings.is_empty() {
            add(conf, result, target)?;
        }
        Ok(result.clone())
    }

    fn del(_: &Request, target: &Target) -> Result<(), cni::Error> {
        let del = || remove::detach(&mut Socket::open()?, &target.attachment);
        del().map_err(Into::into)
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let conf = Conf::new(request)?;
        let result = request.conf.require_prev_result()?;
        if conf.mappings.is_empty() {
            return Ok(());
        }
        let check = || -> Result<(), Error> {
            let container = Container::find(&conf, result, target.ifname())?;
            check::check(&mut Socket::open()?, &target.attachment, conf, &container)
        };
        check().map_err(Into::into)
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        let Some(valid) = request.conf.valid_attachments()? else {
            return Ok(());
        };
        let mut rules = Socket::open().map_err(Error::from)?;
        let errors = remove::collect(&mut rules, &request.conf.network, valid);
        cni::Error::all(errors.into_iter().map(cni::Error::from).collect())
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        Conf::new(request)?;
        // What a kernel without nf_tables, or a lack of privilege, makes fail.
        let status = || Socket::open()?.generation();
        match status() {
            Ok(_) => Ok(()),
            Err(error) => Err(cni::Error::new(Code::NotAvailable, error.to_string())
                .details("the kernel module nf_tables and CAP_NET_ADMIN are needed")),
        }
    }
}

impl Described for HostPort {
    fn schema() -> serde_json::Value {
        schema::of::<conf::Keys>()
    }

    fn validate(request: &Request) -> Result<(), cni::Error> {
        Conf::new(request)?;
        Ok(())
    }
}

fn add(conf: Conf, result: &AddResult, target: &Target) -> Result<(), cni::Error> {
    let attachment = &target.attachment;
    let container = Container::find(&conf, result, target.ifname())?;
    let mut rules = Socket::open().map_err(Error::from)?;
    let publish = Publish::new(&mut rules, attachment, conf, &container)?;
    publish.run(&mut rules).map_err(|error| {
        let error = cni::Error::from(error);
        match remove::remove(&mut rules, &Owner::of(attachment), &[]) {
            Ok(()) => error,
            Err(further) => error.undo_failed(&further.into()),
        }
    })
}
