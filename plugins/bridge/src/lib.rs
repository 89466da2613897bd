//! The `bridge` plugin: connects a container to a Linux bridge by a veth pair, gives it addresses and routes, makes the
//! bridge its gateway, and masquerades what leaves the network.
//!
//! `conf` reads and validates, `plan` decides, `parts` make and check the interfaces, addresses and sysctls, `filter` what the
//! packet filter has; `add`, `remove`, `check` and `repair` are the verbs made of them.

mod add;
mod bridge_lock;
mod check;
mod cidrs;
mod clash;
mod conf;
mod error;
mod filter;
mod link_removal;
mod mac;
mod names;
mod overlay;
mod parts;
mod plan;
mod remove;
mod repair;

use std::process::ExitCode;

use cni::schema::{self, Described};
use cni::{AddResult, Code, Command, Plugin, Request, Target};
use netlink::{Family, Namespace, Socket};

pub use error::{Error, OBSTACLE, is_the_hosts};
pub use names::{attachment_of, is_of_network};
pub use repair::{close, open_to, repair};

use conf::Conf;
use filter::gate::BridgeGate;
use filter::{forward, masquerade};
use parts::{advertisements, br_netfilter, bridge};

/// The program: the plugin or, where the plugin has started it, the process that removes a link.
#[must_use]
pub fn main() -> ExitCode {
    link_removal::serve(std::env::args_os()).unwrap_or_else(cni::run::<Bridge>)
}

/// Says which other link has addresses of the network's subnets, if one has.
///
/// # Errors
/// A failure of the configuration, or of a question to the kernel.
pub fn clash(request: &Request) -> Result<Option<String>, cni::Error> {
    let (request, conf) = overlay::for_new(request, None)?;
    let found = Socket::open()
        .map_err(Error::from)
        .and_then(|mut socket| clash::find(&mut socket, &request, &conf))?;
    Ok(found.map(|clash| clash.to_string()))
}

/// A request as the IPAM plugin gets it at ADD: with the ranges of an overlay network's node.
///
/// # Errors
/// As ADD, of an overlay network.
pub fn delegated(request: Request) -> Result<Request, cni::Error> {
    if request.conf.text(&["overlay"]).is_none_or(str::is_empty) {
        return Ok(request);
    }
    Ok(overlay::for_new(&request, None)?.0.into_owned())
}

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    const NAME: &'static str = "bridge";

    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        add::add(request, target)
    }

    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        remove::del(request, target)
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        check::check(request, target)
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        remove::gc(request)
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        let (request, conf) = overlay::for_new(request, None).map_err(|error| match error {
            Error::NoBlock(_) | Error::Overlay(_) => cni::Error::new(Code::NotAvailable, error.to_string()),
            error => error.into(),
        })?;
        let request = &*request;
        conf.ipam.call(Command::Status, request, None)?;
        if conf.keeps_apart() {
            br_netfilter::expect()?;
        }
        let unavailable = |error: Error| match error {
            Error::Clash { .. } => error.into(),
            error => cni::Error::new(Code::NotAvailable, error.to_string()),
        };
        let status = || -> error::Result<()> {
            let mut socket = Socket::open()?;
            socket.expect_privilege()?;
            Namespace::current()?.enter(|| ())?;
            let bridge = socket.get_link(conf.bridge.as_str())?;
            bridge.as_ref().map_or(Ok(()), bridge::expect)?;
            if conf.keys.ip_masq {
                masquerade::status(conf.masquerade_backend)?;
            }
            if conf.checks_spoofing() || conf.gate.is_some() {
                nftables::Socket::open()?.generation()?;
            }
            overlay::expect_device(&mut socket, &conf)?;
            if let (Some(gate), Some(bridge)) = (BridgeGate::of(&conf), &bridge) {
                gate.status(&mut socket, bridge, &request.conf.network)?;
            }
            if conf.gateway && forward::gives_ipv6(request) && socket.forwards(Family::V6).unwrap_or_default()
            {
                advertisements::status(&mut socket, bridge.is_some())?;
            }
            if let Some(clash) = clash::find(&mut socket, request, &conf)? {
                return Err(clash);
            }
            forward::status(request, &conf)
        };
        status().map_err(unavailable)
    }
}

impl Described for Bridge {
    fn schema() -> serde_json::Value {
        schema::of::<conf::Keys>()
    }

    fn validate(request: &Request, target: Option<&Target>) -> Result<(), cni::Error> {
        Ok(Conf::new(request, target).map(|_| ())?)
    }
}
