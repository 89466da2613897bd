//! A member: one container's interface on one network, and what others may know of it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::Not;
use std::path::PathBuf;

use cni::{PortMapping, PortRange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One container's interface on one network. Container ID and interface identify it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Member {
    /// The container's ID.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface inside the container.
    pub ifname: String,
    /// The path of the container's network namespace when it joined; where it is gone, so is the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// The host's bridge that keeps the members of the network apart but for links, where one does and there were links
    /// when the member joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The Kubernetes namespace that it belongs to, as the runtime tells it; empty for callers that know none. `None` of
    /// members that were written by a version that kept none (see [`Member::former_namespace`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The container's name, unique among the members of its tenant on the network.
    pub name: String,
    /// The pod's own annotation chose the name: a pod that is called so by the runtime takes it over.
    #[serde(skip_serializing_if = "Not::not")]
    pub is_name_chosen: bool,
    /// The host name, without domain.
    pub hostname: String,
    /// The domain of the host name; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Further names, which several members may share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The interface's addresses in the order of the result that assigned them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Ports on which the container serves, besides the published ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<PortRange>,
    /// Ports that the host forwards to the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PortMapping>,
    /// Environment that those who link to it are given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its network does not let an agent offer the environment of its containers.
    #[serde(skip_serializing_if = "Not::not")]
    pub keeps_env: bool,
    /// Other namespaces whose members may link to it by `name.namespace`; [`EVERYBODY`](crate::EVERYBODY): all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<String>,
    /// Its links to other members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Names of its own for addresses outside the network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Whose names it sees.
    pub names: Names,
    /// When it joined, in nanoseconds since 1970: members stand in this order.
    #[serde(skip_serializing_if = "is_zero")]
    pub joined: u64,
    /// Its place in the hosts files of those who see every member; link-env gives it. Versions that knew fewer names of a
    /// member kept shorter ones under `slot`: those are not read.
    #[serde(rename = "place", skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// A member's place among the lines of its network: it stays where it is while others come and go, so that none of
/// their lines ever moves under a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Bytes before it.
    pub start: usize,
    /// Its own bytes.
    pub length: usize,
}

impl Slot {
    /// The first byte after it.
    #[must_use]
    pub fn end(self) -> usize {
        self.start + self.length
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A link: the recipient, which has it, sees the source under an alias of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The source's name, ID or alias, as it was given. It is looked up anew each time, because another container
    /// may have taken the name over.
    pub source: String,
    /// The name that holds for the recipient alone.
    pub alias: String,
}

/// A name for an address, known to one container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

/// Whose names a member sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Those of every member, as on Docker's user-defined networks.
    #[default]
    Network,
    /// Those it has links to, as on Docker's default bridge.
    Links,
}

impl Member {
    /// Whether this is the member of that container and interface.
    #[must_use]
    pub fn is(&self, container_id: &str, ifname: &str) -> bool {
        self.container_id == container_id && self.ifname == ifname
    }

    /// What identifies it: container ID and interface.
    #[must_use]
    pub fn attachment(&self) -> (&str, &str) {
        (&self.container_id, &self.ifname)
    }

    /// All that a link's source within its tenant may call it by: its name, its container's ID in full and short, its aliases; each once.
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        let short = short_id(&self.container_id);
        let own = [self.name.as_str(), &self.container_id, &short];
        let mut known = HashSet::with_capacity(own.len() + self.aliases.len());
        let all = own.into_iter().chain(self.aliases.iter().map(String::as_str));
        all.filter(|source| known.insert(*source)).map(str::to_owned).collect()
    }

    /// All ports on which it serves, exposed and published, as runs in Docker's order.
    #[must_use]
    pub fn ports(&self) -> Vec<PortRange> {
        let published = self
            .published
            .iter()
            .filter_map(|port| PortRange::single(port.container_port, port.protocol).ok());
        PortRange::union(self.expose.iter().copied().chain(published))
    }

    /// The address that stands for it where there is room for one: IPv4 before IPv6.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let first = self.addresses.first();
        self.addresses.iter().find(|address| address.is_ipv4()).or(first).copied()
    }
}

/// Digits of the short form of a container ID.
pub(crate) const SHORT_ID: usize = 12;

/// The short form of a container ID, by which people call it: the first twelve digits of its hexadecimal part, which
/// some runtimes put a prefix before (`default-…`, `cnitool-…`). IDs without such a part stand for themselves, as a
/// label of a host name: at most 63 bytes, without dots (RFC 1035, section 2.3.4).
#[must_use]
pub fn short_id(container_id: &str) -> String {
    const LABEL: usize = 63;
    let tail = container_id.rsplit_once('-').map_or(container_id, |(_, tail)| tail);
    if tail.len() >= SHORT_ID && tail.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return tail[..SHORT_ID].to_owned();
    }
    if container_id.len() <= LABEL && !container_id.contains('.') {
        return container_id.to_owned();
    }
    container_id.chars().take(LABEL).map(|letter| if letter == '.' { '-' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_tell_containers_apart_whatever_the_runtime_puts_before() {
        let digits = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";
        assert_eq!(short_id(digits), "60707a2f0f64");
        assert_eq!(short_id(&format!("default-{digits}")), "60707a2f0f64");
        assert_eq!(short_id("cnitool-77383ca0f83d7f4dcdb5"), "77383ca0f83d");
        assert_eq!(short_id("default-loader1.a"), "default-loader1-a");
        assert_ne!(short_id("default-loader1"), short_id("default-loader2"));
        assert_eq!(short_id(&"x".repeat(200)).len(), 63);
    }

    #[test]
    fn ports_are_the_exposed_and_the_published_ones() {
        let member = Member {
            expose: vec!["81".parse().unwrap(), "53/udp".parse().unwrap()],
            published: vec![PortMapping {
                host_ip: None,
                host_port: 8080,
                container_port: 80,
                protocol: cni::Protocol::Tcp,
            }],
            ..Member::default()
        };
        let ports: Vec<String> = member.ports().into_iter().map(String::from).collect();
        assert_eq!(ports, ["80-81/tcp", "53/udp"]);
    }
}
