//! What plugins are given about a container of `run`: capability arguments, and the endpoint for link-env.
//!
//! Pure: options and a network in, arguments out. An option that no plugin of the network supports is refused here, before
//! anything is made, as plugins ignore what they do not know.

mod network_option;
mod pairs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni::{NetworkList, PortMapping, PortRange};
use serde_json::{Map, Value, json};

pub(crate) use network_option::{Named, NetworkOption};
pub(crate) use pairs::{ExtraHost, Link, Variable};

use crate::error::Error;
use crate::network::{Described, LINK_ENV, PORT_MAPPINGS, declaring, plugin, publishes, subnets_of, text};
use crate::ports::{self, Publish};
use crate::way_out::priority;

/// The capability that takes further names.
const ALIASES: &str = "aliases";

/// A container as its options describe it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint<'a> {
    /// `--name`.
    pub(crate) name: Option<&'a str>,
    /// The host name, which is never empty.
    pub(crate) hostname: &'a str,
    /// `--network-alias`.
    pub(crate) aliases: &'a [String],
    /// `--expose`.
    pub(crate) expose: &'a [PortRange],
    /// `--link`.
    pub(crate) links: &'a [Link],
    /// `-e`: variables that containers with a link to this one get.
    pub(crate) env: &'a [Variable],
    /// `-p`.
    pub(crate) publish: &'a [Publish],
    /// `-P`.
    pub(crate) publish_all: bool,
    /// `--add-host`, as link-env reads it.
    pub(crate) extra_hosts: &'a [ExtraHost],
    /// `--ip` and `--ip6`.
    pub(crate) addresses: Vec<IpAddr>,
    /// `--gw-priority`.
    pub(crate) gw_priority: i64,
}

impl<'a> Endpoint<'a> {
    /// A container with no option but its host name.
    pub(crate) fn of_host(hostname: &'a str) -> Self {
        Self { hostname, ..Self::default() }
    }

    /// Refuses options that no plugin of the network supports.
    pub(crate) fn check(&self, list: &NetworkList) -> Result<(), Error> {
        if self.publish_all && self.expose.is_empty() {
            return Err(Error::refused(
                "publish all exposed ports",
                "no port is exposed",
                "add --expose PORT, or name the ports with -p",
            ));
        }
        let refuse = |option: &str, lack: &str, cure: &str| {
            Err(Error::refused(format!("use {option} on network {}", list.name), lack, cure))
        };
        if (self.publish_all || !self.publish.is_empty()) && !publishes(list) {
            let option = if self.publish_all { "-P" } else { "-p" };
            let driver = list.plugins.first().map_or("", |main| text(main, "type"));
            if ["macvlan", "ipvlan"].contains(&driver) {
                return refuse(
                    option,
                    "its containers are on the host's own network, where all of their ports are theirs",
                    "leave it out, and connect to the container's address; the host itself does not reach it",
                );
            }
            return refuse(
                option,
                "none of its plugins publishes ports",
                r#"add {"type": "host-port", "capabilities": {"portMappings": true}} to its "plugins""#,
            );
        }
        if self.extra_hosts.iter().any(ExtraHost::is_gateway) && gateway(list).is_none() {
            let cure = "name the host's address itself";
            return refuse("--add-host with host-gateway", "its file names no subnet with a gateway", cure);
        }
        self.check_families(list)?;
        if plugin(list, LINK_ENV).is_some() {
            return Ok(());
        }
        let options = [
            ("--link", !self.links.is_empty()),
            ("--add-host", !self.extra_hosts.is_empty()),
            ("--expose", !self.expose.is_empty() && !self.publish_all),
            ("--network-alias", !self.aliases.is_empty() && declaring(list, ALIASES).next().is_none()),
        ];
        let Some((option, _)) = options.into_iter().find(|(_, is_used)| *is_used) else { return Ok(()) };
        refuse(
            option,
            "none of its plugins knows names and links",
            r#"add {"type": "link-env"} to its "plugins", after the one that makes the interface"#,
        )
    }

    /// The capability arguments: `portMappings` and `aliases`, where there are any.
    pub(crate) fn capabilities(&self, list: &NetworkList) -> Map<String, Value> {
        let mut capabilities = Map::new();
        if let Some(mappings) = self.port_mappings() {
            capabilities.insert(PORT_MAPPINGS.into(), mappings);
        }
        capabilities.extend(priority(self.gw_priority));
        if !self.aliases.is_empty() {
            capabilities.insert(ALIASES.into(), json!({ list.name.as_str(): self.aliases }));
        }
        capabilities
    }

