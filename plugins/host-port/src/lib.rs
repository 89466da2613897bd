//! The `host-port` plugin, which also answers to the name `portmap`: publishes ports of a container on the host.
//!
//! `conf` reads and validates, `plan` decides, `publish` and `remove` act, `check` compares, `published` reads back. The
//! table, whose rules are a handful whatever the number of ports, is described in `ruleset`; `chains` is the iptables
//! backend, `reference` knows the tables of the reference's nftables backend, and `elsewhere` what a container has
//! published by another backend than the one in use. This file has the verbs.
//!
//! What people should know:
//! - A port on one host address is looked up before the same port on all of them, and both may be published.
//! - 127.0.0.1 leads to published ports without `route_localnet`, so that nothing is open to neighbours whatever becomes of
//!   the rules (`localhost`). What a version before this one switched on goes off with the last container that needs it.
//! - A container's port that several of its networks publish is served by one of them; the others keep it to spare, and
//!   when the one goes, the next takes over in the same transaction (`spare`).
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

mod chains;
mod check;
mod conf;
mod container;
mod elsewhere;
mod error;
mod flows;
mod free;
mod holder;
mod left;
mod listener;
mod localhost;
mod memory;
mod names;
mod plan;
mod port;
mod publish;
mod published;
mod reference;
mod remove;
mod ruleset;
mod spare;
mod way;

use cni::schema::{self, Described};
use cni::{AddResult, Code, Plugin, Request, Target};
use nftables::Socket;

pub use error::Error;
pub use port::{Port, Protocol};
pub use published::{Published, published};

