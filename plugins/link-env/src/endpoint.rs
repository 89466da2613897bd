//! The endpoint: what the container offers to the network and wants of it, merged from all that describe it, valid.
//!
//! Each field comes from the strongest place that has it. Nothing here looks at other members.

use std::net::IpAddr;

use registry::{ExtraHost, Link, Member, PortRange, Protocol, Published, short_id};

use crate::conf::{Conf, Layer, Pod, PortMapping};
use crate::error::Error;
use crate::name;

/// A member that has not joined yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The member under the name that is wanted.
    pub(crate) member: Member,
    /// `pod.namespace`, where the name is a pod's: pods of several namespaces may have the same name, so it is the name
    /// where the pod's own is in use, and an alias otherwise.
    pub(crate) qualified: Option<String>,
}

impl Endpoint {
    /// Merges and validates what is said of a container's endpoint.
    pub(crate) fn new(
        conf: &Conf,
        container_id: &str,
        ifname: &str,
        addresses: Vec<IpAddr>,
    ) -> Result<Self, Error> {
        let layers = &conf.layers;
        let short = short_id(container_id);
        let named = strongest(layers, |layer| &layer.name);
        let (name, qualified) = match named {
            Some(name) => (name.to_owned(), None),
            None => of_pod(&conf.pod).unwrap_or_else(|| (short.clone(), None)),
        };
        name::check("name", &name)?;
        let (hostname, domain) = host_name(layers, short)?;
        let mut aliases: Vec<String> = Vec::new();
        for alias in strongest_list(layers, |layer| &layer.aliases) {
            name::check("alias", alias)?;
            if *alias != name && !aliases.contains(alias) {
                aliases.push(alias.clone());
            }
        }
        let env = layers.iter().map(|layer| &layer.env).find(|env| !env.is_empty());
        let env = env.cloned().unwrap_or_default();
        for (key, value) in &env {
            name::check_variable(key, value)?;
        }
        let expose = strongest_list(layers, |layer| &layer.expose).iter();
        let extra_hosts = strongest_list(layers, |layer| &layer.extra_hosts).iter();
        let member = Member {
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
            netns: None,
            bridge: None,
            expose: PortRange::union(expose.map(|text| port(text)).collect::<Result<Vec<_>, _>>()?),
            published: conf.port_mappings.iter().map(published).collect::<Result<_, _>>()?,
            links: links(strongest_list(layers, |layer| &layer.links))?,
            extra_hosts: extra_hosts.map(|text| extra_host(text)).collect::<Result<_, _>>()?,
            names: conf.names,
            name,
            hostname,
            domain,
            aliases,
            addresses,
            env,
            joined: 0,
            slot: None,
        };
        Ok(Self { member, qualified })
    }

    /// The member with all names that it may get.
    pub(crate) fn any(&self) -> Member {
        let mut member = self.member.clone();
        self.qualified.iter().cloned().for_each(|name| member.add_alias(name));
        member
    }
}

fn strongest(layers: &[Layer], field: impl Fn(&Layer) -> &String) -> Option<&str> {
    layers.iter().map(|layer| field(layer).as_str()).find(|text| !text.is_empty())
}

fn strongest_list(layers: &[Layer], field: impl Fn(&Layer) -> &Vec<String>) -> &[String] {
    layers.iter().map(field).find(|list| !list.is_empty()).map_or(&[], Vec::as_slice)
}

/// The pod's name, and with its namespace. The user did not choose them for this purpose: one that cannot stand in a
/// hosts file is passed over.
fn of_pod(pod: &Pod) -> Option<(String, Option<String>)> {
    let name = pod.name.clone().filter(|name| name::is_valid(name))?;
    let qualified = pod.namespace.as_ref().map(|namespace| format!("{name}.{namespace}"));
    Some((name, qualified.filter(|name| name::is_valid(name))))
}

/// Host name and domain; a host name with dots holds both, as Docker takes it.
fn host_name(layers: &[Layer], short: String) -> Result<(String, String), Error> {
    let domain = strongest(layers, |layer| &layer.domainname).unwrap_or_default();
    let (host, domain) = match strongest(layers, |layer| &layer.hostname) {
        None => return checked(short, domain),
        Some(text) if domain.is_empty() => text.split_once('.').unwrap_or((text, "")),
        Some(text) => (text, domain),
    };
    checked(host.to_owned(), domain)
}