    /// `args.cni` for the plugins: the endpoint, where there is a link-env to read it.
    pub(crate) fn cni_args(&self, list: &NetworkList) -> Map<String, Value> {
        let mut args = Map::new();
        if plugin(list, LINK_ENV).is_some() {
            let env: BTreeMap<&str, &str> =
                self.env.iter().map(|variable| (variable.key.as_str(), variable.value.as_str())).collect();
            let mut endpoint = json!({"hostname": self.hostname, "aliases": self.aliases, "expose": self.expose,
                "links": self.links, "env": env});
            if let Some(name) = self.name {
                endpoint["name"] = name.into();
            }
            if !self.extra_hosts.is_empty() {
                let gateway = gateway(list);
                let at = |host: &ExtraHost| gateway.map_or_else(|| host.clone(), |gateway| host.at(gateway));
                endpoint["extraHosts"] = json!(self.extra_hosts.iter().map(at).collect::<Vec<_>>());
            }
            args.insert(LINK_ENV.into(), endpoint);
        }
        if !self.addresses.is_empty() {
            args.insert("ips".into(), json!(self.addresses));
        }
        args
    }

    /// The capability `portMappings`; `None` where nothing is published.
    pub(crate) fn port_mappings(&self) -> Option<Value> {
        let mappings = self.mappings();
        (!mappings.is_empty()).then(|| json!(mappings))
    }

    /// Refuses ports on host addresses of a family that the network has no addresses of: nothing would lead there.
    fn check_families(&self, list: &NetworkList) -> Result<(), Error> {
        let subnets = list.plugins.iter().flat_map(subnets_of);
        let families: BTreeSet<bool> = subnets.map(|subnet| subnet.is_ipv4()).collect();
        // The subnets may be where only the IPAM plugin can read them.
        if families.is_empty() {
            return Ok(());
        }
        let mut addresses = self.mappings().into_iter().filter_map(|mapping| mapping.host_ip);
        let Some(host_ip) = addresses.find(|ip| !families.contains(&ip.is_ipv4())) else { return Ok(()) };
        let (lacked, had) = if host_ip.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        Err(Error::refused(
            format!("publish a port on {host_ip}"),
            format!("network {} has no {lacked} addresses", list.name),
            format!("publish it on an {had} address of the host, or make a network with an {lacked} subnet"),
        ))
    }

    /// What is published: all of `-p`, and with `-P` the exposed ports that no `-p` names.
    fn mappings(&self) -> Vec<PortMapping> {
        let mut mappings: Vec<PortMapping> = self.publish.iter().flat_map(Publish::mappings).collect();
        if self.publish_all {
            for exposed in self.expose.iter().copied().flat_map(ports::exposed) {
                let same = |mapping: &PortMapping| {
                    (mapping.container_port, mapping.protocol) == (exposed.container_port, exposed.protocol)
                };
                if !mappings.iter().any(same) {
                    mappings.push(exposed);
                }
            }
        }
        mappings
    }
}

