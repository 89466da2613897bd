//! The plugin's configuration: from JSON to a type that holds valid ports only.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use cni::{Protocol, Request};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::Error;

/// The bit of the packet mark unless `markMasqBit` is set; the reference's.
pub(crate) const MARK_BIT: u32 = 13;

/// The keys as they are written; the meaning and default of each is the reference plugin's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Keys {
    /// What publishes: a table of cleat's own in nftables, or the reference's chains of iptables (`CNI-HOSTPORT-…`, `CNI-DN-…`),
    /// which nerdctl reads.
    #[schemars(extend(
        "enum" = ["nftables", "iptables"],
        "x-default" = "nftables where the kernel has it and no key of iptables is set",
    ))]
    backend: String,
    /// localhost and the container's own network reach a published port as well, by masquerading.
    #[schemars(extend("default" = true))]
    snat: Option<bool>,
    /// Every client of a published port is masqueraded: the container sees the host's address instead of the client's.
    masq_all: bool,
    /// With iptables, the chain that marks what is to be masqueraded, instead of one made for that. Not with markMasqBit.
    #[serde(rename = "externalSetMarkChain")]
    #[schemars(extend("x-default" = "`CNI-HOSTPORT-SETMARK`, made by the plugin"))]
    mark_chain: String,
    /// With iptables, the bit of the packet mark for what is to be masqueraded, 0 to 31.
    #[serde(rename = "markMasqBit")]
    #[schemars(extend("default" = MARK_BIT))]
    mark_bit: Option<i64>,
    /// With iptables, further conditions on what is published of IPv4, in its words: `["-s", "10.0.0.0/8"]`.
    conditions_v4: Vec<String>,
    /// The same of IPv6.
    conditions_v6: Vec<String>,
    /// A port that a process of the host listens on is refused. Not for podman and nerdctl, which hold a socket on each port.
    #[schemars(extend("x-reference" = false))]
    check_host_listeners: bool,
    /// The range that a port is chosen of where hostPort is 0, as `49153-65535`.
    #[schemars(extend("x-reference" = false, "x-default" = "the kernel's, `net.ipv4.ip_local_port_range`"))]
    free_ports: String,
    runtime_config: RuntimeConfig,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    /// What is to be published, at most 65,535 ports in all.
    port_mappings: Vec<MappingKeys>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct MappingKeys {
    /// Port of the host, 1 to 65535. 0 is any free one, which only cleat knows.
    #[schemars(extend("x-default" = "`0`"))]
    host_port: i64,
    /// Port of the container, 1 to 65535.
    #[schemars(extend("x-default" = "none: it is required"))]
    container_port: i64,
    /// `tcp`, `udp` or `sctp`, in any case.
    #[schemars(extend("default" = Protocol::Tcp.name()))]
    protocol: String,
    /// Address of the host. One of a family that the container lacks publishes nothing.
    #[serde(rename = "hostIP")]
    #[schemars(extend("x-default" = "every address"))]
    host_ip: String,
    /// How many ports, from these two on.
    #[schemars(extend("x-reference" = false))]
    range: i64,
}

impl Default for MappingKeys {
    fn default() -> Self {
        Self { host_port: 0, container_port: 0, protocol: String::new(), host_ip: String::new(), range: 1 }
    }
}

/// Where the rules are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Nftables,
    Iptables,
}

/// What only the iptables backend has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IptablesKeys {
    /// The bit of the mark that asks for masquerading; `None` for the default.
    pub mark_bit: Option<u32>,
    /// Another program's chain, which sets the mark that the other program masquerades by.
    pub mark_chain: Option<String>,
    /// Further matches of the rules that lead to the container's chain.
    pub conditions_v4: Vec<String>,
    /// The same for IPv6.
    pub conditions_v6: Vec<String>,
}

/// A valid configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conf {
    /// What was asked for, by name or by keys that only it has; `None`: nftables, where the kernel has it.
    pub backend: Option<Backend>,
    /// For the iptables backend.
    pub iptables: IptablesKeys,
    /// The host itself and the container's own network reach the port as well, by masquerading.
    pub snat: bool,
    /// Every client is masqueraded.
    pub masq_all: bool,
    /// A port that a process of the host listens on is refused.
    pub check_listeners: bool,
    /// Where free ports are looked for, `"49000-49900"`; the kernel's ephemeral range where it is `None`.
    pub free_ports: Option<RangeInclusive<u16>>,
    /// What is to be published.
    pub mappings: Vec<Mapping>,
}

/// One port to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Its place in `runtimeConfig.portMappings`, for messages.
    pub index: usize,
    /// On this address of the host; `None` for every one, an unspecified one for every one of its family.
    pub host_ip: Option<IpAddr>,
    /// `None`: any free port.
    pub host_port: Option<u16>,
    /// The port inside the container.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Conf {
    /// Reads the configuration.
    pub(crate) fn new(request: &Request) -> Result<Self, Error> {
        let keys: Keys = request.conf.parse()?;
        let iptables = keys.iptables()?;
        let backend = keys.backend(&iptables)?;
        let mut mappings = Vec::with_capacity(keys.runtime_config.port_mappings.len());
        for (index, mapping) in keys.runtime_config.port_mappings.iter().enumerate() {
            mapping.read(index, &mut mappings)?;
            if mappings.len() > MAPPINGS_MAX {
                return Err(Error::Config(
                    format!("runtimeConfig.portMappings publishes more than {MAPPINGS_MAX} ports"),
                    "give the container an address of its own on the outer network instead",
                ));
            }
        }
        Ok(Self {
            backend,
            iptables,
            snat: keys.snat.unwrap_or(true),
            masq_all: keys.masq_all,
            check_listeners: keys.check_host_listeners,
            free_ports: keys.free_ports()?,
            mappings,
        })
    }
}

