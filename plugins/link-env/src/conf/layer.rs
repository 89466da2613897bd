//! What one place of the configuration says of the endpoint, as text; `endpoint` validates it.

use std::collections::BTreeMap;

use cni::PortRange;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::bounds::{self, ALIASES, Bound, ENTRIES, LINKS, NAMESPACES, OFFERED, PORTS};
use crate::error::Error;

/// What one place says of the endpoint. An empty field is left to weaker places.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Layer {
    /// Name by which others on the network find the container.
    #[schemars(extend("x-default" = "the pod's, else the first 12 digits of the container's ID"))]
    pub(crate) name: String,
    /// Host name of the container, in its hosts file.
    #[schemars(extend("x-default" = "the first 12 digits of the container's ID"))]
    pub(crate) hostname: String,
    /// Domain of the host name.
    pub(crate) domainname: String,
    /// Further names of the container, which several may share: at most 16.
    pub(crate) aliases: Vec<String>,
    /// Ports that the container offers to others: `80`, `53/udp`, `8000-8010/tcp`; at most 1,024. They are not published.
    pub(crate) expose: Vec<String>,
    /// Containers that this one is linked to: `source` or `source:alias`; at most 32. The source is a name, an ID or an alias.
    pub(crate) links: Vec<String>,
    /// Variables that links to the container give to their recipients; at most 64 KiB.
    pub(crate) env: BTreeMap<String, String>,
    /// Other Kubernetes namespaces whose pods may link to the container by `name.namespace`; `*`: all. At most 32.
    pub(crate) allow_from: Vec<String>,
    /// Further lines of the container's hosts file: `name:address`; at most 64 KiB.
    pub(crate) extra_hosts: Vec<String>,
}

impl Layer {
    /// Takes each field that is empty from a weaker place.
    pub(super) fn or(self, weaker: Self) -> Self {
        fn or<T: Default + PartialEq>(field: T, weaker: T) -> T {
            if field == T::default() { weaker } else { field }
        }
        Self {
            name: or(self.name, weaker.name),
            hostname: or(self.hostname, weaker.hostname),
            domainname: or(self.domainname, weaker.domainname),
            aliases: or(self.aliases, weaker.aliases),
            expose: or(self.expose, weaker.expose),
            links: or(self.links, weaker.links),
            env: or(self.env, weaker.env),
            allow_from: or(self.allow_from, weaker.allow_from),
            extra_hosts: or(self.extra_hosts, weaker.extra_hosts),
        }
    }

    /// Refuses a layer that says more than a member may. `key` gives the full key of a field.
    pub(super) fn check_bounds(&self, key: impl Fn(&str) -> String) -> Result<(), Error> {
        ALIASES.check(&key("aliases"), self.aliases.len())?;
        LINKS.check(&key("links"), self.links.len())?;
        NAMESPACES.check(&key("allow-from"), self.allow_from.len())?;
        // Items are counted before they are read, and ports after.
        PORTS.check(&key("expose"), self.expose.len())?;
        let ranges = self.expose.iter().filter_map(|text| text.parse::<PortRange>().ok());
        PORTS.check(&key("expose"), bounds::ports(&PortRange::union(ranges)))?;
        OFFERED.check(&key("env"), bounds::variables(&self.env))?;
        ENTRIES.check(&key("extraHosts"), self.extra_hosts.iter().map(|text| text.len() + 1).sum())
    }
}

/// The items of comma-separated text, counted before they are copied.
pub(super) fn items(text: &str, bound: Bound, whose: impl Fn() -> String) -> Result<Vec<String>, Error> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    bound.check(&whose(), items().count())?;
    Ok(items().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_at_its_bounds_passes_and_one_more_is_named() {
        let full = Layer {
            aliases: vec!["a".into(); ALIASES.most],
            links: vec!["a".into(); LINKS.most],
            expose: vec!["1-1000".into(), "900-1024".into()],
            env: BTreeMap::from([("A".into(), "x".repeat(OFFERED.most - 3))]),
            extra_hosts: vec!["x".repeat(ENTRIES.most - 1)],
            ..Layer::default()
        };
        let judge = |layer: &Layer| layer.check_bounds(|field| format!("endpoint.{field}"));
        judge(&full).unwrap();
        let mut beyond: Vec<(Layer, &str)> = Vec::new();
        let mut add = |change: &dyn Fn(&mut Layer), words| {
            let mut layer = full.clone();
            change(&mut layer);
            beyond.push((layer, words));
        };
        add(&|layer| layer.aliases.push("b".into()), "endpoint.aliases: 17 aliases, more than 16");
        add(&|layer| layer.links.push("b".into()), "endpoint.links: 33 links, more than 32");
        add(
            &|layer| layer.expose.push("7/udp".into()),
            "endpoint.expose: 1025 exposed ports, more than 1024",
        );
        add(&|layer| layer.expose = vec!["1".into(); 2_000], "2000 exposed ports");
        add(
            &|layer| drop(layer.env.insert("B".into(), String::new())),
            "endpoint.env: 65539 bytes of variables",
        );
        add(&|layer| layer.extra_hosts.push(String::new()), "endpoint.extraHosts: 65537 bytes");
        for (layer, words) in beyond {
            let error = judge(&layer).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
