//! The endpoint: what the container offers to the network and wants of it, merged from all that describe it, valid.
//!
//! Each field comes from the strongest place that has it. Nothing here looks at other members.

use std::net::IpAddr;

use cni::AddResult;
use registry::{EVERYBODY, ExtraHost, Link, Member, PortRange, Protocol, Published, short_id};

use crate::conf::{Conf, Layer, Pod, PortMapping};
use crate::error::Error;
use crate::name;

/// So many namespaces may one member let know it, each by its name.
const MAX_ALLOWED: usize = 32;

/// A member that has not joined yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The member under the name that is wanted.
    pub(crate) member: Member,
    /// Nobody chose the name: it is the runtime's for the container, or its short ID.
    pub(crate) is_name_given: bool,
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
        let name = match named {
            Some(name) => name.to_owned(),
            None => of_pod(&conf.pod).unwrap_or_else(|| short.clone()),
        };
        // No matter who wrote them: with dots, they would be names of other namespaces.
        let is_pods = !conf.pod.namespace.is_empty();
        let check = if is_pods { name::check_label } else { name::check };
        if named.is_some() {
            check("name", &name)?;
        }
        let (hostname, domain) = host_name(layers, short)?;
        let mut aliases: Vec<String> = Vec::new();
        for alias in strongest_list(layers, |layer| &layer.aliases) {
            check("alias", alias)?;
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
            namespace: Some(conf.pod.namespace.clone()),
            is_name_chosen: !layers[0].name.is_empty(),
            keeps_env: !conf.may_share_env,
            allow_from: allowed(strongest_list(layers, |layer| &layer.allow_from))?,
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
        Ok(Self { member, is_name_given: named.is_none() })
    }
}

/// The addresses of a container's interface. Where a result gives it none, those that it gives to no interface inside a
/// container are meant: not every plugin counts interfaces right, or names the namespace.
pub(crate) fn addresses(result: &AddResult, ifname: &str) -> Vec<IpAddr> {
    let own: Vec<IpAddr> = result.container_ips(ifname).map(|ip| ip.address.ip()).collect();
    if !own.is_empty() {
        return own;
    }
    let is_inside =
        |index: usize| result.interfaces.get(index).is_some_and(|known| !known.sandbox.is_empty());
    let others = result.ips.iter().filter(|ip| !ip.interface.is_some_and(is_inside));
    others.map(|ip| ip.address.ip()).collect()
}

fn strongest(layers: &[Layer], field: impl Fn(&Layer) -> &String) -> Option<&str> {
    layers.iter().map(|layer| field(layer).as_str()).find(|text| !text.is_empty())
}

fn strongest_list(layers: &[Layer], field: impl Fn(&Layer) -> &Vec<String>) -> &[String] {
    layers.iter().map(field).find(|list| !list.is_empty()).map_or(&[], Vec::as_slice)
}

/// The pod's name. The user did not choose it for this purpose: one that cannot stand in a hosts file is passed over. Behind
/// the name of a pod of Kubernetes stands its namespace, so that it has no dots itself.
fn of_pod(pod: &Pod) -> Option<String> {
    let fits = if pod.namespace.is_empty() { name::is_valid } else { name::is_single };
    pod.name.clone().filter(|name| fits(name))
}

/// The namespaces that may know the member, each once.
fn allowed(texts: &[String]) -> Result<Vec<String>, Error> {
    let mut allowed: Vec<String> = Vec::with_capacity(texts.len());
    for text in texts {
        if text != EVERYBODY && !name::is_label(text) {
            return Err(Error::Config {
                problem: format!("allow-from names {text:?}, which is no namespace"),
                cure: "write namespaces with commas between, or * for all of them",
            });
        }
        if !allowed.contains(text) {
            allowed.push(text.clone());
        }
    }
    if allowed.len() > MAX_ALLOWED {
        return Err(Error::Config {
            problem: format!("allow-from names {} namespaces, more than {MAX_ALLOWED}", allowed.len()),
            cure: "name fewer, or write * for all of them",
        });
    }
    Ok(allowed)
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

/// Reads `source[:alias]`, and the form in which Docker shows links, `/source:/recipient/alias`. A container's full ID is
/// no name, and too long for an alias: there it is the short one.
fn links(texts: &[String]) -> Result<Vec<Link>, Error> {
    let mut links: Vec<Link> = Vec::with_capacity(texts.len());
    for text in texts {
        let (source, alias) =
            text.split_once(':').map_or((text.as_str(), None), |(source, alias)| (source, Some(alias)));
        let source = source.strip_prefix('/').unwrap_or(source);
        let is_id = !name::is_valid(source) && name::is_long_id(source);
        if !is_id {
            name::check("link source", source)?;
        }
        let short = if is_id { short_id(source) } else { source.to_owned() };
        let alias = alias.map_or(short.as_str(), |alias| alias.rsplit('/').next().unwrap_or(alias));
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
mod tests;
