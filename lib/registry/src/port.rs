//! Ports that containers expose and publish: numbers 1 to 65535 of TCP, UDP or SCTP, and nothing else.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A transport protocol. The order is the one in which Docker sorts ports: TCP first, the others by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, also meant where no protocol is named.
    #[default]
    Tcp,
    /// SCTP.
    Sctp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name in small letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Sctp => "sctp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Error;

    /// Reads a name in any case, as runtimes differ in it.
    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Tcp, Self::Sctp, Self::Udp]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| refused(text, "the protocol is one of tcp, udp, sctp"))
    }
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
    pub fn single(number: u16, protocol: Protocol) -> Result<Self, Error> {
        Self::new(number, number, protocol)
    }

    fn new(first: u16, last: u16, protocol: Protocol) -> Result<Self, Error> {
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
    type Err = Error;

    /// Reads `port[-port][/protocol]`; TCP where no protocol is named.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (numbers, protocol) = match text.split_once('/') {
            Some((numbers, protocol)) => (numbers, protocol.parse().map_err(|error| within(text, error))?),
            None => (text, Protocol::default()),
        };
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Self::new(number(first, text)?, number(last, text)?, protocol).map_err(|error| within(text, error))
    }
}

impl TryFrom<String> for PortRange {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

/// Digits alone: `parse` would take a leading `+` as well.
fn number(digits: &str, text: &str) -> Result<u16, Error> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
        .ok_or_else(|| refused(text, "ports are 1 to 65535, written as 5432/tcp or 8000-8005/udp"))
}

fn refused(text: &str, reason: &'static str) -> Error {
    Error::Port { text: text.to_owned(), reason }
}

/// The same refusal, told of the whole text.
fn within(text: &str, error: Error) -> Error {
    match error {
        Error::Port { reason, .. } => refused(text, reason),
        other => other,
    }
}

/// A container's port that is reachable by a port of the host (CNI conventions, `portMappings`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The host's address; empty for all of them.
    #[serde(rename = "hostIP", default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// The host's port; 0 where the host chooses a free one.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
    /// The protocol of both.
    pub protocol: Protocol,
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
