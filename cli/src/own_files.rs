//! The files of the host that a container has its own contents of: `/etc/resolv.conf`, `/etc/hostname`, and `/etc/hosts` where
//! no link-env makes one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cni::AddResult;

use crate::error::Error;
use crate::mounts::HOSTS;
use crate::resolv::{self, Families, RESOLV_CONF};
use crate::spec::{Resolver, Spec};

const HOSTNAME: &str = "/etc/hostname";
/// What Docker writes before anything else, where names of the host itself are.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The files with their contents. `results` are those of the container's networks with its interface there, and `has_hosts` says
/// whether link-env has made a hosts file. A file that the host does not have cannot be mounted over.
///
/// # Errors
/// The host's file cannot be read, or `--dns` is to go into one that is not there.
pub(crate) fn texts(
    spec: &Spec,
    resolver: &Resolver,
    hostname: &str,
    has_hosts: bool,
    results: &[(String, AddResult)],
) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut texts = Vec::new();
    if !spec.is_on_host() || spec.hostname.is_some() {
        texts.push((HOSTNAME, format!("{hostname}\n")));
    }
    if !spec.is_on_host() && !has_hosts {
        texts.push((HOSTS, hosts(hostname, results)));
    }
    if !spec.is_on_host() {
        texts.push((RESOLV_CONF, in_container(resolver, results)?));
    } else if !resolver.is_empty() {
        texts.push((RESOLV_CONF, resolv::on_host(resolver, &resolv::of_host()?)));
    }
    if !resolver.is_empty() && !Path::new(RESOLV_CONF).exists() {
        return Err(Error::refused(
            "use --dns, --dns-search or --dns-option",
            format!("the host has no {RESOLV_CONF} to mount the container's over"),
            format!("`touch {RESOLV_CONF}`, or leave the options out"),
        ));
    }
    texts.retain(|(path, _)| Path::new(path).exists());
    Ok(texts.into_iter().map(|(path, text)| (path.into(), text)).collect())
}

fn in_container(resolver: &Resolver, results: &[(String, AddResult)]) -> Result<String, Error> {
    let networks: Vec<_> = results.iter().map(|(_, result)| result.dns.clone()).collect();
    let addresses = || results.iter().flat_map(|(ifname, result)| result.container_ips(ifname));
    let families = Families {
        v4: addresses().any(|ip| ip.address.is_ipv4()),
        v6: addresses().any(|ip| ip.address.is_ipv6()),
    };
    Ok(resolv::in_container(resolver, &networks, &resolv::of_host()?, families))
}

fn hosts(hostname: &str, results: &[(String, AddResult)]) -> String {
    let mut text = LOCAL.to_owned();
    for ip in results.iter().flat_map(|(ifname, result)| result.container_ips(ifname)) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}\t{hostname}", ip.address.ip());
    }
    text
}
