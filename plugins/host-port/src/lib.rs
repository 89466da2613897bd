//! The `host-port` plugin, which also answers to the name `portmap`: publishes ports of a container on the host.
//!
//! `conf` reads and validates, `plan` says which ports are asked for, `backend` what either backend does with them: `nftables`
//! has one table, `iptables` the reference's chains. `reference_tables` knows what the reference's own nftables backend makes,
//! `other_backend` what a container has published by another backend than the one in use, and `removal` takes everything away,
//! whichever made it. This file has the verbs.
//!
//! What people should know:
//! - A port on one host address is looked up before the same port on all of them, and both may be published.
//! - 127.0.0.1 leads to published ports without `route_localnet`, so that nothing is open to neighbours whatever becomes of
//!   the rules (`nftables::localhost`). What a version before this one switched on goes off with the last container that needs it.
//! - A container's port that several of its networks publish is served by one of them; the others have it on standby, and
//!   when the one goes, the next takes over in the same transaction (`nftables::standby`).
//! - The container sees a client's own address, also that of the host where it comes by one of the host's addresses.
//!   Localhost and the container's own network are masqueraded; what others have translated, such as kube-proxy, is not.
//! - With `"snat": false` neither localhost nor the container's own network reaches the port by the host's address.
//!
//! **Repair**: an ADD for an attachment that has its ports already is no conflict. It replaces what there is by what the
//! configuration says, keeps the free ports that it chose, and puts back whatever rule, chain, map, element, route or
//! parameter CHECK missed; a client's UDP flows are looked up anew. It needs the previous result, as every ADD, and no
//! DEL before it. Free ports of a table that is gone altogether are chosen anew.
//!
//! It keeps no file, and starts no program unless the iptables backend is asked for or the kernel has no other.

mod backend;
mod conf;
mod container;
mod error;
mod flows;
mod iptables;
mod listener;
mod nftables;
mod other_backend;
mod plan;
mod port;
mod port_match;
mod reference_tables;
mod removal;

use ::nftables::Socket;
use cni::schema::{self, Described};
use cni::{AddResult, Code, Plugin, Request, Target, trace};

pub use error::Error;
pub use nftables::published::{Published, published};
pub use port::Port;

use backend::{Backend, Wanted};
use conf::Conf;
use container::Container;
use iptables::backend::Iptables;
use nftables::backend::Nftables;
use nftables::{conflict, route_localnet};

/// The plugin.
#[derive(Debug)]
pub struct HostPort;

impl Plugin for HostPort {
    const NAME: &'static str = "host-port";
    const ENTERS_NETNS: bool = false;

    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        let conf = Conf::new(request)?;
        let result = request.conf.require_prev_result()?;
        if conf.mappings.is_empty() {
            clear_addresses(result, target)?;
        } else if let Some((mut backend, wanted)) = wanted(conf, result, target)? {
            container::expect_reachable(result, target)?;
            add(&mut *backend, &wanted)?;
        }
        Ok(result.clone())
    }

    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let mut rules = Socket::open_if_supported().map_err(Error::from)?;
        let asked = removal::are_ports_asked_for(&request.conf);
        let errors = removal::everything(rules.as_mut(), &target.attachment, asked);
        cni::Error::all(errors.into_iter().map(cni::Error::from).collect())
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let conf = Conf::new(request)?;
        let result = request.conf.require_prev_result()?;
        match wanted(conf, result, target)? {
            Some((mut backend, wanted)) => Ok(backend.check(&wanted)?),
            None => Ok(()),
        }
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        let Some(mut valid) = request.conf.valid_attachments()? else {
            return Ok(());
        };
        valid.extend(removal::inhabited(&request.conf.network)?);
        let mut rules = Socket::open_if_supported().map_err(Error::from)?;
        let errors = removal::collect(rules.as_mut(), &request.conf.network, valid);
        cni::Error::all(errors.into_iter().map(cni::Error::from).collect())
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        let conf = Conf::new(request)?;
        choose(&conf).and_then(|mut backend| backend.status()).map_err(|error| {
            cni::Error::new(Code::NotAvailable, error.to_string()).details(
                "nf_tables with nft_nat, nft_masq, nft_fib and labels of conntrack, or the iptables programs, and CAP_NET_ADMIN are needed",
            )
        })
    }
}

