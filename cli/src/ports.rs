//! Ports on the command line: what `-p` publishes and `--expose` exposes.
//!
//! Pure. Whether a host port is free, the publishing plugin says.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use cni::{PortError, PortMapping, PortRange, Protocol};
use serde::{Deserialize, Serialize};

/// One `-p`: a port or a range of ports, and where on the host it is to be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Publish {
    host_ip: Option<IpAddr>,
    /// As many as there are container ports, or for one of these several to choose from; `None` asks for free ones.
    host: Option<RangeInclusive<u16>>,
    container: RangeInclusive<u16>,
    protocol: Protocol,
}

impl Publish {
    /// A mapping for each port, in order.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = PortMapping> {
        let first = self.host.as_ref().map(|host| *host.start());
        self.container.clone().map(move |container_port| PortMapping {
            // The host's range is not shorter, so this stays within it.
            host_port: first.map_or(0, |first| first + (container_port - self.container.start())),
            container_port,
            protocol: self.protocol,
            host_ip: self.host_ip,
        })
    }

    /// Whether there are several host ports for one container port.
    pub(crate) fn is_choice(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.len() > self.container.len())
    }

    /// The same with the first host port that is free; where none is, with the first one, which is refused then with its owner.
    pub(crate) fn choose(&self, is_free: impl Fn(&PortMapping) -> bool) -> Self {
        let mut choices = self
            .host
            .clone()
            .into_iter()
            .flatten()
            .map(|port| Self { host: Some(port..=port), ..self.clone() });
        let free = choices.find(|choice| choice.mappings().all(|mapping| is_free(&mapping)));
        free.unwrap_or_else(|| self.clone())
    }
}

impl FromStr for Publish {
    type Err = String;

    /// Reads `[ip:][hostPort]:containerPort[/protocol]`, `ip::containerPort` and `containerPort`; ports may be ranges.
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, protocol) = text.split_once('/').unwrap_or((text, Protocol::default().name()));
        let range = |numbers: &str| -> Result<PortRange, String> {
            if numbers == "0" {
                return Err("port 0 is none; leave the host port out to have a free one chosen".to_owned());
            }
            let ports = format!("{numbers}/{protocol}").parse();
            ports.map_err(|error: PortError| PortError { text: text.to_owned(), ..error }.to_string())
        };
        let mut fields = rest.rsplitn(3, ':');
        let container = range(fields.next().unwrap_or_default())?;
        let host = match fields.next() {
            // As with Docker, 0 is any free port.
            None | Some("" | "0") => None,
            Some(host) => Some(range(host)?.numbers()),
        };
        let host_ip = fields.next().map(address).transpose()?;
        let (protocol, container) = (container.protocol(), container.numbers());
        match host.as_ref().map_or(container.len(), ExactSizeIterator::len) {
            length if length == container.len() || container.len() == 1 => {
                Ok(Self { host_ip, host, container, protocol })
            }
            length => Err(format!(
                "{length} host ports for {} container ports; give ranges of one length",
                container.len()
            )),
        }
    }
}

/// `--expose 8000-8005/udp` with `-P`: a mapping from a free port of the host for each port.
pub(crate) fn exposed(ports: PortRange) -> impl Iterator<Item = PortMapping> {
    let protocol = ports.protocol();
    ports.numbers().map(move |container_port| PortMapping {
        host_port: 0,
        container_port,
        protocol,
        host_ip: None,
    })
}

