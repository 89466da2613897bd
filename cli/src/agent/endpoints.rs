//! The value of `--engine`: where the members of an etcd cluster are.

use std::net::Ipv6Addr;

/// The port on which etcd serves its clients, unless one is named.
const PORT: u16 = 2379;

/// How the value is written.
const FORM: &str = "write it as etcd://HOST:2379,HOST:2379";

/// The URLs of a cluster's members, from `etcd://h1:2379,h2:2379`, or the same with `http://` or `https://`. `etcd://` means
/// `https://` where a CA's certificate is given, and `http://` otherwise. Without a port it is 2379.
///
/// # Errors
/// What is wrong with the text, and how to write it. The text itself is not part of that, as it may have a password in it.
pub(super) fn urls(text: &str, with_ca: bool) -> Result<Vec<String>, String> {
    let (scheme, hosts) = text.split_once("://").ok_or(FORM)?;
    let secure = match scheme {
        "etcd" => with_ca,
        "https" => true,
        "http" if with_ca => return Err("http:// is without certificates: write https://".to_owned()),
        "http" => false,
        _ => return Err("etcd://, http:// and https:// are known".to_owned()),
    };
    let prefix = format!("{scheme}://");
    let url = |host: &str| {
        // Lists of other programs repeat the scheme.
        let host = authority(host.trim().trim_start_matches(&prefix))?;
        Ok(format!("{}://{host}", if secure { "https" } else { "http" }))
    };
    hosts.split(',').map(url).collect()
}

/// `host:port` of one member.
fn authority(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains('@') {
        return Err(
            "users and passwords do not belong there: --user and --password-file are for them".to_owned()
        );
    }
    if text.contains("://") {
        return Err("all members need the same scheme".to_owned());
    }
    let (host, port) = if text.starts_with('[') { bracketed(text)? } else { named(text)? };
    let number = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| ()));
    match number {
        Ok(number) if number > 0 => Ok(format!("{host}:{number}")),
        _ => Err(format!("ports are 1 to 65535: {FORM}, an IPv6 address in brackets")),
    }
}

/// An IPv6 address and the port behind it, if there is one.
fn bracketed(text: &str) -> Result<(&str, Option<&str>), String> {
    let end = text.find(']').ok_or(FORM)?;
    let (address, port) = text.split_at(end + 1);
    let inner = address.trim_matches(['[', ']']);
    inner.parse::<Ipv6Addr>().map_err(|_| format!("{address} is no IPv6 address"))?;
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok((address, None)),
        port => port.map(|port| (address, Some(port))).ok_or_else(|| FORM.to_owned()),
    }
}

/// A name or an IPv4 address and the port behind it, if there is one.
fn named(text: &str) -> Result<(&str, Option<&str>), String> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if host.is_empty() || !host.chars().all(|it| it.is_ascii_alphanumeric() || "-._".contains(it)) {
        return Err(format!("there is no host in it: {FORM}, an IPv6 address in brackets"));
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_understood() {
        for (text, with_ca, wanted) in [
            ("etcd://h1:2379,h2:2380", false, "http://h1:2379 http://h2:2380"),
            ("etcd://h1:2379,h2", true, "https://h1:2379 https://h2:2379"),
            ("http://10.0.0.1:2379", false, "http://10.0.0.1:2379"),
            ("https://h1:2379,https://h2:2379/", false, "https://h1:2379 https://h2:2379"),
            ("etcd://[fd00::1]:2379,[fd00::2]", false, "http://[fd00::1]:2379 http://[fd00::2]:2379"),
        ] {
            assert_eq!(urls(text, with_ca).unwrap().join(" "), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, with_ca, words) in [
            ("h1:2379", false, "write it as etcd://"),
            ("consul://h1", false, "etcd://, http:// and https:// are known"),
            ("etcd://", false, "no host"),
            ("etcd://h1:2379,", false, "no host"),
            ("etcd://h1:0", false, "1 to 65535"),
            ("etcd://h1:x", false, "1 to 65535"),
            ("etcd://fd00::1", false, "brackets"),
            ("etcd://[fd00::g]:1", false, "no IPv6 address"),
            ("etcd://[fd00::1]1", false, "write it as"),
            ("http://h1,https://h2", false, "same scheme"),
            ("http://h1", true, "write https://"),
            ("etcd://h1/v3", false, "no host"),
            ("etcd://root:secret@h1", false, "--password-file"),
        ] {
            let said = urls(text, with_ca).unwrap_err();
            assert!(said.contains(words) && !said.contains("secret"), "{text}: {said}");
        }
    }
}
