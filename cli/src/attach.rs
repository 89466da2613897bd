//! Attaches a container's namespace to a network, with the first free interface name. Where the container is on other networks,
//! `way_out` puts the default routes in order afterwards.

use std::net::IpAddr;
use std::path::Path;

use cni::{Attachment, ContainerId, IfName, NetworkList, Plugin, case_blind};
use host_port::HostPort;
use netlink::{Mac, Namespace};
use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::netns;
use crate::network::text;
use crate::runtime::{Making, Runtime};

/// An attachment that is to be made.
pub(crate) struct NewAttachment<'a> {
    /// The network.
    pub(crate) list: NetworkList,
    /// The container.
    pub(crate) container_id: &'a ContainerId,
    /// Its namespace.
    pub(crate) netns: &'a Path,
    /// What is passed to the plugins.
    pub(crate) endpoint: Endpoint<'a>,
    /// The name of its interface; by default the first free one of eth0, eth1 and so on.
    pub(crate) ifname: Option<IfName>,
}

impl NewAttachment<'_> {
    /// Makes the attachment. The caller has the container's lock. The cache keeps configuration and arguments, so that any
    /// runtime can check and remove it.
    pub(crate) fn add(self, runtime: &Runtime<'_>) -> Result<Attachment, Error> {
        let namespace = netns::open(self.netns, self.netns)?;
        let ifname = self.ifname.map_or_else(|| free_interface(&namespace), Ok)?;
        let network = self.list.name.clone();
        let attachment = Attachment { network, container_id: self.container_id.clone(), ifname };
        let mut making = runtime.making(self.list, self.netns.to_owned())?;
        let mut cni_args = self.endpoint.cni_args(&making.list);
        if let Some(address) = self.endpoint.addresses.first()
            && !has_mac(&making)
        {
            cni_args.insert("mac".to_owned(), hardware_address(*address).into());
        }
        making.capabilities.extend(self.endpoint.capabilities(&making.list));
        let add = || -> Result<(), cni::Error> {
            making.list = making.list.with_plugins(|plugins| add_args(plugins, &cni_args))?;
            look_for_listeners(&mut making.list);
            runtime.chain(&making.list).add(&making.parameters(&attachment)).map(|_| ())
        };
        add().map_err(Error::contract(format!("add {attachment}")))?;
        Ok(attachment)
    }
}

/// The hardware address for a requested IP address, derived from it as Docker does. So the entries of neighbour tables stay
/// valid when a container is made again with the same address.
fn hardware_address(address: IpAddr) -> String {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    Mac::new([0x02, 0x42, a, b, c, d]).to_string()
}

/// Whether the environment or the network's configuration sets a hardware address.
fn has_mac(making: &Making) -> bool {
    let named = |plugin: &Map<String, Value>| {
        let cni = case_blind::get(plugin, "args").and_then(|args| args.get("cni"));
        cni.and_then(|cni| cni.get("mac")).is_some()
    };
    making.args.iter().any(|(key, _)| key == "MAC")
        || making.capabilities.contains_key("mac")
        || making.list.plugins.iter().any(named)
}

/// The first of eth0, eth1 and so on that the namespace does not have.
fn free_interface(namespace: &Namespace) -> Result<IfName, Error> {
    let mut socket = namespace.socket()?;
    let mut number = 0_u32;
    loop {
        let name = format!("eth{number}");
        if socket.get_link(&name)?.is_none() {
            return IfName::new(name).map_err(Error::contract("name the interface"));
        }
        number += 1;
    }
}

/// Adds to `args.cni`, which every plugin gets (CNI conventions).
pub(crate) fn add_args(plugins: &mut [Map<String, Value>], cni_args: &Map<String, Value>) {
    if cni_args.is_empty() {
        return;
    }
    for plugin in plugins {
        let args = plugin.entry("args").or_insert_with(|| Map::new().into());
        let cni = args.as_object_mut().map(|args| args.entry("cni").or_insert_with(|| Map::new().into()));
        if let Some(cni) = cni.and_then(Value::as_object_mut) {
            cni.extend(cni_args.clone());
        }
    }
}

/// Makes host-port refuse a port that a program of the host listens on. It is not the plugin's default, as other runtimes have
/// a socket on the ports that they publish. `repair` does not set it, as the attachment has the port already.
fn look_for_listeners(list: &mut NetworkList) {
    for plugin in &mut list.plugins {
        if text(plugin, "type") == HostPort::NAME && case_blind::get(plugin, "checkHostListeners").is_none() {
            plugin.insert("checkHostListeners".to_owned(), Value::Bool(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(text: &[u8]) -> NetworkList {
        NetworkList::from_slice(text).unwrap()
    }

    #[test]
    fn listeners_are_looked_for_unless_the_network_says_otherwise() {
        let mut list = list(
            br#"{"name":"n","plugins":[{"type":"bridge"},{"type":"host-port"},
            {"type":"host-port","checkHostListeners":false}]}"#,
        );
        look_for_listeners(&mut list);
        let asked: Vec<Option<&Value>> =
            list.plugins.iter().map(|plugin| plugin.get("checkHostListeners")).collect();
        assert_eq!(asked, [None, Some(&Value::Bool(true)), Some(&Value::Bool(false))]);
    }

    #[test]
    fn an_address_has_always_the_same_hardware_address() {
        for (address, wanted) in [("172.17.0.2", "02:42:ac:11:00:02"), ("fd00:91::1:77", "02:42:00:01:00:77")]
        {
            assert_eq!(hardware_address(address.parse().unwrap()), wanted);
        }
    }

    #[test]
    fn arguments_go_to_every_plugin_beside_those_that_it_has() {
        let mut plugins =
            list(br#"{"name":"n","plugins":[{"type":"a"},{"type":"b","args":{"cni":{"mac":"x"}}}]}"#).plugins;
        add_args(&mut plugins, json!({"ips": ["10.1.0.5"]}).as_object().unwrap());
        assert_eq!(plugins[0]["args"], json!({"cni": {"ips": ["10.1.0.5"]}}));
        assert_eq!(plugins[1]["args"], json!({"cni": {"ips": ["10.1.0.5"], "mac": "x"}}));
    }
}
