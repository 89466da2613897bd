//! Attaches a container's namespace to a network, under a free interface name. Where the container is on other networks,
//! `way_out` puts the default routes in order afterwards.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Attachment, ContainerId, IfName, NetworkList, case_blind};
use netlink::Namespace;
use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::runtime::{Making, Runtime};

/// An attachment that is to be made.
pub(crate) struct NewAttachment<'a> {
    /// The network.
    pub(crate) list: NetworkList,
    /// The container.
    pub(crate) container_id: &'a ContainerId,
    /// Its namespace.
    pub(crate) netns: &'a Path,
    /// What the plugins get to know about it.
    pub(crate) endpoint: Endpoint<'a>,
    /// The name of its interface; by default the first free one of eth0, eth1 and so on.
    pub(crate) ifname: Option<IfName>,
}

impl NewAttachment<'_> {
    /// Makes the attachment. The caller holds the container's lock. The cache keeps the configuration and the arguments,
    /// so that any runtime can check and remove it.
    pub(crate) fn add(self, runtime: &Runtime<'_>) -> Result<Attachment, Error> {
        let namespace = Namespace::open(self.netns)
            .map_err(|source| Error::Netns { given: self.netns.to_owned(), source })?;
        let ifname = match self.ifname {
            Some(ifname) => ifname,
            None => free_interface(&namespace)?,
        };
        let network = self.list.name.clone();
        let attachment = Attachment { network, container_id: self.container_id.clone(), ifname };
        let doing = format!("add {attachment}");
        let capabilities = self.endpoint.capabilities(&self.list);
        let mut cni_args = self.endpoint.cni_args(&self.list);
        if let Some(address) = self.endpoint.addresses.first()
            && !has_mac(runtime, &self.list)?
        {
            cni_args.insert("mac".to_owned(), hardware_address(*address).into());
        }
        let list = self
            .list
            .with_plugins(|plugins| add_args(plugins, &cni_args))
            .map_err(Error::contract(doing.as_str()))?;
        let mut making: Making = runtime.making(list, self.netns.to_owned())?;
        making.capabilities.extend(capabilities);
        look_for_listeners(&mut making.list);
        let chain = runtime.chain(&making.list);
        chain.add(&making.parameters(&attachment)).map_err(Error::contract(doing))?;
        Ok(attachment)
    }
}

/// The hardware address for a requested IP address, derived from it as Docker does. A container that comes back with its
/// address is reached at once by neighbours that still have it in their neighbour table.
fn hardware_address(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    let digits: Vec<String> =
        [0x02, 0x42].iter().chain(&octets).map(|octet| format!("{octet:02x}")).collect();
    digits.join(":")
}

/// Whether the environment or the network's configuration sets a hardware address.
fn has_mac(runtime: &Runtime<'_>, list: &NetworkList) -> Result<bool, Error> {
    let making = runtime.making(list.clone(), PathBuf::new())?;
    let named = |plugin: &Map<String, Value>| {
        let cni = case_blind::get(plugin, "args").and_then(|args| args.get("cni"));
        cni.and_then(|cni| cni.get("mac")).is_some()
    };
    Ok(making.args.iter().any(|(key, _)| key == "MAC")
        || making.capabilities.contains_key("mac")
        || list.plugins.iter().any(named))
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

/// Has host-port refuse a port that a program of the host listens on. Other runtimes hold a socket on the port that they
/// publish, so this is not the plugin's default. `repair` does not ask for it either: the attachment has the port already.
fn look_for_listeners(list: &mut NetworkList) {
    for plugin in &mut list.plugins {
        if case_blind::get(plugin, "type").and_then(Value::as_str) == Some("host-port")
            && case_blind::get(plugin, "checkHostListeners").is_none()
        {
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
