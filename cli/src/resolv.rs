//! `/etc/resolv.conf` of a container: what its options say, or else its networks, or else the host.
//!
//! The host's is taken as Docker takes it. A name server on the host's loopback is the container's own loopback there, so it is
//! left out; where it is systemd-resolved's, the servers that this one asks are taken instead. Without any server left there
//! are Docker's.
//!
//! Pure but for [`of_host`].

use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use cni::{Dns, file};

use crate::error::Error;
use crate::spec::Resolver;

/// The resolver's file, on the host as in a container.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved says which servers it asks itself (systemd-resolved.service(8)).
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
/// The addresses on which systemd-resolved answers.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];
/// What Docker takes where nothing else is known.
const V4_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
const V6_SERVERS: [&str; 2] = ["2001:4860:4860::8888", "2001:4860:4860::8844"];

/// The families that a container has addresses of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Families {
    /// IPv4.
    pub(crate) v4: bool,
    /// IPv6.
    pub(crate) v6: bool,
}

/// What the host uses: with systemd-resolved, the servers behind it. A host without the file has no servers.
pub(crate) fn of_host() -> Result<Dns, Error> {
    let own = read(RESOLV_CONF)?.unwrap_or_default();
    let is_stub = |server: &String| STUBS.contains(&server.as_str());
    if !own.nameservers.is_empty() && own.nameservers.iter().all(is_stub) {
        return Ok(read(UPSTREAM)?.unwrap_or(own));
    }
    Ok(own)
}

fn read(path: &str) -> Result<Option<Dns>, Error> {
    match file::read(Path::new(path), file::LONGEST) {
        Ok(bytes) => Ok(Some(parse(&String::from_utf8_lossy(&bytes)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("read {path}"), error)),
    }
}

/// Reads resolv.conf(5). Of `domain` and `search` the last line counts.
fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or_default();
        let values = words.map(str::to_owned);
        match key {
            "nameserver" => dns.nameservers.extend(values.take(1)),
            "domain" => dns.search = values.take(1).collect(),
            "search" => dns.search = values.collect(),
            "options" => dns.options.extend(values),
            _ => {}
        }
    }
    dns
}

/// The file of a container on networks: each part as its options have it, else its networks, else the host.
pub(crate) fn in_container(wanted: &Resolver, networks: &[Dns], host: &Dns, families: Families) -> String {
    let of_networks = |part: fn(&Dns) -> &Vec<String>| -> Vec<String> {
        let mut all = Vec::new();
        for value in networks.iter().flat_map(part) {
            if !all.contains(value) {
                all.push(value.clone());
            }
        }
        all
    };
    let mut domains: Vec<String> =
        networks.iter().map(|dns| dns.domain.clone()).filter(|domain| !domain.is_empty()).collect();
    domains.dedup();
    let mut servers: Vec<String> = wanted.dns.iter().map(IpAddr::to_string).collect();
    if servers.is_empty() {
        servers = of_networks(|dns| &dns.nameservers);
    }
    if servers.is_empty() {
        servers = host.nameservers.iter().filter(|server| is_reachable(server, families)).cloned().collect();
    }
    if servers.is_empty() {
        let v4 = V4_SERVERS.iter().filter(|_| families.v4);
        servers = v4.chain(V6_SERVERS.iter().filter(|_| families.v6)).map(|&server| server.into()).collect();
    }
    let search =
        first([wanted.dns_search.clone(), of_networks(|dns| &dns.search), domains, host.search.clone()]);
    let options = first([wanted.dns_option.clone(), of_networks(|dns| &dns.options), host.options.clone()]);
    text(&servers, &search, &options)
}

/// The file of a container with the host's network, where its loopback is the host's own.
pub(crate) fn on_host(wanted: &Resolver, host: &Dns) -> String {
    let servers = first([wanted.dns.iter().map(IpAddr::to_string).collect(), host.nameservers.clone()]);
    let search = first([wanted.dns_search.clone(), host.search.clone()]);
    let options = first([wanted.dns_option.clone(), host.options.clone()]);
    text(&servers, &search, &options)
}

/// The first that says anything.
fn first<const N: usize>(all: [Vec<String>; N]) -> Vec<String> {
    all.into_iter().find(|values| !values.is_empty()).unwrap_or_default()
}

/// Whether a server of the host is one from within a container. A link-local address belongs to a link of the host.
fn is_reachable(server: &str, families: Families) -> bool {
    match server.parse() {
        Ok(IpAddr::V4(address)) => families.v4 && !address.is_loopback() && !address.is_unspecified(),
        Ok(IpAddr::V6(address)) => {
            families.v6
                && !address.is_loopback()
                && !address.is_unspecified()
                && !address.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

fn text(servers: &[String], search: &[String], options: &[String]) -> String {
    let mut text = String::new();
    for server in servers {
        // Writing to a String does not fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    let search: Vec<&str> = search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    for (key, values) in [("search", search.join(" ")), ("options", options.join(" "))] {
        if !values.is_empty() {
            let _ = writeln!(text, "{key} {values}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Families = Families { v4: true, v6: true };
    const V4: Families = Families { v4: true, v6: false };

    fn of(host: &str, families: Families) -> String {
        in_container(&Resolver::default(), &[], &parse(host), families)
    }

    #[test]
    fn servers_of_the_hosts_loopback_are_left_out_and_others_stay_in_order() {
        let host = "# a comment\nnameserver 127.0.0.1\nnameserver 192.0.2.1 trailing\nnameserver ::1\n\
            nameserver 2001:db8::1\nnameserver fe80::1%eth0\ndomain first.example\nsearch a.example b.example\n\
            options edns0 trust-ad\noptions ndots:2\n";
        let rest = "search a.example b.example\noptions edns0 trust-ad ndots:2\n";
        assert_eq!(of(host, BOTH), format!("nameserver 192.0.2.1\nnameserver 2001:db8::1\n{rest}"));
        assert_eq!(of(host, V4), format!("nameserver 192.0.2.1\n{rest}"));
    }

    #[test]
    fn without_a_server_there_are_dockers() {
        assert_eq!(of("nameserver 127.0.0.1\n", V4), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        let both = of("", BOTH);
        assert!(both.starts_with("nameserver 8.8.8.8\n") && both.contains("2001:4860:4860::8844"), "{both}");
        assert_eq!(of("nameserver 127.0.0.1\nsearch a\n", Families::default()), "search a\n");
    }

    #[test]
    fn options_come_before_networks_and_these_before_the_host() {
        let host = parse("nameserver 192.0.2.1\nsearch host.example\noptions ndots:1\n");
        let network = Dns {
            nameservers: vec!["127.0.0.1".into(), "10.1.0.1".into()],
            domain: "net.example".into(),
            ..Dns::default()
        };
        let of = |wanted: &Resolver| in_container(wanted, &[network.clone(), network.clone()], &host, V4);
        let wanted = "nameserver 127.0.0.1\nnameserver 10.1.0.1\nsearch net.example\noptions ndots:1\n";
        assert_eq!(of(&Resolver::default()), wanted);
        let mut options = Resolver { dns: vec!["2001:db8::5".parse().unwrap()], ..Resolver::default() };
        options.dns_search = vec![".".into()];
        options.dns_option = vec!["rotate".into(), "timeout:1".into()];
        assert_eq!(of(&options), "nameserver 2001:db8::5\noptions rotate timeout:1\n");
        assert_eq!(
            on_host(&Resolver::default(), &host),
            "nameserver 192.0.2.1\nsearch host.example\noptions ndots:1\n"
        );
    }
}
