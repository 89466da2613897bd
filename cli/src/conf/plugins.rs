//! The plugins of a network: their keys, their own validation, and whether their programs are there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use bridge::Bridge;
use cni::cache::DEFAULT_FOLDER;
use cni::{
    Cache, Chain, Command, Conf, NetworkList, NetworkName, Plugin, Request, Target, Version, case_blind,
    delegate,
};
use serde_json::{Map, Value, json};

use super::document::Node;
use super::file::Network;
use super::keys::{self, Fault};
use super::schemas::Known;
use crate::agent;
use crate::network::obstacles::obstacle;
use crate::network::{OVERLAY, text};
use crate::suggestion::nearest;

/// The suite's plugins that an object configures: that of its `type`, and that of its `ipam`.
fn known(plugin: &Node) -> impl Iterator<Item = Known> {
    let kind = plugin.get("type").and_then(Node::text).unwrap_or_default();
    let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type")?.text()).unwrap_or_default();
    Known::of(kind, ipam)
}

/// Judges the keys of a plugin's object, and those of its `ipam`.
pub(super) fn judge_keys(plugin: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Of other plugins the keys that all have in common are known.
    let mut schema = cni::schema::plugin(&json!({}));
    schema["additionalProperties"] = json!(true);
    // The plugin itself comes before its IPAM.
    for known in known(plugin) {
        if known.is_ipam {
            schema["properties"]["ipam"] = known.schema();
        } else {
            schema = known.schema();
        }
    }
    keys::judge(plugin, &schema, "", &mut faults);
    faults
}

/// Judges every plugin of a network that has a name: its keys, and by its own validation where it is one of the suite.
pub(super) fn judge(network: &Network, version: Version, name: &NetworkName) -> Vec<Fault> {
    let mut faults = Vec::new();
    let of_network = network_keys(&network.root);
    for plugin in network.plugins() {
        let mut found = judge_keys(plugin);
        // The plugin judges the rest, so that all mistakes are reported at once.
        let places: HashSet<usize> = found.iter().map(|fault| fault.at).collect();
        for known in known(plugin) {
            let object = plugin.object(&places);
            let Err(error) = validate(known, object, version, name) else { continue };
            let at = plugin.get("ipam").filter(|_| known.is_ipam).map_or(plugin.at, |ipam| ipam.at);
            let meant = fault(plugin, &error);
            found.push(if meant.at == plugin.at { Fault { at, ..meant } } else { meant });
        }
        faults.extend(found.into_iter().filter(|fault| !of_network.contains(&fault.at)));
    }
    faults
}

/// The places of the network's keys in a single configuration, which has them beside those of its plugin.
fn network_keys(root: &Node) -> Vec<usize> {
    let keys = ["disableCheck", "disableGC", "cniVersions"].iter().filter(|_| root.get("plugins").is_none());
    keys.filter_map(|key| Some(root.get(key)?.at)).collect()
}

fn validate(
    known: Known,
    mut object: Map<String, Value>,
    version: Version,
    name: &NetworkName,
) -> Result<(), cni::Error> {
    object.insert("cniVersion".to_owned(), version.as_str().into());
    object.insert("name".to_owned(), name.as_str().into());
    let conf = Conf::from_object(object)?;
    (known.validate)(&Request { command: Command::Add, conf, path: Vec::new() }, None)
}

/// Refuses what an ADD would refuse of a plugin's configuration, where the plugin or its IPAM plugin is of the suite.
///
/// # Errors
/// The plugin's.
pub(crate) fn expect_acceptable(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let raw = request.conf.raw();
    let ipam = case_blind::get(raw, "ipam").and_then(Value::as_object);
    let mut known = Known::of(text(raw, "type"), ipam.map_or("", |ipam| text(ipam, "type")));
    known.try_for_each(|plugin| (plugin.validate)(request, Some(target)))
}

/// An error of the contract at the place that it names.
pub(super) fn fault(node: &Node, error: &cni::Error) -> Fault {
    Fault::new(node.meant_by(error.message()).at, error.message(), error.hint())
}

/// The plugins that are in no folder.
pub(super) fn missing(network: &Network, path: &[PathBuf]) -> Vec<Fault> {
    let types = network.plugins().iter().flat_map(|plugin| [Some(plugin), plugin.get("ipam")]);
    let types = types.flatten().filter_map(|object| object.get("type"));
    types
        .filter_map(|node| {
            let name = node.text().filter(|name| !name.is_empty())?;
            let error = delegate::find(name, path).err()?;
            let cure = match nearest(name, names(path).iter().map(String::as_str)) {
                Some(meant) => format!("did you mean {meant:?}? {}", error.hint()),
                None => error.hint().to_owned(),
            };
            Some(Fault::new(node.at, error.message(), cure))
        })
        .collect()
}

/// The overlay networks of which this host's agent has no file, so that it gives no block of them.
pub(super) fn without_agent(network: &Network) -> Vec<Fault> {
    let bridges = network
        .plugins()
        .iter()
        .filter(|plugin| plugin.get("type").and_then(Node::text) == Some(Bridge::NAME));
    let named = bridges.filter_map(|plugin| plugin.get(OVERLAY));
    named
        .filter_map(|node| {
            let name = NetworkName::new(node.text()?).ok()?;
            let file = agent::file(&name);
            let problem = format!("overlay network {name} has no {}", file.display());
            let cure = format!("`cleat network join {name} --engine …` writes it");
            (!file.exists()).then(|| Fault::new(node.at, problem, cure))
        })
        .collect()
}

/// What drops the network's packets on this host, by STATUS of its plugins.
pub(super) fn dropped(network: &Network, path: &[PathBuf]) -> Option<Fault> {
    let list = NetworkList::from_slice(network.text.as_bytes()).ok()?;
    // STATUS is about no attachment, so nothing is looked up there.
    let cache = Cache::new(Path::new(DEFAULT_FOLDER));
    let (place, said) = obstacle(&Chain { list: &list, path, cache: &cache })?;
    let at = network.plugins().get(place).map_or(network.root.at, |plugin| plugin.at);
    let (what, cure) = said.split_once(": ").unwrap_or((&said, ""));
    Some(Fault::new(at, what, cure))
}

/// The programs in the folders of plugins.
fn names(path: &[PathBuf]) -> Vec<String> {
    let entries = path.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
