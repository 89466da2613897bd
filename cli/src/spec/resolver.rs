//! What a container's resolver is to use: `--dns`, `--dns-search` and `--dns-option`.

use std::net::IpAddr;

use clap::builder::NonEmptyStringValueParser;
use serde::{Deserialize, Serialize};

/// The options for `/etc/resolv.conf`. Each one that is given replaces what the networks and the host say.
#[derive(Clone, Debug, Default, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resolver {
    /// Name server for the command, instead of those of the network or the host. Again for further ones
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns: Vec<IpAddr>,
    /// Domain to search for short names; `.` for none
    #[arg(long, value_name = "DOMAIN", value_parser = word())]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_search: Vec<String>,
    /// Option of the resolver, such as ndots:2
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_parser = word())]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_option: Vec<String>,
}

/// One word: a line of resolv.conf(5) has them apart by spaces.
fn word() -> impl clap::builder::TypedValueParser<Value = String> {
    use clap::builder::TypedValueParser;
    NonEmptyStringValueParser::new().try_map(|text| {
        let is_word = text.chars().all(|letter| letter.is_ascii_graphic());
        if is_word { Ok(text) } else { Err("write one word of ASCII letters, digits and signs") }
    })
}

impl Resolver {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty()
    }
}
