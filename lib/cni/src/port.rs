//! Ports: numbers 1 to 65535 of TCP, UDP or SCTP, as containers expose them and runtimes publish them.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// A transport protocol that has ports. The order is the one in which Docker sorts them: TCP first, the others by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, which is meant where none is named.
    #[default]
    Tcp,
    /// SCTP.
    Sctp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Sctp, Self::Udp];

    /// The lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Sctp => "sctp",
            Self::Udp => "udp",
        }
    }

    /// The protocol's number in the IP header (`IPPROTO_*` of linux/in.h).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Sctp => 132,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = PortError;

    /// Reads a name in any case, as runtimes differ in it.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let known = Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| refused(text, "the protocol is one of tcp, udp, sctp"))
    }
}

/// No text is TCP, as with every runtime.
impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "" => Ok(Self::default()),
            text => text.parse().map_err(de::Error::custom),
        }
    }
}

/// Text that is no port, no range of ports or no protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read port {text:?}: {reason}")]
pub struct PortError {
    /// The text as it was given.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// One published port as runtimes pass it (CNI conventions, `portMappings`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the host.
    // 0 asks for a free one.
    #[serde(default)]
    pub host_port: u16,
    /// Port of the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case.
    #[serde(default)]
    #[schemars(with = "String", extend("default" = Protocol::Tcp.name()))]
    pub protocol: Protocol,
    /// Address of the host.
    // `None` for all of them.
    #[serde(
        rename = "hostIP",
        default,
        deserialize_with = "host_ip",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "String", extend("x-default" = "every address"))]
    pub host_ip: Option<IpAddr>,
}

/// Runtimes write an empty text for every address. Other text that is no address is the publishing plugin's to refuse.
fn host_ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().ok())
}

/// Consecutive ports of one protocol, written `5432/tcp` or `8000-8005/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl PortRange {
    /// The one port of that number.
    ///
    /// # Errors
    /// Number 0, which the transport protocols reserve.
    pub fn single(number: u16, protocol: Protocol) -> Result<Self, PortError> {
        Self::new(number, number, protocol)
    }

    fn new(first: u16, last: u16, protocol: Protocol) -> Result<Self, PortError> {
        let range = Self { protocol, first, last };
        if first == 0 {
            Err(refused(&range.to_string(), "ports are 1 to 65535"))
        } else if last < first {
            Err(refused(&range.to_string(), "the range ends before it starts"))
        } else {
            Ok(range)
        }
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        self.protocol
    }

    /// The port numbers.
    #[must_use]
    pub fn numbers(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The union of ranges as runs of consecutive ports, none of which touch, in Docker's order.
    #[must_use]
    pub fn union(ranges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sorted: Vec<Self> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut runs: Vec<Self> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match runs.last_mut() {
                Some(run) if run.protocol == range.protocol && range.first <= run.last.saturating_add(1) => {
                    run.last = run.last.max(range.last);
                }
                _ => runs.push(range),
            }
        }
        runs
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}/{}", self.first, self.protocol)
        } else {
            write!(f, "{}-{}/{}", self.first, self.last, self.protocol)
        }
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    /// Reads `port[-port][/protocol]`; TCP where no protocol is named.
    fn from_str(text: &str) -> Result<Self, PortError> {
        // A refusal shows the whole text.
        let within = |error: PortError| PortError { text: text.to_owned(), ..error };
        let (numbers, protocol) = match text.split_once('/') {
            Some((numbers, protocol)) => (numbers, protocol.parse().map_err(within)?),
            None => (text, Protocol::default()),
        };
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Self::new(number(first, text)?, number(last, text)?, protocol).map_err(within)
    }
}

impl TryFrom<String> for PortRange {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

/// Digits alone: `parse` would take a leading `+` as well.
fn number(digits: &str, text: &str) -> Result<u16, PortError> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
        .ok_or_else(|| refused(text, "ports are 1 to 65535, written as 5432/tcp or 8000-8005/udp"))
}

fn refused(text: &str, reason: &'static str) -> PortError {
    PortError { text: text.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    #[test]
    fn ports_are_read_and_written_in_one_form() {
        for (text, form) in [
            ("5432", "5432/tcp"),
            ("53/UDP", "53/udp"),
            ("8000-8005/sctp", "8000-8005/sctp"),
            ("7-7", "7/tcp"),
            ("1-65535/tcp", "1-65535/tcp"),
        ] {
            assert_eq!(range(text).to_string(), form);
        }
    }

    #[test]
    fn what_is_no_port_is_refused_with_the_rule() {
        for (text, words) in [
            ("0/tcp", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("+80", "1 to 65535"),
            ("", "1 to 65535"),
            ("80-", "1 to 65535"),
            ("90-80", "ends before it starts"),
            ("80/icmp", "tcp, udp, sctp"),
            ("80/", "tcp, udp, sctp"),
        ] {
            let message = text.parse::<PortRange>().unwrap_err().to_string();
            assert!(message.contains(words) && message.contains(&format!("{text:?}")), "{message}");
        }
    }

    #[test]
    fn a_union_has_runs_that_do_not_touch_in_dockers_order() {
        let ranges = ["53/udp", "80-82", "65535", "83", "81-81", "9/sctp", "65530-65534", "443"];
        let runs: Vec<String> = PortRange::union(ranges.map(range)).into_iter().map(String::from).collect();
        assert_eq!(runs, ["80-83/tcp", "443/tcp", "65530-65535/tcp", "9/sctp", "53/udp"]);
    }
}
