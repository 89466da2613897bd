//! Ports on which programs of this network namespace listen.

use std::collections::BTreeSet;
use std::fs;

use cni::Protocol;

/// The states in which a socket has its port (`tcp_states.h`): listening, and for UDP any.
const LISTENING: &str = "0A";

/// The ports, whatever the address. What cannot be read is left out: the plugin looks again when it publishes a port.
pub(crate) fn of_host() -> BTreeSet<(Protocol, u16)> {
    let files =
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
    let read = |(file, protocol): (&str, Protocol)| {
        let text = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        text.lines().skip(1).filter_map(|line| port(line, protocol)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(read).collect()
}

/// That of a line such as `0: 0100007F:1F90 00000000:0000 0A …` (proc(5)).
fn port(line: &str, protocol: Protocol) -> Option<(Protocol, u16)> {
    let mut words = line.split_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    let is_listening = protocol == Protocol::Udp || words.nth(1)? == LISTENING;
    is_listening.then_some((protocol, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(of_host().contains(&(Protocol::Tcp, port)));
        drop(listener);
        assert!(!of_host().contains(&(Protocol::Tcp, port)));
    }
}
