//! Addresses with a prefix length, as the contract writes them. A bare address is refused, as in the reference:
//! `ipnetwork` would read `10.1.2.3` as `10.1.2.3/32`, which is hardly ever what was meant.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Reads `address/length`.
///
/// # Errors
/// A sentence that says what is missing or wrong.
pub fn parse(text: &str) -> Result<IpNetwork, String> {
    if !text.contains('/') {
        return Err(format!(
            "{text:?} has no prefix length: write it as address/length, such as 10.1.0.0/24"
        ));
    }
    text.parse().map_err(|_| format!("{text:?} is no address with a prefix length, such as 10.1.0.0/24"))
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
            text.parse().map(Some).map_err(|_| de::Error::custom(format!("{text:?} is no IP address")))
        }
    }
}