use conf::{Backend, Conf};
use container::Container;
use localhost::LO;
use publish::Publish;

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
            clear_address(result, target)?;
        } else {
            add(conf, result, target)?;
        }
        Ok(result.clone())
    }

    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let mut rules = Socket::open_if_supported().map_err(Error::from)?;
        let asked = remove::are_ports_asked_for(&request.conf);
        let errors = remove::everything(rules.as_mut(), &target.attachment, asked);
        cni::Error::all(errors.into_iter().map(cni::Error::from).collect())
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let conf = Conf::new(request)?;
        let result = request.conf.require_prev_result()?;
        if conf.mappings.is_empty() {
            return Ok(());
        }
        let check = || -> Result<(), Error> {
            let addresses = plan::addresses(result, target.ifname().as_str());
            if plan::ports(&conf.mappings, &addresses)?.is_empty() {
                return Ok(());
            }
            let chosen = choose(&conf)?;
            let container = Container::find(&conf, result, target.ifname(), chosen.has_nftables())?;
            check(chosen, conf, &target.attachment, &container)
        };
        check().map_err(Into::into)
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        let Some(mut valid) = request.conf.valid_attachments()? else {
            return Ok(());
        };
        valid.extend(remove::inhabited(&request.conf.network)?);
        let mut rules = Socket::open_if_supported().map_err(Error::from)?;
        let errors = remove::collect(rules.as_mut(), &request.conf.network, valid);
        cni::Error::all(errors.into_iter().map(cni::Error::from).collect())
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        let conf = Conf::new(request)?;
        let status = || match choose(&conf)? {
            Chosen::Nftables(mut rules) => {
                if !rules.has_table(&ruleset::TABLE)? {
                    return ruleset::try_out(&mut rules);
                }
                ruleset::incomplete_chain(&mut rules)?.map_or(Ok(()), check::lacks_rules)
            }
            Chosen::Iptables(_) => chains::status(),
        };
        status().map_err(|error: Error| {
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

enum Chosen {
    Nftables(Socket),
    /// With a socket where the kernel has `nf_tables` as well.
    Iptables(Option<Socket>),
}

impl Chosen {
    fn has_nftables(&self) -> bool {
        !matches!(self, Self::Iptables(None))
    }
}

/// The backend asked for; failing that nftables, where the kernel has it.
fn choose(conf: &Conf) -> Result<Chosen, Error> {
    Ok(match conf.backend {
        Some(Backend::Iptables) => Chosen::Iptables(Socket::open_if_supported()?),
        Some(Backend::Nftables) => Chosen::Nftables(Socket::open()?),
        None => Socket::open_if_supported()?.map_or(Chosen::Iptables(None), Chosen::Nftables),
    })
}

/// CHECK: what the backend in use has; failing that, what another one has, of before the node was moved to this one.
fn check(
    chosen: Chosen,
    conf: Conf,
    attachment: &cni::Attachment,
    container: &Container,
) -> Result<(), Error> {
    match chosen {
        Chosen::Nftables(mut rules) => {
            let Some(memory) = check::memory(&mut rules, attachment)? else {
                let framed = chains::framed(&mut rules, &container.addresses)?;
                let places = elsewhere::places(Some(&mut rules), &framed, attachment, container)?;
                if places.is_empty() {
                    return check::nothing(&mut rules, attachment);
                }
                return elsewhere::check(Some(&mut rules), &places, attachment, &conf, container);
            };
            check::check(&mut rules, attachment, conf, container, &memory)
        }
        Chosen::Iptables(mut rules) => {
            let ports = plan::published(&conf.mappings, &container.addresses)?;
            let missing = match chains::check(attachment, &conf, container, &ports, None) {
                Err(missing @ Error::Differs(_)) => missing,
                outcome => {
                    return outcome.and_then(|()| {
                        check::localhost_of_chains(rules.as_mut(), attachment, &conf, container)
                    });
                }
            };
            let mut framed = Vec::new();
            if let Some(rules) = rules.as_mut() {
                if let Some(memory) = check::memory(rules, attachment)? {
                    return check::check(rules, attachment, conf, container, &memory);
                }
                framed = chains::framed(rules, &container.addresses)?;
            }
            let places = elsewhere::places(rules.as_mut(), &framed, attachment, container)?;
            match elsewhere::check(rules.as_mut(), &places, attachment, &conf, container) {
                Ok(()) if places.is_empty() => Err(missing),
                outcome => outcome,
            }
        }
    }
}

fn close_left_on(rules: &mut Socket, container: &Container) -> Result<(), Error> {
    localhost::close_left_on(rules, &mut netlink::Socket::open()?, container)
}

/// A container without ports gets none by an address that another one had.
fn clear_address(result: &AddResult, target: &Target) -> Result<(), Error> {
    let addresses = plan::addresses(result, target.ifname().as_str());
    match Socket::open_if_supported()? {
        Some(mut rules) if !addresses.is_empty() => left::clear(&mut rules, &target.attachment, &addresses),
        _ => Ok(()),
    }
}

fn add(conf: Conf, result: &AddResult, target: &Target) -> Result<(), cni::Error> {
    let attachment = &target.attachment;
    let addresses = plan::addresses(result, target.ifname().as_str());
    if plan::ports(&conf.mappings, &addresses)?.is_empty() {
        return Ok(());
    }
    let chosen = choose(&conf)?;
    let container = Container::find(&conf, result, target.ifname(), chosen.has_nftables())?;
    let undone = |error: Error, rules: Option<&mut Socket>| {
        remove::everything(rules, attachment, true)
            .into_iter()
            .fold(cni::Error::from(error), |error, further| error.undo_failed(&further.into()))
    };
    match chosen {
        Chosen::Nftables(mut rules) => {
            let framed = chains::framed(&mut rules, &container.addresses)?;
            let places = elsewhere::places(Some(&mut rules), &framed, attachment, &container)?;
            // An ADD that repeats one of before the node was moved: what serves, goes on serving.
            if !places.is_empty()
                && check::memory(&mut rules, attachment)?.is_none()
                && elsewhere::check(Some(&mut rules), &places, attachment, &conf, &container).is_ok()
            {
                return Ok(());
            }
            let publish = Publish::new(&mut rules, attachment, conf, &container)?;
            publish
                .run(&mut rules, &framed)
                .and_then(|()| elsewhere::remove(Some(&mut rules), &places, attachment, &container))
                // Its chains may have been the last that needed route_localnet.
                .and_then(|()| if places.is_empty() { Ok(()) } else { close_left_on(&mut rules, &container) })
                .map_err(|error| undone(error, Some(&mut rules)))
        }
        Chosen::Iptables(mut rules) => {
            chains::refuse_unsupported(&conf, &container)?;
            let mut container = container;
            container.localnets.retain(|local| local != LO);
            let places = elsewhere::others(rules.as_mut(), attachment, &container)?;
            if !places.is_empty()
                && elsewhere::check(rules.as_mut(), &places, attachment, &conf, &container).is_ok()
            {
                return Ok(());
            }
            publish::by_chains(rules.as_mut(), attachment, &conf, &container)
                .and_then(|()| elsewhere::remove(rules.as_mut(), &places, attachment, &container))
                .map_err(|error| undone(error, rules.as_mut()))
        }
    }
}
