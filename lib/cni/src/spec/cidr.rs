//! Addresses and prefixes as text, read as Go's `net.ParseIP` and `net.ParseCIDR` read them: without zones, without leading
//! zeros, prefix lengths in digits; IPv4 written as IPv6 (`::ffff:10.1.0.5/120`) is IPv4 (`10.1.0.5/24`). A bare address
//! where a prefix length belongs is refused, as in the reference: `ipnetwork` would read `10.1.2.3` as `10.1.2.3/32`,
//! which is rarely meant.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serializer, de};

/// The bits of IPv6 in front of an IPv4 address that is written in it (RFC 4291, 2.5.5.2).
const MAPPED: u8 = 96;

/// Reads `address/length`.
///
/// # Errors
/// A sentence that says what is missing or wrong.
pub fn parse(text: &str) -> Result<IpNetwork, String> {
    let Some((address, length)) = text.split_once('/') else {
        return Err(format!(
            "{text:?} has no prefix length: write it as address/length, such as 10.1.0.0/24"
        ));
    };
    network(address, length)
        .ok_or_else(|| format!("{text:?} is no address with a prefix length, such as 10.1.0.0/24"))
}

/// Reads an address.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn network(text: &str, length: &str) -> Option<IpNetwork> {
    let written: IpAddr = text.parse().ok()?;
    // Digits alone: a number of Rust's may have a sign.
    let length: u8 = length.bytes().all(|byte| byte.is_ascii_digit()).then(|| length.parse().ok())??;
    let address = written.to_canonical();
    let length = if address == written { length } else { length.checked_sub(MAPPED)? };
    IpNetwork::new(address, length).ok()
}

/// For serde's `with`: reads and writes `address/length`.
///
/// # Errors
/// As [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNetwork, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// The other half of serde's `with`.
///
/// # Errors
/// None of its own.
pub fn serialize<S: Serializer>(network: &IpNetwork, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(network)
}

/// Reads an address where empty text means that there is none, as Go programs write it.
///
/// # Errors
/// Text that is no address.
pub fn optional_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            address(text).map(Some).ok_or_else(|| de::Error::custom(format!("{text:?} is no IP address")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held against net.ParseCIDR and net.IPNet's text in Go 1.19, but for the last row.
    #[test]
    fn prefixes_are_read_as_go_reads_them() {
        for (text, wanted) in [
            ("10.1.0.5/24", Some("10.1.0.5/24")),
            ("10.1.0.5/024", Some("10.1.0.5/24")),
            ("::ffff:10.1.0.5/120", Some("10.1.0.5/24")),
            ("::ffff:a01:5/128", Some("10.1.0.5/32")),
            ("FD00::0:5/64", Some("fd00::5/64")),
            ("010.1.0.5/24", None),
            ("10.1.0.5/+24", None),
            ("10.1.0.5/", None),
            ("10.1.0.5/33", None),
            ("10.1.0.5/255.255.255.0", None),
            ("fe80::1%eth0/64", None),
            (" 10.1.0.5/24", None),
            ("10.1.0/24", None),
            ("10.1.0.5", None),
            // Go makes 10.1.0.5/0 of it, which nobody means.
            ("::ffff:10.1.0.5/64", None),
        ] {
            assert_eq!(parse(text).ok().map(|network| network.to_string()).as_deref(), wanted, "{text}");
        }
    }

    /// Held against net.ParseIP in Go 1.19.
    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, wanted) in [
            ("10.1.0.5", Some("10.1.0.5")),
            ("::ffff:10.1.0.5", Some("10.1.0.5")),
            ("::", Some("::")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("::10.1.0.5", Some("::a01:5")),
            ("10.1.0.05", None),
            ("fe80::1%1", None),
            ("10.1", None),
            ("", None),
        ] {
            let read = address(text).map(|address| address.to_string());
            // Rust writes what is left of IPv4-compatible addresses with dots, Go in hexadecimal: the same address.
            let wanted = wanted.map(|wanted| wanted.parse::<IpAddr>().unwrap().to_string());
            assert_eq!(read, wanted, "{text}");
        }
    }
}
