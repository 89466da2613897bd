//! DEL and GC: removes what an attachment has published, whichever backend or program made it.

use cni::{Attachment, Conf, ContainerId, IfName, NetworkName, links};
use netlink::NsidsWithProcesses;
use nftables::Socket;
use serde_json::Value;

use crate::error::Error;
use crate::nftables::removal as table;
use crate::{iptables, reference_tables};

/// Whether the configuration asks for ports. One that cannot be read does not stop a DEL.
pub(crate) fn are_ports_asked_for(conf: &Conf) -> bool {
    let mappings = conf.value(&["runtimeConfig", "portMappings"]).and_then(Value::as_array);
    mappings.is_some_and(|mappings| !mappings.is_empty())
}

/// DEL: removes all that an attachment has, whichever backend or program made it, past errors. `rules` is missing where
/// the kernel has no nftables; `asked` says whether ports were asked for.
pub(crate) fn everything(rules: Option<&mut Socket>, attachment: &Attachment, asked: bool) -> Vec<Error> {
    let Some(rules) = rules else {
        return iptables::removal::del_legacy(attachment).err().into_iter().collect();
    };
    let had_ports = table::detach(rules, attachment, asked);
    // An attachment with ports in the table has no legacy chains, and a program need not be started.
    let may_be_legacy = !matches!(had_ports, Ok(true));
    let outcomes = [
        had_ports.map(drop),
        iptables::removal::del(rules, attachment),
        reference_tables::del(rules, &attachment.container_id),
        if may_be_legacy { iptables::removal::del_legacy(attachment) } else { Ok(()) },
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// Removes what a network's attachments have that are not valid any more, and the chains that a killed process left.
pub(crate) fn collect(
    mut rules: Option<&mut Socket>,
    network: &NetworkName,
    valid: Vec<(ContainerId, IfName)>,
) -> Vec<Error> {
    let ids: Vec<&ContainerId> = valid.iter().map(|(id, _)| id).collect();
    let mut errors: Vec<Error> =
        iptables::removal::gc(rules.as_deref_mut(), network, &ids).err().into_iter().collect();
    let Some(rules) = rules else { return errors };
    errors.extend(table::gc(rules, network, valid));
    errors
}

/// The attachments of a network whose container has a process, by the links that lead there: a runtime's list of what is valid
/// is its own, and another one may have containers on a network of this name.
pub(crate) fn inhabited(network: &NetworkName) -> Result<Vec<(ContainerId, IfName)>, Error> {
    let mut socket = netlink::Socket::open()?;
    let attachment = |link: &netlink::Link| links::attachment_of(network, &link.name, link.alias.as_deref());
    let mut all: Vec<_> =
        socket.links()?.into_iter().filter_map(|link| attachment(&link).map(|found| (link, found))).collect();
    if !all.is_empty() {
        let inhabited = NsidsWithProcesses::read(&mut socket)?;
        all.retain(|(link, _)| inhabited.is_behind(link));
    }
    Ok(all.into_iter().map(|(_, found)| (found.container_id, found.ifname)).collect())
}
