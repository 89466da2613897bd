//! The pair of interfaces that connects a container to the bridge: its host's end is the attachment's port.
//!
//! The port is found by its derived name where this suite made the pair, otherwise as what the container's interface leads
//! to. What another program's ADD made on a node that has changed its plugins is checked, and repaired, as what it is.

pub(crate) mod removal;

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use cni::{AddResult, Target};
use interface::{alias, await_group_route};
use netlink::{Link, Mac, Namespace, Peer, PortFlags, Socket, Veth, sysctl};

use crate::conf::Conf;
use crate::error::{Error, Result, differs};

/// How long the kernel is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_micros(500);
/// `EXFULL` (asm-generic/errno.h): what the kernel answers for the 1,024th port.
const EXFULL: i32 = 54;

/// The hardware addresses of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    pub host: Mac,
    pub container: Mac,
}

/// Makes the pair, and returns the index of the host's end. `made` is set as soon as there may be one to take back.
pub(crate) fn add(
    socket: &mut Socket,
    conf: &Conf,
    target: &Target,
    container: &Namespace,
    bridge: &Link,
    macs: Macs,
    made: &mut Option<u32>,
) -> Result<u32> {
    let (name, ifname) = (target.attachment.host_interface(), target.ifname().as_str());
    let alias = alias(&target.attachment);
    let veth = Veth {
        name: &name,
        mac: Some(macs.host),
        mtu: conf.mtu,
        master: Some(bridge.index),
        alias: Some(&alias),
        peer: Peer { name: ifname, mac: Some(macs.container), namespace: container.as_fd() },
    };
    match socket.add_veth(&veth) {
        Ok(index) => {
            *made = Some(index);
            Ok(index)
        }
        // Either end's name may be the one that is taken.
        Err(error) if error.is_exists() => Err(match socket.get_link(&name)? {
            Some(_) => Error::Attached(target.attachment.to_string()),
            None => Error::InterfaceExists(ifname.to_owned()),
        }),
        Err(error) if error.errno() == Some(EXFULL) => Err(Error::BridgeFull(bridge.name.clone())),
        Err(error) => {
            // It may be there all the same, where the kernel's answer was lost: then it has no alias yet. What has one is
            // an earlier attachment.
            let found = socket.get_link(&name).ok().flatten();
            *made = found.filter(|link| link.alias.is_none()).map(|link| link.index);
            Err(error.into())
        }
    }
}

/// Sets what the configuration says of the port; `is_new` where it has the kernel's defaults.
pub(crate) fn set_flags(socket: &mut Socket, conf: &Conf, port: u32, is_new: bool) -> Result<()> {
    if is_new && !conf.keys.hairpin_mode && !conf.keys.port_isolation {
        return Ok(());
    }
    let (hairpin, isolated) = (Some(conf.keys.hairpin_mode), Some(conf.keys.port_isolation));
    Ok(socket.set_bridge_port(port, &PortFlags { hairpin, isolated, ..PortFlags::default() })?)
}

/// Switches a new port's own IPv6 off, before it has a carrier. Nobody speaks to it, but all ports' routes to groups are
/// one list, which the kernel walks at every packet to a group, and whenever a link comes or goes: 1 ms of an ADD among
/// 5,000, and 2 ms of a DEL. Where it cannot be switched off, the port costs that.
pub(crate) fn leave_ipv6_to_the_bridge(port: &str) {
    let _ = sysctl::write(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1");
}

/// Waits until a port whose other end has just been set up forwards frames, and a bridge that it is the first port of
/// is known to run: what ADD returns must be reachable. Without the one the first packet is lost now and then, and with
/// it a second; without the other the bridge has no route for groups yet, and solicitations to it are lost.
///
/// The kernel does both from a work queue. Since Linux 6.8 being asked about a link makes it catch up first; before,
/// the port can mostly be set forwarding at once.
pub(crate) fn await_forwarding(socket: &mut Socket, bridge: &Link, port: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !forwards(socket, port)? && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    if bridge.operational { Ok(()) } else { Ok(await_group_route(socket, bridge.index)?) }
}

/// Whether a port forwards, or will without our doing.
fn forwards(socket: &mut Socket, port: u32) -> Result<bool> {
    if socket.get_bridge_port(port)?.unwrap_or_default().forwarding == Some(true) {
        return Ok(true);
    }
    match socket.set_bridge_port(port, &PortFlags { forwarding: Some(true), ..PortFlags::default() }) {
        // The spanning tree protocol decides, and takes its time.
        Err(error) if error.is_busy() => Ok(true),
        Err(error) if error.is_down() => Ok(false),
        outcome => outcome.map(|()| true).map_err(Error::from),
    }
}

/// The host's end of a pair.
#[derive(Debug)]
pub(crate) struct Port {
    /// The link.
    pub link: Link,
    /// This suite made the pair: the link has the derived name, and its hardware address was set when it was made, which
    /// keeps udev from changing it.
    pub is_ours: bool,
}

/// Finds the host's end. What is not there, or is not what the previous result names, is a difference.
pub(crate) fn find(socket: &mut Socket, conf: &Conf, target: &Target, result: &AddResult) -> Result<Port> {
    let own = target.attachment.host_interface();
    // Another program may have a link of that name.
    if let Some(link) = socket.get_link(&own)?.filter(|link| link.kind.as_deref() == Some("veth")) {
        return Ok(Port { link, is_ours: true });
    }
    let on_host = result.interfaces.iter().filter(|listed| listed.sandbox.is_empty());
    let listed: Vec<&str> = on_host.map(|listed| listed.name.as_str()).collect();
    if listed.contains(&own.as_str()) {
        return differs(format!("link {own} does not exist"));
    }
    let ifname = target.ifname().as_str();
    let Some(inner) = Namespace::open(target.netns()?)?.socket()?.get_link(ifname)? else {
        return differs(format!("the container has no interface {ifname}"));
    };
    // An index means something in one namespace only: the other end must lead back.
    let outer = match inner.peer_index {
        Some(index) => socket.get_link_by_index(index)?.filter(|outer| outer.peer_index == Some(inner.index)),
        None => None,
    };
    let Some(link) = outer else {
        return differs(format!(
            "the container's interface {ifname} does not lead to an interface of the host"
        ));
    };
    let are_ports: Vec<&str> = listed
        .into_iter()
        .filter(|listed| *listed != conf.bridge.as_str() && *listed != conf.host_link().as_str())
        .collect();
    if !are_ports.is_empty() && !are_ports.contains(&link.name.as_str()) {
        return differs(format!(
            "the container's interface {ifname} leads to {}, prevResult says {}",
            link.name,
            are_ports.join(", ")
        ));
    }
    Ok(Port { link, is_ours: false })
}