fn checked(host: String, domain: &str) -> Result<(String, String), Error> {
    if domain.is_empty() {
        name::check("hostname", &host)?;
    } else {
        name::check("hostname with domainname", &format!("{host}.{domain}"))?;
    }
    Ok((host, domain.to_owned()))
}

fn port(text: &str) -> Result<PortRange, Error> {
    text.parse().map_err(|error: registry::Error| Error::Config {
        problem: format!("expose: {error}"),
        cure: "write 5432/tcp or 8000-8005/udp",
    })
}

fn published(mapping: &PortMapping) -> Result<Published, Error> {
    let refused = |error: registry::Error| Error::Config {
        problem: format!("runtimeConfig.portMappings: {error}"),
        cure: "container ports are 1 to 65535, of tcp, udp or sctp",
    };
    let protocol = match mapping.protocol.as_str() {
        "" => Protocol::Tcp,
        text => text.parse().map_err(refused)?,
    };
    PortRange::single(mapping.container_port, protocol).map_err(refused)?;
    Ok(Published {
        host_ip: mapping.host_ip.clone(),
        host_port: mapping.host_port,
        container_port: mapping.container_port,
        protocol,
    })
}

/// Reads `source[:alias]`, and the form in which Docker shows links, `/source:/recipient/alias`.
fn links(texts: &[String]) -> Result<Vec<Link>, Error> {
    let mut links: Vec<Link> = Vec::with_capacity(texts.len());
    for text in texts {
        let (source, alias) = text.split_once(':').unwrap_or((text, text));
        let source = source.strip_prefix('/').unwrap_or(source);
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        name::check("link source", source)?;
        name::check("link alias", alias)?;
        match links.iter().find(|link| link.alias == alias) {
            Some(other) if other.source != source => {
                return Err(Error::Config {
                    problem: format!(
                        "links to {} and to {source} have the same alias {alias:?}",
                        other.source
                    ),
                    cure: "write each link as source:alias with an alias of its own",
                });
            }
            Some(_) => {}
            None => links.push(Link { source: source.to_owned(), alias: alias.to_owned() }),
        }
    }
    Ok(links)
}

