//! CHECK: what ADD published against what there is. Differences are named.

use cni::Attachment;
use nftables::{Element, Socket};

use super::add::known;
use super::conflict::{is_left_behind, is_own};
use super::owner::{Holder, Owner};
use super::owner_record::Record;
use super::place::{Place, standby_of};
use super::plan::Plan;
use super::table::{LO, LO4, TABLE};
use super::{free_ports, localhost, route_localnet, skeleton};
use crate::backend::Wanted;
use crate::conf::Mapping;
use crate::error::{Error, differs};
use crate::plan;
use crate::port::Port;

/// The owner record of an attachment that has ports in the table.
pub(crate) fn record(rules: &mut Socket, attachment: &Attachment) -> Result<Option<Record>, Error> {
    Ok(Record::find(rules, &Owner::of(attachment))?.filter(Record::has_ports))
}

/// Says of an attachment without ports in the table what is missing.
pub(crate) fn nothing(rules: &mut Socket, attachment: &Attachment) -> Result<(), Error> {
    if !rules.has_table(&TABLE)? {
        return differs(format!("table {TABLE} is missing, and with it every port of {attachment}"));
    }
    differs(format!("table {TABLE} knows nothing of {attachment}"))
}

/// Compares, for an attachment with an owner record.
pub(crate) fn check(rules: &mut Socket, wanted: &Wanted, record: &Record) -> Result<(), Error> {
    let Wanted { attachment, container, .. } = wanted;
    if let Some(chain) = skeleton::incomplete_chain(rules)? {
        return lacks_rules(chain);
    }
    let mappings = recall_choices(rules, wanted)?;
    // Whether localhost was this plugin's to switch on was seen at ADD.
    let plan = Plan::new(wanted, &mappings, record.locals(), !record.has_ports())?.made_as(&record.chain);
    for (place, expected, port) in plan.elements() {
        let (map, key) = &place;
        let words: Vec<String> = key.iter().map(ToString::to_string).collect();
        let what = format!("element {} of map {}", words.join(" . "), map.name);
        match rules.get_element(map, key)? {
            None => return differs(format!("{what} is missing")),
            Some(found) if !plan.owner.has(found.comment.as_deref()) => {
                match port {
                    // By another of the container's networks it is published as well.
                    Some((_, port)) if is_own(&attachment.container_id, port, &found) => {
                        is_on_standby(rules, &plan.owner, port, &place, &found)?;
                    }
                    // Another container has the same address, and had it first.
                    None if !is_left_behind(&plan, &found)? => {}
                    _ => return differs(format!("{what} belongs to somebody else")),
                }
            }
            Some(found) if found.data != expected.data => {
                return differs(format!("{what} leads somewhere else"));
            }
            Some(_) => {}
        }
    }
    if !plan.chain.is_complete(rules)? {
        return lacks_rules(&plan.chain.name);
    }
    let has = |locals: &[String]| locals.iter().any(|local| local == LO4);
    if has(&container.localnets) && !has(&plan.chain.locals) {
        return opened(plan.chain.locals.iter().find(|local| *local != LO), attachment);
    }
    for interface in container.localnets.iter().filter(|local| !(plan.by_iptables && *local == LO)) {
        if !localhost::is_on(interface)? {
            return differs(format!("{} is off", localhost::what(interface)));
        }
    }
    match route_localnet::left_on(rules, &mut netlink::Socket::open()?, container)? {
        Some(link) => differs(format!(
            "{} is on, and nothing needs it: containers may reach the host's 127.0.0.1",
            localhost::what(&link.name)
        )),
        None => Ok(()),
    }
}

/// A chain of the table has been flushed.
pub(crate) fn lacks_rules(chain: &str) -> Result<(), Error> {
    differs(format!("rules of chain {chain} of table {TABLE} are missing"))
}

/// An earlier version switched `route_localnet` on for 127.0.0.1, and that outlives the rules that guard it.
fn opened(interface: Option<&String>, attachment: &Attachment) -> Result<(), Error> {
    let Some(interface) = interface else {
        return differs(format!("127.0.0.1 does not lead to {attachment}"));
    };
    differs(format!(
        "127.0.0.1 leads to {attachment} by {}, which a flush of all rules leaves open to every container: repeat the ADD",
        localhost::what(interface)
    ))
}

/// Names what is missing for 127.0.0.1 to lead to an attachment whose ports iptables publishes, by chains of this program or of
/// the reference.
pub(crate) fn localhost_by_iptables(rules: Option<&mut Socket>, wanted: &Wanted) -> Result<(), Error> {
    let links = wanted.container.localnets_by_iptables()?;
    if links.is_empty() {
        return Ok(());
    }
    if let Some(rules) = rules
        && let Some(record) = Record::find(rules, &Owner::of(wanted.attachment))?
    {
        let locals = record.locals();
        if locals.iter().any(|local| local == LO4) {
            return check(rules, wanted, &record);
        }
        return opened(locals.first(), wanted.attachment);
    }
    match links.iter().find(|link| link.route_localnet != Some(true)) {
        Some(link) => differs(format!("{} is off", localhost::what(&link.name))),
        None => Ok(()),
    }
}

/// Names a port that would not go on by this network if the one that serves it were left: a version before this one kept
/// none on standby, until the ADD is repeated.
fn is_on_standby(
    rules: &mut Socket,
    owner: &Owner,
    port: &Port,
    place: &Place,
    found: &Element,
) -> Result<(), Error> {
    let Some((map, key)) = standby_of(owner, place) else {
        return Ok(());
    };
    if rules.get_element(map, &key)?.is_some() {
        return Ok(());
    }
    let by = found.comment.as_deref().and_then(Holder::read);
    let by = by.map_or_else(|| "another network".to_owned(), |holder| format!("network {}", holder.network));
    differs(format!("port {port} would end with {by}: map {} has no element for it", map.name))
}

/// The mappings with the host ports that ADD chose: those of this attachment that lead to the mapping's port.
fn recall_choices(rules: &mut Socket, wanted: &Wanted) -> Result<Vec<Mapping>, Error> {
    let Wanted { attachment, conf, container } = wanted;
    let mut mappings = conf.mappings.clone();
    free_ports::recall(&mut mappings, &known(rules, wanted)?);
    for mapping in mappings.iter().filter(|mapping| mapping.host_port.is_none()) {
        if !plan::ports(&[*mapping], &container.addresses)?.is_empty() {
            return differs(format!(
                "no host port leads to port {}/{} of {attachment}",
                mapping.container_port, mapping.protocol
            ));
        }
    }
    Ok(mappings)
}