impl Keys {
    fn free_ports(&self) -> Result<Option<RangeInclusive<u16>>, Error> {
        let text = self.free_ports.as_str();
        if text.is_empty() {
            return Ok(None);
        }
        let range = text.split_once('-').and_then(|(first, last)| {
            Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
        });
        range.filter(|range| *range.start() > 0 && !range.is_empty()).map(Some).ok_or_else(|| {
            Error::Config(
                format!("freePorts {text:?} is no range of ports"),
                "write it as \"49000-49900\", or leave it out for net.ipv4.ip_local_port_range",
            )
        })
    }

    fn iptables(&self) -> Result<IptablesKeys, Error> {
        let not_a_bit =
            |bit| Error::Config(format!("markMasqBit {bit} is no bit of a packet's mark"), "use 0 to 31");
        let read = |bit| u32::try_from(bit).ok().filter(|bit| *bit < 32).ok_or_else(|| not_a_bit(bit));
        let mark_bit = self.mark_bit.map(read).transpose()?;
        if mark_bit.is_some() && !self.mark_chain.is_empty() {
            let problem = "markMasqBit and externalSetMarkChain exclude each other".to_owned();
            return Err(Error::Config(problem, "leave one of them out"));
        }
        Ok(IptablesKeys {
            mark_bit,
            mark_chain: Some(self.mark_chain.clone()).filter(|chain| !chain.is_empty()),
            conditions_v4: self.conditions_v4.clone(),
            conditions_v6: self.conditions_v6.clone(),
        })
    }

    fn backend(&self, iptables: &IptablesKeys) -> Result<Option<Backend>, Error> {
        let named = match self.backend.as_str() {
            "" => None,
            "nftables" => Some(Backend::Nftables),
            "iptables" => Some(Backend::Iptables),
            other => {
                return Err(Error::Config(
                    format!("backend {other:?} is unknown"),
                    "use \"nftables\" or \"iptables\", or leave it out",
                ));
            }
        };
        let conditions =
            [("conditionsV4", &iptables.conditions_v4), ("conditionsV6", &iptables.conditions_v6)];
        let mut needs_iptables = iptables.mark_chain.is_some();
        for (key, words) in conditions.into_iter().filter(|(_, words)| !words.is_empty()) {
            needs_iptables = true;
            // Conditions are words of either program, as with the reference.
            match (named, words[0].starts_with(['-', '!'])) {
                (Some(Backend::Nftables), _) | (None, false) => {
                    return Err(Error::Unsupported(
                        key,
                        "use \"backend\": \"iptables\" and write it for iptables, as [\"-s\", \"10.0.0.0/8\"]",
                    ));
                }
                (Some(Backend::Iptables), false) => {
                    return Err(Error::Config(
                        format!("{key} {words:?} are no words of iptables"),
                        "begin with - or !, as in [\"!\", \"-s\", \"10.0.0.0/8\"]",
                    ));
                }
                (_, true) => {}
            }
        }
        if named == Some(Backend::Nftables) && needs_iptables {
            let cure = "it names a chain of iptables: use \"backend\": \"iptables\"";
            return Err(Error::Unsupported("externalSetMarkChain", cure));
        }
        Ok(named.or(needs_iptables.then_some(Backend::Iptables)))
    }
}

impl MappingKeys {
    /// Appends what it stands for: one port, or as many as `range` says.
    fn read(&self, index: usize, mappings: &mut Vec<Mapping>) -> Result<(), Error> {
        let invalid = |key: &str, value: &dyn std::fmt::Display, cure| {
            let problem = format!("runtimeConfig.portMappings[{index}].{key} {value} is not valid");
            Error::Config(problem, cure)
        };
        let protocol = match self.protocol.as_str() {
            "" => Some(Protocol::Tcp),
            text => text.parse().ok(),
        };
        let protocol = protocol
            .ok_or_else(|| invalid("protocol", &format!("{:?}", self.protocol), "use tcp, udp or sctp"))?;
        let host_ip: Option<IpAddr> = match self.host_ip.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                let shown = format!("{text:?}");
                invalid("hostIP", &shown, "write an address of the host, or leave it out")
            })?),
        };
        if !(1..=PORT_MAX).contains(&self.range) {
            return Err(invalid("range", &self.range, "use 1 to 65535"));
        }
        let read = |key: &str, first: i64, offset: i64, cure| {
            let port = u16::try_from(first.saturating_add(offset)).ok().filter(|port| *port > 0);
            port.ok_or_else(|| invalid(key, &first, cure))
        };
        for offset in 0..self.range {
            let host_port = Some(self.host_port).filter(|first| *first != 0);
            let host_port = host_port
                .map(|first| read("hostPort", first, offset, "use 1 to 65535, or 0 for any free port"));
            mappings.push(Mapping {
                index,
                host_ip: host_ip.map(|address| address.to_canonical()),
                host_port: host_port.transpose()?,
                container_port: read("containerPort", self.container_port, offset, "use 1 to 65535")?,
                protocol,
            });
        }
        Ok(())
    }
}

const PORT_MAX: i64 = 65_535;
/// Every port there is, by one protocol: hostile ranges end here.
const MAPPINGS_MAX: usize = 65_535;

#[cfg(test)]
mod tests;
