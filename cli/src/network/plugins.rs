//! What the plugins of a network's list are configured for.

use bridge::Bridge;
use cni::{NetworkList, NetworkName, Plugin, case_blind};
use registry::DEFAULT_STATE_DIR;
use serde_json::{Map, Value};

/// The plugin that knows names and links, and the key of `args.cni` that it reads.
pub(crate) const LINK_ENV: &str = "link-env";
/// The capability that publishes ports.
pub(crate) const PORT_MAPPINGS: &str = "portMappings";

/// What Docker calls the driver of networks over many hosts, and the key of bridge that names such a network.
pub(crate) const OVERLAY: &str = "overlay";

/// The text of a key; empty where it has none.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    case_blind::get(object, key).and_then(Value::as_str).unwrap_or_default()
}

/// The first plugin of a type.
pub(crate) fn plugin<'a>(list: &'a NetworkList, name: &str) -> Option<&'a Map<String, Value>> {
    list.plugins.iter().find(|plugin| text(plugin, "type") == name)
}

/// The overlay network that a network is this node's part of.
pub(crate) fn overlay(list: &NetworkList) -> Option<NetworkName> {
    NetworkName::new(text(plugin(list, Bridge::NAME)?, OVERLAY)).ok()
}

/// The folder of the registry that the network's members are in; `None` where it has no link-env.
pub(crate) fn state_dir(list: &NetworkList) -> Option<&str> {
    let named = text(plugin(list, LINK_ENV)?, "stateDir");
    Some(if named.is_empty() { DEFAULT_STATE_DIR } else { named })
}

/// The plugins that declare a capability, by their place in the list, with their type.
pub(crate) fn declaring<'a>(
    list: &'a NetworkList,
    capability: &'a str,
) -> impl Iterator<Item = (usize, &'a str)> {
    let is_declared = move |plugin: &Map<String, Value>| {
        plugin.get("capabilities").and_then(|declared| declared.get(capability)) == Some(&Value::Bool(true))
    };
    let plugins = list.plugins.iter().enumerate().filter(move |(_, plugin)| is_declared(plugin));
    plugins.map(|(place, plugin)| (place, text(plugin, "type")))
}

/// Whether a network can publish ports. link-env reads them as well, and publishes none.
pub(crate) fn publishes(list: &NetworkList) -> bool {
    declaring(list, PORT_MAPPINGS).any(|(_, name)| name != LINK_ENV)
}