/// The address of the host on a network: that of its first subnet.
fn gateway(list: &NetworkList) -> Option<IpAddr> {
    Described::of(list).pools.first().map(|pool| pool.gateway)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use super::*;

    fn list(plugins: &str) -> NetworkList {
        let text =
            format!(r#"{{"cniVersion":"1.1.0","name":"net","plugins":[{{"type":"bridge"}}{plugins}]}}"#);
        NetworkList::from_slice(text.as_bytes()).unwrap()
    }

    const PORTS: &str = r#",{"type":"host-port","capabilities":{"portMappings":true}}"#;
    const NAMES: &str = r#",{"type":"link-env"}"#;

    fn all<T: FromStr<Err: Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn options_that_nothing_would_heed_are_refused_with_the_cure() {
        let (publish, expose) = (all::<Publish>(&["80"]), all::<PortRange>(&["80"]));
        let (links, aliases) = (all::<Link>(&["db"]), ["a".to_owned()]);
        let published = Endpoint { publish: &publish, ..Endpoint::of_host("h") };
        let everything = Endpoint { expose: &expose, publish_all: true, ..Endpoint::of_host("h") };
        let exposed = Endpoint { expose: &expose, ..Endpoint::of_host("h") };
        let linked = Endpoint { links: &links, ..Endpoint::of_host("h") };
        let renamed = Endpoint { aliases: &aliases, ..Endpoint::of_host("h") };
        let named = Endpoint { name: Some("web"), ..Endpoint::of_host("h") };
        for (endpoint, option, enough) in [
            (published, "-p", PORTS),
            (everything, "-P", PORTS),
            (exposed, "--expose", NAMES),
            (linked, "--link", NAMES),
            (renamed.clone(), "--network-alias", NAMES),
        ] {
            let error = endpoint.check(&list("")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("use {option} on network net: ")), "{error}");
            assert!(error.cure().unwrap().contains("plugins"), "{option}");
            assert!(endpoint.check(&list(enough)).is_ok(), "{option}");
        }
        assert!(named.check(&list("")).is_ok());
        let dnsname = list(r#",{"type":"dnsname","capabilities":{"aliases":true}}"#);
        assert!(renamed.check(&dnsname).is_ok());
        let nothing = Endpoint { publish_all: true, ..Endpoint::of_host("h") };
        assert!(nothing.check(&list(PORTS)).is_err());
    }

    #[test]
    fn a_port_on_an_address_of_a_family_that_the_network_lacks_is_refused() {
        let refuses = |ipam: &str, port: &str| {
            let publish = all::<Publish>(&[port]);
            let endpoint = Endpoint { publish: &publish, ..Endpoint::of_host("h") };
            let plugins = format!(r#"{PORTS},{{"type":"x","ipam":{ipam}}}"#);
            endpoint.check(&list(&plugins)).err().map(|error| error.to_string())
        };
        let v4 = r#"{"ranges":[[{"subnet":"10.1.0.0/24"}]],"routes":[{"dst":"::/0"}]}"#;
        let dual = r#"{"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]}"#;
        for port in ["[::1]:8084:80", "[2001:db8::1]:8085:80", "[::]:8086:80"] {
            assert!(refuses(v4, port).unwrap().contains("network net has no IPv6 addresses"), "{port}");
            assert_eq!(refuses(dual, port), None, "{port}");
            assert_eq!(refuses(r#"{"type":"dhcp"}"#, port), None, "{port}");
        }
        assert_eq!(refuses(v4, "127.0.0.1:80:80"), None);
        assert!(refuses(r#"{"subnet":"fd00::/64"}"#, "127.0.0.1:80:80").unwrap().contains("no IPv4"));
    }

    #[test]
    fn publishing_all_leaves_alone_what_is_published_already() {
        let (publish, expose) =
            (all::<Publish>(&["8080:80", "53/udp"]), all::<PortRange>(&["80-81", "53", "81"]));
        let endpoint =
            Endpoint { publish: &publish, expose: &expose, publish_all: true, ..Endpoint::of_host("h") };
        let shown: Vec<String> = endpoint
            .mappings()
            .iter()
            .map(|mapping| {
                let PortMapping { host_port, container_port, protocol, .. } = mapping;
                format!("{host_port}:{container_port}/{protocol}")
            })
            .collect();
        assert_eq!(shown, ["8080:80/tcp", "0:53/udp", "0:81/tcp", "0:53/tcp"]);
    }

    #[test]
    fn link_env_is_told_of_the_endpoint_and_others_are_not() {
        let (links, expose) = (all::<Link>(&["db:sql"]), all::<PortRange>(&["80", "7-9/udp"]));
        let (env, aliases) = (all::<Variable>(&["A=1", "B=2", "A=3"]), ["www".to_owned()]);
        let endpoint = Endpoint {
            name: Some("web"),
            aliases: &aliases,
            expose: &expose,
            links: &links,
            env: &env,
            ..Endpoint::of_host("h")
        };
        assert_eq!(
            Value::Object(endpoint.cni_args(&list(NAMES))),
            json!({"link-env": {
                "name": "web", "hostname": "h", "aliases": ["www"], "expose": ["80/tcp", "7-9/udp"],
                "links": ["db:sql"], "env": {"A": "3", "B": "2"}
            }})
        );
        assert!(endpoint.cni_args(&list("")).is_empty());
        assert_eq!(Value::Object(endpoint.capabilities(&list(NAMES))), json!({"aliases": {"net": ["www"]}}));
    }
}
