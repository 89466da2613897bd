//! CHECK: what ADD published against what there is. Differences are named.

use cni::Attachment;
use nftables::{Element, Socket};

use crate::conf::Conf;
use crate::container::Container;
use crate::error::Error;
use crate::holder::Owner;
use crate::localhost;
use crate::memory;
use crate::plan::Plan;
use crate::publish::is_own;
use crate::published::published;
use crate::ruleset::{OWNERS, TABLE};

/// Compares.
pub(crate) fn check(
    rules: &mut Socket,
    attachment: &Attachment,
    mut conf: Conf,
    container: &Container,
) -> Result<(), Error> {
    recall_choices(rules, attachment, &mut conf)?;
    let owner = Owner::of(attachment);
    let element = rules.get_element(&OWNERS, &[owner.key()?])?;
    let Some(element) = element else {
        return differs(format!("table {TABLE} knows nothing of {attachment}"));
    };
    // Whether 127.0.0.1 was this plugin's to switch on was seen at ADD.
    let local = memory::local(&element).map(str::to_owned);
    let plan = Plan::new(attachment, &conf, &container.addresses, &container.interface, local)?;
    for (at, ((map, key), expected)) in plan.elements().enumerate() {
        let what = nftables::key::decode(map.key, &expected.key)?;
        let what: Vec<String> = what.iter().map(ToString::to_string).collect();
        let what = format!("element {} of map {}", what.join(" . "), map.name);
        let is_own = |found: &Element| {
            plan.ports.get(at).is_some_and(|(_, port)| is_own(&attachment.container_id, port, found))
        };
        match rules.get_element(map, &key)? {
            None => return differs(format!("{what} is missing")),
            Some(found) if !owner.has(found.comment.as_deref()) => {
                // By another of the container's networks it is published as well.
                if !is_own(&found) {
                    return differs(format!("{what} belongs to somebody else"));
                }
            }
            Some(found) if found.data != expected.data => {
                return differs(format!("{what} leads somewhere else"));
            }
            Some(_) => {}
        }
    }
    match &container.localnet {
        Some(interface) if !localhost::is_on(interface)? => {
            differs(format!("route_localnet of interface {interface} is off"))
        }
        _ => Ok(()),
    }
}

/// Fills in the host ports that ADD chose: those of this attachment that lead to the mapping's port.
fn recall_choices(rules: &mut Socket, attachment: &Attachment, conf: &mut Conf) -> Result<(), Error> {
    if conf.mappings.iter().all(|mapping| mapping.host_port.is_some()) {
        return Ok(());
    }
    let owner = attachment.token();
    let own: Vec<_> = published(rules)?
        .into_iter()
        .filter(|published| published.owner == owner)
        .map(|published| published.port)
        .collect();
    for at in 0..conf.mappings.len() {
        let mapping = conf.mappings[at];
        if mapping.host_port.is_some() {
            continue;
        }
        let is_given = |number| {
            conf.mappings
                .iter()
                .any(|other| other.protocol == mapping.protocol && other.host_port == Some(number))
        };
        let is_it = |port: &&crate::port::Port| {
            port.protocol == mapping.protocol
                && port.container.port() == mapping.container_port
                && port.host_ip == mapping.host_ip.filter(|ip| !ip.is_unspecified())
                && !is_given(port.host_port)
        };
        let Some(port) = own.iter().find(is_it) else {
            return differs(format!(
                "no host port leads to port {}/{} of {attachment}",
                mapping.container_port, mapping.protocol
            ));
        };
        conf.mappings[at].host_port = Some(port.host_port);
    }
    Ok(())
}

fn differs<T>(text: String) -> Result<T, Error> {
    Err(Error::Differs(text))
}
