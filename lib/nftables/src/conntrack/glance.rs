//! A glance at all flows, which shows in most cases that there is none to remove.
//!
//! For a list by netlink the kernel locks each bucket of a table that all network namespaces share, 262,144 of them on a
//! machine of some memory: 5 to 10 ms. For the file below `/proc` it walks them without locks (`ct_get_next` in
//! `nf_conntrack_standalone.c`): a seventh of a millisecond, but then it writes each flow out in words.

use std::fs::File;
use std::io::Read;

/// Of the calling thread's network namespace. Kernels without `CONFIG_NF_CONNTRACK_PROCFS` have none.
const FILE: &str = "/proc/thread-self/net/nf_conntrack";
/// With more flows than fill so many bytes, some 400, the list by netlink is cheaper, since the kernel narrows it.
const MOST: u64 = 64 << 10;

/// Whether the calling thread's network namespace may have flows of a protocol (`IPPROTO_*`) that were first sent to one of
/// these ports. `true` also where that cannot be told, or there are many flows.
#[must_use]
pub fn may_have_flows_to(protocol: u8, ports: &[u16]) -> bool {
    let mut text = Vec::with_capacity(4096);
    let read = File::open(FILE).and_then(|file| file.take(MOST).read_to_end(&mut text));
    let is_whole = read.is_ok_and(|length| u64::try_from(length).is_ok_and(|length| length < MOST));
    let Ok(text) = std::str::from_utf8(&text) else { return true };
    !is_whole || text.lines().any(|line| may_be(line, protocol, ports))
}

/// Whether a line may be of such a flow: of any that it does not understand as well.
fn may_be(line: &str, protocol: u8, ports: &[u16]) -> bool {
    // ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=53 [UNREPLIED] src=...
    let mut words = line.split_ascii_whitespace();
    let Some(number) = words.nth(3).and_then(|word| word.parse::<u8>().ok()) else { return true };
    if number != protocol {
        return false;
    }
    // The first direction is the original one.
    let port = words.find_map(|word| word.strip_prefix("dport="));
    port.and_then(|port| port.parse().ok()).is_none_or(|port| ports.contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_by_protocol_and_original_port() {
        let udp = "ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=53 [UNREPLIED] src=10.0.0.2 \
            dst=10.0.0.1 sport=53 dport=40000 mark=0 zone=0 use=2";
        let tcp = "ipv6     10 tcp      6 431999 ESTABLISHED src=::1 dst=::1 sport=40000 dport=53 src=::1 dst=::1 sport=53 \
            dport=40000 [ASSURED] mark=0 zone=0 use=2";
        let group = "ipv4     2 unknown  2 599 src=10.1.0.1 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=10.1.0.1 mark=0 use=2";
        assert!(may_be(udp, 17, &[80, 53]) && !may_be(udp, 17, &[40000]) && !may_be(udp, 6, &[53]));
        assert!(may_be(tcp, 6, &[53]) && !may_be(tcp, 17, &[53]));
        assert!(!may_be(group, 17, &[53]));
        assert!(may_be("something new", 17, &[53]), "what is not understood may be one");
    }
}
