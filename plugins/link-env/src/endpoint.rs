//! The endpoint: what the container offers to the network and wants of it, validated. Nothing here looks at other members.

use std::net::IpAddr;

use cni::{AddResult, PortError, PortRange};
use registry::{EVERYBODY, ExtraHost, Link, Member, short_id};

use crate::conf::{Conf, Layer};
use crate::error::Error;
use crate::name::{self, distinct};

/// Validates what is said of a container's endpoint. Returns the member that it asks to be.
pub(crate) fn member(
    conf: &Conf,
    container_id: &str,
    ifname: &str,
    addresses: Vec<IpAddr>,
) -> Result<Member, Error> {
    let said = &conf.endpoint;
    let short = short_id(container_id);
    // A dot in the name of a namespace's member would make it the name of another namespace.
    let check = if conf.namespace.is_empty() { name::check } else { name::check_label };
    let name = if said.name.is_empty() {
        of_pod(conf).unwrap_or_else(|| short.clone())
    } else {
        check("name", &said.name)?;
        said.name.clone()
    };
    let (hostname, domain) = host_name(said, &short)?;
    said.aliases.iter().try_for_each(|alias| check("alias", alias))?;
    let mut aliases = distinct(said.aliases.clone());
    aliases.retain(|alias| *alias != name);
    said.env.iter().try_for_each(|(key, value)| name::check_variable(key, value))?;
    let expose = said.expose.iter().map(|text| {
        text.parse().map_err(|error: PortError| {
            Error::config(format!("expose: {error}"), "write 5432/tcp or 8000-8005/udp")
        })
    });
    for mapping in &conf.port_mappings {
        let refused = |error| {
            Error::config(format!("runtimeConfig.portMappings: {error}"), "container ports are 1 to 65535")
        };
        PortRange::single(mapping.container_port, mapping.protocol).map_err(refused)?;
    }
    Ok(Member {
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
        namespace: Some(conf.namespace.clone()),
        is_name_chosen: conf.is_name_annotated,
        keeps_env: !conf.may_share_env,
        allow_from: allowed(&said.allow_from)?,
        expose: PortRange::union(expose.collect::<Result<Vec<_>, _>>()?),
        published: conf.port_mappings.clone(),
        links: links(&said.links)?,
        extra_hosts: said.extra_hosts.iter().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
        names: conf.names,
        name,
        hostname,
        domain,
        aliases,
        addresses,
        env: said.env.clone(),
        ..Member::default()
    })
}

/// The addresses of a container's interface. Where a result gives it none, those that it gives to no interface inside a
/// container: some plugins write wrong interface indexes, or leave the sandbox out.
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

/// The pod's name, where it can stand in a hosts file: nobody chose it for that. A pod of Kubernetes is called
/// `name.namespace`, so that its name must have no dot.
fn of_pod(conf: &Conf) -> Option<String> {
    let fits = if conf.namespace.is_empty() { name::is_valid } else { name::is_single };
    conf.pod_name.clone().filter(|name| fits(name))
}

/// The namespaces that may know the member, each once.
fn allowed(namespaces: &[String]) -> Result<Vec<String>, Error> {
    match namespaces.iter().find(|text| *text != EVERYBODY && !name::is_label(text)) {
        None => Ok(distinct(namespaces.to_vec())),
        Some(text) => Err(Error::config(
            format!("allow-from names {text:?}, which is no namespace"),
            "write namespaces separated by commas, or * for all of them",
        )),
    }
}

/// Host name and domain. A host name with dots contains both, as in Docker.
fn host_name(said: &Layer, short: &str) -> Result<(String, String), Error> {
    let (host, domain) = match (said.hostname.as_str(), said.domainname.as_str()) {
        ("", domain) => (short, domain),
        (host, "") => host.split_once('.').unwrap_or((host, "")),
        both => both,
    };
    if domain.is_empty() {
        name::check("hostname", host)?;
    } else {
        name::check("hostname with domainname", &format!("{host}.{domain}"))?;
    }
    Ok((host.to_owned(), domain.to_owned()))
}

/// Reads `source[:alias]`, and the form in which Docker shows links, `/source:/recipient/alias`. A container's full ID is
/// too long for an alias, which is the short ID then.
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
                return Err(Error::config(
                    format!("links to {} and to {source} have the same alias {alias:?}", other.source),
                    "write each link as source:alias with an alias of its own",
                ));
            }
            Some(_) => {}
            None => links.push(Link { source: source.to_owned(), alias: alias.to_owned() }),
        }
    }
    Ok(links)
}

/// Reads `name:address` or `name=address`, the address of IPv6 with or without brackets.
fn extra_host(text: &str) -> Result<ExtraHost, Error> {
    let refused = || {
        Error::config(
            format!("extra host {text:?} is not a name with an address"),
            "write it as name:192.0.2.1 or name:2001:db8::1",
        )
    };
    let (name, address) = text.split_once([':', '=']).ok_or_else(refused)?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    name::check("name of an extra host", name)?;
    Ok(ExtraHost { name: name.to_owned(), address: bare.parse().map_err(|_| refused())? })
}

#[cfg(test)]
mod tests;
