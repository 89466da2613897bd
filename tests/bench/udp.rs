//! What a published UDP port costs more than a TCP one, on a host with few interfaces and on one with many.

use std::fmt::Write as _;
use std::process::Command;

use netlink::sysctl;

use crate::background::rest;
use crate::figures::{Bar, bar};
use crate::host::Host;
use crate::level::{ADD, DEL, Level};
use crate::suites::{PATH, Suite};
use crate::summary::Summary;

/// How many further interfaces a host gets, each with an address.
const INTERFACES: usize = 1_500;

/// Measures all suites with both protocols in turn.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    let mut hosts = Suite::ALL.map(|suite| Host::new(suite, "udp"));
    for host in &mut hosts {
        host.fill(1);
    }
    for (place, interfaces) in [("1 there", 0), ("1 there, 1,500 interfaces more", INTERFACES)] {
        for host in &hosts {
            add_interfaces(host, interfaces);
        }
        rest();
        let mut measure = |protocol| {
            for host in &mut hosts {
                host.protocol = protocol;
            }
            Level::measure(&hosts.each_ref(), 1, rounds.div_ceil(2))
        };
        // Twice, so that other load of the machine affects both alike.
        let [mut tcp, mut udp] = ["tcp", "udp"].map(&mut measure);
        tcp.extend(measure("tcp"));
        udp.extend(measure("udp"));
        println!("\nwith {place}, {rounds} rounds, milliseconds");
        for verb in [ADD, DEL] {
            for (protocol, level) in [("TCP", &tcp), ("UDP", &udp)] {
                let named = Suite::ALL.iter().zip(level.medians(verb).map(Option::unwrap));
                let figures: Vec<String> =
                    named.map(|(suite, figure)| format!("{} {figure:.2}", suite.name())).collect();
                println!("  {} with a {protocol} port: {}", verb.0, figures.join(", "));
            }
            let ratio = udp.ours(verb) / tcp.ours(verb);
            bar(&format!("{} with UDP against TCP, {place}", verb.0), ratio, Bar::AtMost(1.15));
            let what = format!("{} with a UDP port (TCP: {:.2} ms), {place}", verb.0, tcp.ours(verb));
            summary.times(&what, udp.medians(verb));
        }
    }
}

/// Makes interfaces with an address each, in pairs of which both ends are on the host. They have no IPv6, whose announcements
/// would go on while others are measured.
fn add_interfaces(host: &Host, count: usize) {
    const IPV6: &str = "net/ipv6/conf/default/disable_ipv6";
    let mut batch = String::new();
    for pair in 0..count / 2 {
        writeln!(batch, "link add a{pair} up type veth peer name b{pair}").unwrap();
        writeln!(batch, "link set b{pair} up").unwrap();
        for (end, net) in [("a", 1), ("b", 2)] {
            writeln!(batch, "address add 172.2{net}.{}.{}/32 dev {end}{pair}", pair / 250, pair % 250 + 1)
                .unwrap();
        }
    }
    host.enter(|| {
        sysctl::set(IPV6, "1").unwrap();
        let output =
            sandbox::run(Command::new("ip").args(["-batch", "-"]).env("PATH", PATH), batch.as_bytes());
        assert!(output.status.success(), "{output:?}");
        sysctl::set(IPV6, "0").unwrap();
    });
}
