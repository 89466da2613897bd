//! `--network` of `cleat run`: a name, several as `A:B`, or Docker's long form `name=A,gw-priority=1`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One `--network`: the networks that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkOption(pub(crate) Vec<Named>);

/// A network that is named, with what is asked of it there and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    /// The network's name.
    pub(crate) name: String,
    /// `alias=`.
    pub(crate) aliases: Vec<String>,
    /// `ip=` and `ip6=`.
    pub(crate) addresses: Vec<IpAddr>,
    /// `gw-priority=`.
    pub(crate) gw_priority: i64,
}

impl FromStr for NetworkOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The network of another container.
        if text.strip_prefix("container:").is_some_and(|name| !name.is_empty()) {
            return Ok(Self(vec![Named { name: text.to_owned(), ..Named::default() }]));
        }
        if text.contains('=') {
            return Ok(Self(vec![long(text)?]));
        }
        let named = |name: &str| match name {
            "" => Err("a network's name is missing".to_owned()),
            name => Ok(Named { name: name.to_owned(), ..Named::default() }),
        };
        text.split(':').map(named).collect::<Result<_, _>>().map(Self)
    }
}

/// The words of refusals are Docker's.
fn long(text: &str) -> Result<Named, String> {
    let mut named = Named::default();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        let invalid = || format!("invalid {key} {value:?}");
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut named.name),
            "alias" => named.aliases.push(value.to_owned()),
            "ip" => named.addresses.push(value.parse::<Ipv4Addr>().map_err(|_| invalid())?.into()),
            "ip6" => named.addresses.push(value.parse::<Ipv6Addr>().map_err(|_| invalid())?.into()),
            "gw-priority" => {
                named.gw_priority = value.parse().map_err(|_| format!("invalid gw-priority ({value})"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if named.name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Named>, String> {
        text.parse::<NetworkOption>().map(|option| option.0)
    }

    #[test]
    fn networks_are_named_in_either_form() {
        let named = |name: &str| Named { name: name.to_owned(), ..Named::default() };
        assert_eq!(parsed("a").unwrap(), [named("a")]);
        assert_eq!(parsed("a:b").unwrap(), [named("a"), named("b")]);
        let long = parsed("name=a,alias=x,alias=y,ip=10.1.0.5,ip6=fd00::5,gw-priority=-1").unwrap();
        let addresses = vec!["10.1.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let aliases = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(long, [Named { aliases, addresses, gw_priority: -1, ..named("a") }]);
        for (text, words) in [
            ("", "missing"),
            ("a:", "missing"),
            ("gw-priority=1", "network name/id is not specified"),
            ("name=a,gw-priority=high", "invalid gw-priority (high)"),
            ("name=a,colour=red", "invalid field key colour"),
            ("name=a,ip=fd00::1", "invalid ip"),
            ("name=a,b", "invalid field b"),
        ] {
            assert!(parsed(text).unwrap_err().contains(words), "{text}");
        }
    }
}