fn address(text: &str) -> Result<IpAddr, String> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bracketed {
        Some(text) => text.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    };
    address.ok_or_else(|| {
        format!("{text:?} is no address of the host; write 192.0.2.1, or an IPv6 address in brackets")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mappings as `ip|host|container|protocol`.
    fn shown(text: &str) -> Vec<String> {
        let published: Publish = text.parse().unwrap();
        let show = |mapping: PortMapping| {
            let ip = mapping.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            format!("{ip}|{}|{}|{}", mapping.host_port, mapping.container_port, mapping.protocol)
        };
        published.mappings().map(show).collect()
    }

    #[test]
    fn every_form_that_docker_knows_is_read() {
        let table: [(&str, &[&str]); 18] = [
            ("80", &["|0|80|tcp"]),
            (":80", &["|0|80|tcp"]),
            ("0:80", &["|0|80|tcp"]),
            ("127.0.0.1:0:80", &["127.0.0.1|0|80|tcp"]),
            ("80/udp", &["|0|80|udp"]),
            ("8080:80", &["|8080|80|tcp"]),
            ("8080:80/SCTP", &["|8080|80|sctp"]),
            ("127.0.0.1:5000:5000/udp", &["127.0.0.1|5000|5000|udp"]),
            ("127.0.0.1::80", &["127.0.0.1|0|80|tcp"]),
            ("0.0.0.0:80:80", &["0.0.0.0|80|80|tcp"]),
            ("[::1]:8080:80", &["::1|8080|80|tcp"]),
            ("[fd00::1]::80", &["fd00::1|0|80|tcp"]),
            ("[::]:1:65535", &["::|1|65535|tcp"]),
            ("80-81", &["|0|80|tcp", "|0|81|tcp"]),
            ("8000-8001:80-81", &["|8000|80|tcp", "|8001|81|tcp"]),
            ("127.0.0.1::80-81", &["127.0.0.1|0|80|tcp", "127.0.0.1|0|81|tcp"]),
            ("7-7:9", &["|7|9|tcp"]),
            ("65534-65535:1-2", &["|65534|1|tcp", "|65535|2|tcp"]),
        ];
        for (text, wanted) in table {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn of_several_host_ports_the_first_free_one_is_taken() {
        let published: Publish = "8000-8002:80".parse().unwrap();
        let chosen = |taken: &[u16]| {
            let chosen = published.choose(|mapping| !taken.contains(&mapping.host_port));
            chosen.mappings().map(|mapping| (mapping.host_port, mapping.container_port)).collect::<Vec<_>>()
        };
        assert!(published.is_choice() && !"8000-8001:80-81".parse::<Publish>().unwrap().is_choice());
        assert_eq!(chosen(&[]), [(8000, 80)]);
        assert_eq!(chosen(&[8000, 8001]), [(8002, 80)]);
        assert_eq!(chosen(&[8000, 8001, 8002]), [(8000, 80)]);
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let table = [
            ("", "ports are 1 to 65535"),
            ("0", "port 0 is none"),
            ("65536", "\"65536\": ports are 1 to 65535"),
            ("80:", "\"80:\": ports are 1 to 65535"),
            ("+80", "ports are 1 to 65535"),
            ("-80", "ports are 1 to 65535"),
            ("80-", "ports are 1 to 65535"),
            ("81-80", "ends before it starts"),
            ("8000-8010:80-81", "11 host ports for 2 container ports"),
            ("8000:80-81", "1 host ports for 2 container ports"),
            ("80/icmp", "\"80/icmp\": the protocol is one of tcp, udp, sctp"),
            ("80/", "\"80/\": the protocol is one of tcp, udp, sctp"),
            ("::1:80:80", "in brackets"),
            ("fd00::1:8080:80", "in brackets"),
            ("localhost:80:80", "no address of the host"),
            ("[127.0.0.1]:80:80", "no address of the host"),
            (":80:80", "\"\" is no address"),
            ("1:2:3:4", "no address of the host"),
        ];
        for (text, reason) in table {
            let error = text.parse::<Publish>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn mappings_have_the_keys_of_the_convention() {
        let json = |text: &str| {
            let published: Publish = text.parse().unwrap();
            serde_json::to_string(&published.mappings().next().unwrap()).unwrap()
        };
        assert_eq!(
            json("[::1]:80:8080"),
            r#"{"hostPort":80,"containerPort":8080,"protocol":"tcp","hostIP":"::1"}"#
        );
        assert_eq!(json("53/udp"), r#"{"hostPort":0,"containerPort":53,"protocol":"udp"}"#);
    }
}
