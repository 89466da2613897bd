//! One `-o` of `network create` and `network join`, by Docker's name.

use std::str::FromStr;

/// The keys of the drivers macvlan and ipvlan.
const UPPER: [&str; 4] = ["parent", "macvlan_mode", "ipvlan_mode", "host_access"];

/// What one `-o` sets.
#[derive(Clone, Debug, Default)]
pub(super) struct DockerOption {
    pub(super) bridge: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) icc: Option<bool>,
    pub(super) masquerade: Option<bool>,
    /// Of an overlay network: packets between nodes are encrypted.
    pub(super) encrypted: Option<bool>,
    /// Of an overlay network: VXLAN network identifier.
    pub(super) vni: Option<u32>,
    /// Of an overlay network: the UDP port of the nodes.
    pub(super) port: Option<u16>,
    /// Of the drivers macvlan and ipvlan: key and value.
    pub(super) upper: Option<(String, String)>,
}

impl DockerOption {
    /// Whether it is about what all nodes of an overlay network agree on.
    pub(super) fn is_shared(&self) -> bool {
        self.encrypted.is_some() || self.vni.is_some() || self.port.is_some()
    }
}

impl FromStr for DockerOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Docker's has no value.
        if text == "encrypted" {
            return Ok(Self { encrypted: Some(true), ..Self::default() });
        }
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        let flag = || value.parse().map_err(|_| format!("{key} is true or false, not {value:?}"));
        match key.strip_prefix("com.docker.network.") {
            Some("bridge.name") => Ok(Self { bridge: Some(value.to_owned()), ..Self::default() }),
            Some("driver.mtu") => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
                let mtu = mtu.ok_or_else(|| format!("{key} is 68 to 65535, not {value:?}"))?;
                Ok(Self { mtu: Some(mtu), ..Self::default() })
            }
            Some("bridge.enable_icc") => Ok(Self { icc: Some(flag()?), ..Self::default() }),
            Some("bridge.enable_ip_masquerade") => Ok(Self { masquerade: Some(flag()?), ..Self::default() }),
            Some("bridge.host_binding_ipv4") => {
                Err("publish with an address instead: -p 127.0.0.1:80:80".to_owned())
            }
            _ => Self::of_other_drivers(key, value, flag),
        }
    }
}

impl DockerOption {
    fn of_other_drivers(
        key: &str,
        value: &str,
        flag: impl Fn() -> Result<bool, String>,
    ) -> Result<Self, String> {
        match key {
            "encrypted" => Ok(Self { encrypted: Some(flag()?), ..Self::default() }),
            "vni" => {
                let vni = value.parse().ok().filter(|vni| (1..1 << 24).contains(vni));
                let vni = vni.ok_or_else(|| format!("{key} is 1 to 16777215, not {value:?}"))?;
                Ok(Self { vni: Some(vni), ..Self::default() })
            }
            "port" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                let port = port.ok_or_else(|| format!("{key} is 1 to 65535, not {value:?}"))?;
                Ok(Self { port: Some(port), ..Self::default() })
            }
            _ if UPPER.contains(&key) => {
                Ok(Self { upper: Some((key.to_owned(), value.to_owned())), ..Self::default() })
            }
            _ => Err(format!(
                "{key} is unknown: bridge.name, bridge.enable_icc, bridge.enable_ip_masquerade and driver.mtu are \
                 known, each behind com.docker.network.; of overlay networks encrypted, vni and port; \
                 of macvlan and ipvlan parent, macvlan_mode, ipvlan_mode and host_access"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_driver_is_within_its_bounds() {
        let option = |text: &str| text.parse::<DockerOption>();
        assert_eq!(option("encrypted").unwrap().encrypted, Some(true));
        assert_eq!(option("encrypted=false").unwrap().encrypted, Some(false));
        assert_eq!(option("vni=16777215").unwrap().vni, Some(16_777_215));
        assert_eq!(option("port=8472").unwrap().port, Some(8472));
        assert!(option("port=1").unwrap().is_shared());
        let parent = option("parent=eth0.5").unwrap();
        assert_eq!(
            (parent.is_shared(), parent.upper),
            (false, Some(("parent".to_owned(), "eth0.5".to_owned())))
        );
        assert!(!option("com.docker.network.driver.mtu=1400").unwrap().is_shared());
        for (text, words) in [
            ("vni=0", "1 to 16777215"),
            ("vni=16777216", "1 to 16777215"),
            ("port=0", "1 to 65535"),
            ("port=65536", "1 to 65535"),
            ("encrypted=yes", "true or false"),
            ("vni", "KEY=VALUE"),
            ("mtu=1400", "mtu is unknown"),
        ] {
            assert!(option(text).unwrap_err().contains(words), "{text}");
        }
    }
}
