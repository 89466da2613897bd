//! `br_netfilter`: what lets the packet filter see packets between ports of one bridge, switched on for single bridges.
//!
//! A bridge has its switches whether the kernel has `br_netfilter` or not, and they read as set either way: only the
//! module's sysctls show that it is there. It skips packets on a VLAN, also where the bridge itself has put them on
//! it (`br_nf_pre_routing` in `net/bridge/br_netfilter_hooks.c`), so it is of no use to a bridge that filters VLANs.

use std::path::Path;

use netlink::{BridgeNetfilter, Link, Socket};

use crate::bridge_lock::Exclusive;
use crate::error::{Error, Result, differs};

/// A sysctl of the module's own. Linux before 5.3 has them in the initial network namespace only.
const MODULE: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Refuses a kernel that does not have it.
pub(crate) fn expect() -> Result<()> {
    if Path::new(MODULE).exists() { Ok(()) } else { Err(Error::NoBridgeNetfilter) }
}

/// Switches it on for a bridge.
pub(crate) fn switch_on(socket: &mut Socket, bridge: &Link) -> Result<()> {
    expect_untagged(bridge)?;
    if bridge.netfilter == Some(BridgeNetfilter::ON) {
        return Ok(());
    }
    socket.set_bridge_netfilter(bridge.index, BridgeNetfilter::ON)?;
    match socket.get_link_by_index(bridge.index)? {
        Some(bridge) => expect_on(&bridge),
        None => Err(Error::Transient(format!("bridge {} went away while it was set up", bridge.name))),
    }
}

/// Refuses a bridge that does not have it on.
pub(crate) fn expect_on(bridge: &Link) -> Result<()> {
    expect()?;
    if bridge.netfilter == Some(BridgeNetfilter::ON) {
        return Ok(());
    }
    differs(format!(
        "bridge {} does not show packets between its ports to the packet filter (nf_call_iptables, nf_call_ip6tables)",
        bridge.name
    ))
}

/// Refuses a bridge that filters VLANs: it tags every frame within, and the module skips tagged frames.
fn expect_untagged(bridge: &Link) -> Result<()> {
    if bridge.vlan_filtering != Some(true) {
        return Ok(());
    }
    Err(Error::ApartOnVlans(bridge.name.clone()))
}

/// What a gate notes of a bridge's switches, which are about to be set: those that have to be set back.
pub(crate) fn note(before: Option<BridgeNetfilter>) -> Option<String> {
    let before = before.unwrap_or_default();
    let switched = [("nf_call_iptables", before.ipv4), ("nf_call_ip6tables", before.ipv6)];
    let note = switched.iter().filter(|(_, on)| !on).map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    Some(note).filter(|note| !note.is_empty())
}

/// Sets switches back as the [`note`] says, for a gate that is about to go. No ADD may come between: until the guard
/// goes there is none, and where there is one the switches stay as they are.
pub(crate) fn switch_back(bridge: &str, note: &str) -> Result<Option<Exclusive>> {
    let switched = |name: &str| note.split(' ').any(|word| word == name);
    let (ipv4, ipv6) = (!switched("nf_call_iptables"), !switched("nf_call_ip6tables"));
    let mut socket = Socket::open()?;
    let Some(link) = socket.get_link(bridge)?.filter(|link| link.kind.as_deref() == Some("bridge")) else {
        return Ok(None);
    };
    let alone = Exclusive::take(bridge)?;
    if alone.is_some() {
        socket.set_bridge_netfilter(link.index, BridgeNetfilter { ipv4, ipv6 })?;
    }
    Ok(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_switched_is_noted() {
        assert_eq!(note(Some(BridgeNetfilter::ON)), None);
        assert_eq!(note(None).unwrap(), "nf_call_iptables nf_call_ip6tables");
        assert_eq!(note(Some(BridgeNetfilter { ipv4: true, ipv6: false })).unwrap(), "nf_call_ip6tables");
    }

    #[test]
    fn a_bridge_that_filters_vlans_is_refused() {
        let bridge = |vlan_filtering| Link { name: "br0".into(), vlan_filtering, ..Link::default() };
        assert!(expect_untagged(&bridge(Some(false))).is_ok() && expect_untagged(&bridge(None)).is_ok());
        assert!(expect_untagged(&bridge(Some(true))).unwrap_err().to_string().contains("br0 filters VLANs"));
    }
}