/// Reads `name:address` or `name=address`, the address of IPv6 in brackets or bare.
fn extra_host(text: &str) -> Result<ExtraHost, Error> {
    let refused = || Error::Config {
        problem: format!("extra host {text:?} is not a name with an address"),
        cure: "write it as name:192.0.2.1 or name:2001:db8::1",
    };
    let (name, address) = text.split_once([':', '=']).ok_or_else(refused)?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    name::check("name of an extra host", name)?;
    Ok(ExtraHost { name: name.to_owned(), address: bare.parse().map_err(|_| refused())? })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";

    fn endpoint(keys: &Value, args: &str) -> Result<Endpoint, Error> {
        let mut whole = json!({"cniVersion": "1.1.0", "name": "web", "type": "link-env"});
        whole.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let conf = cni::Conf::from_slice(whole.to_string().as_bytes()).unwrap();
        let conf = Conf::new(&conf, &cni::Args::parse(args).unwrap())?;
        Endpoint::new(&conf, ID, "eth0", vec!["10.1.0.2".parse().unwrap()])
    }

    #[test]
    fn every_field_comes_from_the_strongest_place_that_has_it() {
        let all = json!({
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"link-env.cni/name": "strongest"}},
            "args": {"cni": {"link-env": {"name": "third", "aliases": ["a"], "expose": ["3"]}}},
            "endpoint": {"name": "weakest", "aliases": ["b"], "expose": ["4"], "env": {"K": "V"}},
        });
        let member = endpoint(&all, "LINK_NAME=second;LINK_EXPOSE=2/udp").unwrap().member;
        assert_eq!(member.name, "strongest");
        assert_eq!(member.aliases, ["a"]);
        assert_eq!(member.expose, ["2/udp".parse().unwrap()]);
        assert_eq!(member.env["K"], "V");
        assert_eq!(member.hostname, "60707a2f0f64");
    }

    #[test]
    fn without_a_name_of_its_own_a_container_has_the_pods_or_its_short_id() {
        let name = |keys: Value, args: &str| {
            let endpoint = endpoint(&keys, args).unwrap();
            (endpoint.member.name, endpoint.qualified)
        };
        assert_eq!(name(json!({}), ""), ("60707a2f0f64".into(), None));
        assert_eq!(name(json!({}), "K8S_POD_NAME=a"), ("a".into(), None));
        assert_eq!(name(json!({}), "K8S_POD_NAME=a;K8S_POD_NAMESPACE=ns"), ("a".into(), Some("a.ns".into())));
        // podman allows names that no hosts file can have.
        assert_eq!(name(json!({}), "K8S_POD_NAME=a..b").0, "60707a2f0f64");
        assert_eq!(name(json!({"endpoint": {"name": "db"}}), "K8S_POD_NAME=a"), ("db".into(), None));
    }

    #[test]
    fn published_ports_are_read_as_runtimes_spell_them() {
        let mappings = json!([{"HostPort": 8081, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""},
            {"containerPort": 53, "protocol": "udp"}]);
        let member = endpoint(&json!({"runtimeConfig": {"portMappings": mappings}}), "").unwrap().member;
        let ports: Vec<String> = member.ports().into_iter().map(String::from).collect();
        assert_eq!(ports, ["80/tcp", "53/udp"]);
    }

    #[test]
    fn links_are_read_in_both_of_dockers_forms() {
        let link = |source: &str, alias: &str| Link { source: source.into(), alias: alias.into() };
        let texts = ["db:webdb", "/cache:/web/redis", "mq", "mq"].map(str::to_owned);
        assert_eq!(links(&texts).unwrap(), [link("db", "webdb"), link("cache", "redis"), link("mq", "mq")]);
        let twice = ["a:x", "b:x"].map(str::to_owned);
        assert!(links(&twice).unwrap_err().to_string().contains("links to a and to b"));
    }

    #[test]
    fn extra_hosts_have_addresses_of_both_families() {
        for (text, address) in [
            ("h:192.0.2.1", "192.0.2.1"),
            ("h=192.0.2.1", "192.0.2.1"),
            ("h:2001:db8::1", "2001:db8::1"),
            ("h:[2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(extra_host(text).unwrap().address, address.parse::<IpAddr>().unwrap());
        }
        for text in ["h", "h:", "h:x", "h h:192.0.2.1", ":192.0.2.1"] {
            assert!(extra_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_name_with_dots_holds_the_domain() {
        let host = |endpoint_keys: Value| {
            let member = endpoint(&json!({"endpoint": endpoint_keys}), "").unwrap().member;
            (member.hostname, member.domain)
        };
        assert_eq!(host(json!({"hostname": "h.example.org"})), ("h".into(), "example.org".into()));
        assert_eq!(host(json!({"hostname": "h", "domainname": "d"})), ("h".into(), "d".into()));
        assert_eq!(host(json!({"domainname": "d"})), ("60707a2f0f64".into(), "d".into()));
    }

    #[test]
    fn what_would_break_a_file_is_refused_with_the_value() {
        for (keys, words) in [
            (json!({"name": "a b"}), "invalid name \"a b\""),
            (json!({"name": "localhost"}), "localhost"),
            (json!({"aliases": ["x\n127.0.0.1 bank"]}), "invalid alias"),
            (json!({"hostname": "a#"}), "invalid hostname"),
            (json!({"links": ["a:b c"]}), "invalid link alias"),
            (json!({"links": [":b"]}), "invalid link source"),
            (json!({"expose": ["0"]}), "expose: read port \"0\""),
            (json!({"env": {"A=B": "x"}}), "environment variable"),
            (json!({"env": {"A": "x\u{0}"}}), "environment variable"),
        ] {
            let error = endpoint(&json!({"endpoint": keys}), "").unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(cni::Error::from(error).code(), 7);
        }
    }
}