impl Described for HostPort {
    fn schema() -> serde_json::Value {
        schema::of::<conf::Keys>()
    }

    fn validate(request: &Request, _: Option<&Target>) -> Result<(), cni::Error> {
        Conf::new(request)?;
        Ok(())
    }
}

/// The backend asked for; failing that nftables, where the kernel has it.
fn choose(conf: &Conf) -> Result<Box<dyn Backend>, Error> {
    let (backend, is, why): (Box<dyn Backend>, _, _) = match conf.backend {
        Some(conf::Backend::Nftables) => (Box::new(Nftables::new(Socket::open()?)), "nftables", "asked for"),
        Some(conf::Backend::Iptables) => {
            (Box::new(Iptables(Socket::open_if_supported()?)), "iptables", "asked for")
        }
        None => match Socket::open_if_supported()? {
            Some(rules) => (Box::new(Nftables::new(rules)), "nftables", "the kernel has nf_tables"),
            None => (Box::new(Iptables(None)), "iptables", "the kernel has no nf_tables"),
        },
    };
    trace::decided("backend", &[("is", &is), ("why", &why)]);
    Ok(backend)
}

type Publication<'a> = (Box<dyn Backend>, Wanted<'a>);

/// What is to be published, and the backend for it; `None` where no mapping leads to the container.
fn wanted<'a>(conf: Conf, result: &AddResult, target: &'a Target) -> Result<Option<Publication<'a>>, Error> {
    let addresses = plan::addresses(result, target.ifname().as_str());
    if plan::ports(&conf.mappings, &addresses)?.is_empty() {
        return Ok(None);
    }
    let mut backend = choose(&conf)?;
    let has_nftables = backend.rules().is_some();
    let container = Container::find(&conf, result, target.ifname(), addresses, has_nftables)?;
    Ok(Some((backend, Wanted { attachment: &target.attachment, conf, container })))
}

/// A container without ports gets none by an address that another one had.
fn clear_addresses(result: &AddResult, target: &Target) -> Result<(), Error> {
    let addresses = plan::addresses(result, target.ifname().as_str());
    match Socket::open_if_supported()? {
        Some(mut rules) if !addresses.is_empty() => {
            conflict::clear_addresses(&mut rules, &target.attachment, &addresses)
        }
        _ => Ok(()),
    }
}

fn add(backend: &mut dyn Backend, wanted: &Wanted) -> Result<(), cni::Error> {
    let others = backend.others(wanted)?;
    // A repeated ADD, and the first one was made with the other backend: its rules stay where they work.
    if !others.is_empty()
        && !backend.has_ports(wanted)?
        && other_backend::check(backend.rules(), &others, wanted).is_ok()
    {
        trace::decided("others", &[("are", &format_args!("{others:?}")), ("is", &"kept: the ports work")]);
        return Ok(());
    }
    let known = backend.known(wanted)?;
    let mut publish = || {
        backend.publish(wanted, &known)?;
        other_backend::remove(backend.rules(), &others, wanted)?;
        match backend.rules() {
            // The other backend's chains may have been the last that needed route_localnet.
            Some(rules) if !others.is_empty() => {
                route_localnet::close_left_on(rules, &mut netlink::Socket::open()?, &wanted.container)
            }
            _ => Ok(()),
        }
    };
    publish().map_err(|error: Error| {
        removal::everything(backend.rules(), wanted.attachment, true)
            .into_iter()
            .fold(cni::Error::from(error), |error, further| error.undo_failed(&further.into()))
    })
}
