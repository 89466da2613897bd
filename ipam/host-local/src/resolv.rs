//! The resolver configuration that `resolvConf` names: resolv.conf(5) to the contract's `dns`.

use std::path::Path;

use cni::{Dns, file};

use crate::error::Error;

/// In bytes; the C library's resolver heeds a tiny part of it.
const LONGEST: usize = 64 << 10;

/// Reads a file in the format of resolv.conf(5).
pub(crate) fn read(path: &Path) -> Result<Dns, Error> {
    let bytes =
        file::read(path, LONGEST).map_err(|source| folder::Error::new("read resolvConf", path, source))?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// Lists are added up over all lines and the last `domain` wins, as in the reference; unknown keywords, comments and
/// keywords without a value say nothing.
fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().filter(|line| !line.starts_with([';', '#'])) {
        let mut words = line.split_whitespace();
        let keyword = words.next().unwrap_or_default();
        let mut values = words.map(str::to_owned);
        match keyword {
            "nameserver" => dns.nameservers.extend(values.next()),
            "domain" => dns.domain = values.next().unwrap_or(dns.domain),
            "search" => dns.search.extend(values),
            "options" => dns.options.extend(values),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_of_the_contract_is_read() {
        let dns = parse(
            "# nameserver 1.1.1.1\n;x\n\nnameserver 10.0.0.1 # trailing\nnameserver\nnameserver fd00::1\n\
             domain a.example\ndomain\nsearch a.example\tb.example\nsearch c.example\noptions ndots:5 rotate\nsortlist x\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.1", "fd00::1"]);
        assert_eq!(dns.domain, "a.example");
        assert_eq!(dns.search, ["a.example", "b.example", "c.example"]);
        assert_eq!(dns.options, ["ndots:5", "rotate"]);
        assert!(parse("").is_empty());
    }
}
