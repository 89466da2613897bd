//! What it costs link-env to add a member to a network and to remove it, by the number of members.

use std::time::{Duration, Instant};

use sandbox::{Call, Namespaced};
use serde_json::{Value, json};

use crate::Scale;
use crate::figures::{Bar, bar, quantile};
use crate::suites::Suite;

/// Prints the times of `link-env` in both modes: all members see each other's names (`network`), or only those they link to
/// (`links`).
pub(crate) fn measure(scale: &Scale) {
    let (rounds, largest) = (scale.rounds, *scale.counts.last().unwrap());
    let program = Suite::Cleat.program("link-env").display().to_string();
    let netns = Namespaced::new("names");
    println!("\nlink-env by members of the network, whole processes, {rounds} rounds, milliseconds");
    println!("{:28} {:>12} {:>8} {:>12} {:>8}", "", "ADD median", "p95", "DEL median", "p95");
    for (names, sizes) in [("network", [0, 10, 100, 1000]), ("links", [0, 100, 1000, 5000])] {
        let sizes: Vec<usize> = sizes.into_iter().filter(|size| *size <= largest).collect();
        let network = Network { program: &program, names, netns: &netns };
        let mut members = 0;
        let mut medians = Vec::new();
        // The member that measured members link to.
        network.call("ADD", 0, false);
        for size in sizes {
            while members < size {
                members += 1;
                network.call("ADD", members, false);
            }
            let mut times = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
            for round in 0..rounds {
                let joining = 10_000 + round;
                for (times, command) in times.iter_mut().zip(["ADD", "DEL"]) {
                    times.push(network.call(command, joining, true));
                }
            }
            let [add, del] = &times;
            medians.push(quantile(add, 50) + quantile(del, 50));
            println!(
                "{:28} {:12.2} {:8.2} {:12.2} {:8.2}",
                format!("names: {names}, {size} members"),
                quantile(add, 50),
                quantile(add, 95),
                quantile(del, 50),
                quantile(del, 95)
            );
        }
        if names == "links" {
            let ratio = medians.last().unwrap() / medians[0];
            bar(&format!("ADD and DEL with a link, {members} members to none"), ratio, Bar::AtMost(1.25));
        }
        for member in 0..=members {
            network.call("DEL", member, false);
        }
    }
}

struct Network<'a> {
    program: &'a str,
    names: &'a str,
    netns: &'a Namespaced,
}

impl Network<'_> {
    /// Calls the plugin for a member, which may have a link to the first one.
    fn call(&self, command: &str, member: usize, linked: bool) -> Duration {
        let links: &[&str] = if linked { &["member-0:db"] } else { &[] };
        let call = Call::new(self.program, command, &self.conf(member, links));
        let call = call.of(&format!("{member:012x}{member:052x}"), self.netns, "eth0");
        let start = Instant::now();
        let answer = call.run();
        let time = start.elapsed();
        assert!(answer.output().status.success(), "{answer:?}");
        time
    }

    fn conf(&self, member: usize, links: &[&str]) -> Value {
        let address = format!("10.{}.{}.{}/8", member / 65536, member / 256 % 256, member % 256);
        let endpoint = json!({"name": format!("member-{member}"), "links": links, "expose": ["5432/tcp"]});
        json!({
            "cniVersion": "1.0.0", "name": format!("names-{}", self.names), "type": "link-env", "names": self.names,
            "args": {"cni": {"link-env": endpoint}},
            "prevResult": {"cniVersion": "1.0.0", "ips": [{"interface": 0, "address": address}],
                "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": self.netns.path()}]},
        })
    }
}
