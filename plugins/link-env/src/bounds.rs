//! What one member may say, and what it is given, at most: the one table of it, which README has as well. Whoever makes a
//! member may be a stranger to everybody else on the node, who pay for what it says: with time under the registry's lock, with
//! room on `/run`, with lines of their hosts files.
//!
//! All is counted before anything is written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use registry::{ExtraHost, PortRange};

use crate::conf::Layer;
use crate::error::Error;

/// How much there may be of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// What is counted, as people read it behind the number.
    pub(crate) what: &'static str,
    /// How many there may be.
    pub(crate) most: usize,
}

/// Names besides the member's own. Those that follow from what the runtime says (`pod.namespace`) do not count.
pub(crate) const ALIASES: Bound = Bound { what: "aliases", most: 16 };
/// Links to others.
pub(crate) const LINKS: Bound = Bound { what: "links", most: 32 };
/// Namespaces that it lets know it.
pub(crate) const NAMESPACES: Bound = Bound { what: "namespaces allowed", most: 32 };
/// Ports of `expose`, where each one of a range counts.
pub(crate) const PORTS: Bound = Bound { what: "exposed ports", most: 1_024 };
/// Variables that it offers, as `NAME=value` with a NUL.
pub(crate) const OFFERED: Bound = Bound { what: "bytes of variables offered", most: 64 << 10 };
/// Variables that all its links give it, as `NAME=value` with a NUL: some of what execve(2) takes and of what an answer to
/// NRI may hold.
pub(crate) const GIVEN: Bound = Bound { what: "bytes of variables by links", most: 128 << 10 };
/// Hosts entries of its own, as lines of an address and a name.
pub(crate) const ENTRIES: Bound = Bound { what: "bytes of extra hosts", most: 64 << 10 };
/// Ports of its links that the bridge opens for it, published ones of the sources with them.
pub(crate) const OPENED: Bound = Bound { what: "ports opened by links", most: 2_048 };

/// All of them, as README has them.
#[cfg(test)]
const TABLE: [Bound; 8] = [ALIASES, LINKS, NAMESPACES, PORTS, OFFERED, GIVEN, ENTRIES, OPENED];

impl Bound {
    /// Refuses more than that. `whose` says where it is said, such as `pod annotation link-env.cni/links`.
    pub(crate) fn check(self, whose: &str, found: usize) -> Result<(), Error> {
        if found <= self.most {
            return Ok(());
        }
        Err(Error::TooMuch { whose: whose.to_owned(), found, what: self.what, most: self.most })
    }
}

/// Refuses a layer of the configuration that says more than a member may. `key` gives the place of a field.
pub(crate) fn check(layer: &Layer, key: impl Fn(&str) -> String) -> Result<(), Error> {
    ALIASES.check(&key("aliases"), layer.aliases.len())?;
    LINKS.check(&key("links"), layer.links.len())?;
    NAMESPACES.check(&key("allow-from"), layer.allow_from.len())?;
    // No port is in two items, or it is no matter: what is left is few enough to be read.
    PORTS.check(&key("expose"), layer.expose.len())?;
    let ranges = layer.expose.iter().filter_map(|text| text.parse::<PortRange>().ok());
    PORTS.check(&key("expose"), ports(&PortRange::union(ranges)))?;
    OFFERED.check(&key("env"), variables(&layer.env))?;
    ENTRIES.check(&key("extraHosts"), layer.extra_hosts.iter().map(|text| text.len() + 1).sum())
}

/// How many ports ranges have that do not touch.
pub(crate) fn ports(ranges: &[PortRange]) -> usize {
    ranges.iter().map(|range| range.numbers().len()).sum()
}

/// What variables take in a process's environment, in bytes.
pub(crate) fn variables(variables: &BTreeMap<String, String>) -> usize {
    variables.iter().map(|(key, value)| variable(key, value)).sum()
}

/// What a variable takes in a process's environment, in bytes.
pub(crate) fn variable(key: &str, value: &str) -> usize {
    key.len() + value.len() + 2
}

/// What an entry takes in a hosts file, in bytes.
pub(crate) fn entry(host: &ExtraHost) -> usize {
    let address = match host.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.to_string(),
    };
    address.len() + host.name.len() + 2
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn readme_has_the_same_table() {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        for Bound { what, most } in TABLE {
            let number = if most >= 64 << 10 { format!("{} KiB", most >> 10) } else { thousands(most) };
            let what = what.strip_prefix("bytes of ").unwrap_or(what);
            let row = format!("| {what} | {number} |");
            assert!(readme.contains(&row), "README has no row {row:?}");
        }
    }

    fn thousands(number: usize) -> String {
        if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
    }

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
        let judge = |layer: &Layer| check(layer, |field| format!("endpoint.{field}"));
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
