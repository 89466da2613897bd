//! Options of `run` that are a pair each: links, variables, extra hosts.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One `--link SOURCE[:ALIAS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Link(String);

impl Link {
    /// The name, ID or alias of the other container.
    pub(crate) fn source(&self) -> &str {
        let (source, _) = self.0.split_once(':').unwrap_or((&self.0, ""));
        // As Docker shows names.
        source.strip_prefix('/').unwrap_or(source)
    }
}

impl FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (source, alias) = text.split_once(':').unwrap_or((text, text));
        if matches!(source, "" | "/") || alias.is_empty() || alias.contains(':') {
            return Err("write it as SOURCE or SOURCE:ALIAS");
        }
        Ok(Self(text.to_owned()))
    }
}

/// One `-e KEY=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    /// The name.
    pub(crate) key: String,
    /// The value, which may be empty.
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').unwrap_or_default();
        if key.is_empty() {
            return Err("write it as KEY=value");
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// One `--add-host NAME:ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExtraHost(String);

/// Docker's word for the host, as containers reach it.
const HOST_GATEWAY: &str = "host-gateway";

impl ExtraHost {
    /// Whether its address is that of the host on the network.
    pub(crate) fn is_gateway(&self) -> bool {
        self.0.split_once('=').is_some_and(|(_, address)| address == HOST_GATEWAY)
    }

    /// This host with an address for `host-gateway`.
    pub(crate) fn at(&self, gateway: IpAddr) -> Self {
        let name = self.0.split_once('=').map_or(&*self.0, |(name, _)| name);
        if self.is_gateway() { Self(format!("{name}={gateway}")) } else { self.clone() }
    }
}

impl FromStr for ExtraHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text.split_once([':', '=']).unwrap_or_default();
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        match bare.parse::<IpAddr>() {
            Ok(address) if !name.is_empty() => Ok(Self(format!("{name}={address}"))),
            Err(_) if !name.is_empty() && address == HOST_GATEWAY => Ok(Self(format!("{name}={address}"))),
            _ => Err("write it as NAME:ADDRESS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_and_variables_are_pairs() {
        for good in ["db", "db:sql"] {
            assert_eq!(json!(good.parse::<Link>().unwrap()), good);
        }
        assert_eq!("/db:sql".parse::<Link>().unwrap().source(), "db");
        for bad in ["", "/", "/:sql", ":", "db:", ":sql", "a:b:c"] {
            assert!(bad.parse::<Link>().is_err(), "{bad}");
        }
        let variable: Variable = "K=a=b".parse().unwrap();
        assert_eq!((variable.key.as_str(), variable.value.as_str()), ("K", "a=b"));
        assert!("K=".parse::<Variable>().is_ok());
        for bad in ["", "K", "=v"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad}");
        }
    }
}
