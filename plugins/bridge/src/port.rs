//! The host's end of an attachment: by its derived name where this suite made the pair, otherwise the one that the
//! container's interface leads to. What another program's ADD made on a node that has changed its plugins is judged, and
//! mended, as what it is.

use cni::{AddResult, Target};
use netlink::{Link, Namespace, Socket};

use crate::conf::Conf;
use crate::error::Error;
use crate::{container, names};

/// The host's end of a pair.
#[derive(Debug)]
pub(crate) struct Port {
    /// The link.
    pub link: Link,
    /// This suite made the pair: the link has the derived name, and its hardware address was set when it was made, which
    /// keeps udev from changing it.
    pub is_ours: bool,
}

/// Finds the host's end. What is not there, or is not what the previous result names, is told as a difference.
pub(crate) fn find(
    socket: &mut Socket,
    conf: &Conf,
    target: &Target,
    result: &AddResult,
) -> Result<Port, Error> {
    let own = names::host_interface(&target.attachment);
    // Anybody may have a link of that name for himself.
    if let Some(link) = socket.get_link(&own)?.filter(|link| link.kind.as_deref() == Some("veth")) {
        return Ok(Port { link, is_ours: true });
    }
    let on_host = result.interfaces.iter().filter(|told| told.sandbox.is_empty());
    let told: Vec<&str> = on_host.map(|told| told.name.as_str()).collect();
    if told.contains(&own.as_str()) {
        return Err(Error::Differs(format!("link {own} does not exist")));
    }
    let ifname = target.ifname().as_str();
    let inner = container::observe(&Namespace::open(target.netns()?)?, ifname, &[])?.link;
    let Some(inner) = inner else {
        return Err(Error::Differs(format!("the container has no interface {ifname}")));
    };
    // An index means something in one namespace only: the other end must lead back.
    let outer = match inner.peer_index {
        Some(index) => socket.get_link_by_index(index)?.filter(|outer| outer.peer_index == Some(inner.index)),
        None => None,
    };
    let Some(link) = outer else {
        return Err(Error::Differs(format!(
            "the container's interface {ifname} does not lead to an interface of the host"
        )));
    };
    let are_ports: Vec<&str> = told
        .into_iter()
        .filter(|told| *told != conf.bridge.as_str() && *told != conf.host_link().as_str())
        .collect();
    if !are_ports.is_empty() && !are_ports.contains(&link.name.as_str()) {
        return Err(Error::Differs(format!(
            "the container's interface {ifname} leads to {}, prevResult says {}",
            link.name,
            are_ports.join(", ")
        )));
    }
    Ok(Port { link, is_ours: false })
}
