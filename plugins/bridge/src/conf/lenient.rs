//! What is read of a configuration that may be wrong, or have been changed, since ADD.

use cni::{IfName, Request};
use interface::Ipam;
use serde_json::Value;

use super::bridge_name;
use crate::error::{Result, config};
use crate::parts::vlan_gateway::VlanGateway;

/// What DEL and GC need of the configuration. An error elsewhere in it stops no removal, and an error in one of these only
/// the step that needs it.
#[derive(Debug)]
pub(crate) struct Lenient {
    /// The bridge's name, or why there is none.
    pub bridge: Result<IfName>,
    /// The gateway's device on the bridge, if the network has one.
    pub vlan_gateway: Option<VlanGateway>,
    /// Whether the network closes its bridge in any way.
    pub has_gate: bool,
    /// Whether DEL waits until the kernel has freed the links, so that no process outlives it.
    pub is_synchronous: bool,
    /// What takes the addresses back.
    pub ipam: Ipam,
}

impl Lenient {
    pub(crate) fn new(request: &Request) -> Self {
        let conf = &request.conf;
        let bridge = match conf.value(&["bridge"]) {
            None => bridge_name(""),
            Some(Value::String(name)) => bridge_name(name),
            Some(other) => Err(config(format!("bridge is {other}"), "give the bridge's name as text")),
        };
        let vlan = conf.value(&["vlan"]).and_then(Value::as_u64);
        let vlan = vlan.and_then(|vlan| u16::try_from(vlan).ok()).zip(bridge.as_ref().ok());
        let vlan_gateway = vlan.and_then(|(vlan, bridge)| VlanGateway::new(bridge, vlan).ok().flatten());
        let says = |key: &str, word: Value| conf.value(&[key]) == Some(&word);
        // As Conf reads it: to open the firewall for a network is to close the bridge to all but published ports.
        let is_opened = says("forward", "accept".into()) && conf.text(&["ingress"]).is_none_or(str::is_empty);
        let has_gate = says("icc", false.into())
            || says("internal", true.into())
            || says("ingress", "published".into())
            || conf.text(&["overlay"]).is_some_and(|name| !name.is_empty())
            || is_opened;
        let is_synchronous = says("synchronousDel", true.into());
        Self { bridge, vlan_gateway, has_gate, is_synchronous, ipam: Ipam::of_removal(conf) }
    }

    /// The link that has a gate, where the network closes its bridge and its name is known.
    pub(crate) fn gated(&self) -> Option<&str> {
        let bridge = self.bridge.as_ref().ok().filter(|_| self.has_gate)?;
        Some(self.vlan_gateway.as_ref().map_or(bridge, |device| &device.name).as_str())
    }
}
