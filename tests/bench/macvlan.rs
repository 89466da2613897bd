//! ADD and DEL of the plugin `macvlan` of each suite. netavark has no plugin of its own for it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink::{Namespace, Peer, Socket, Veth};
use sandbox::{Call, Namespaced};
use serde_json::{Value, json};

use crate::background::{rest, settle, wait_for_namespaces};
use crate::figures::{Bar, bar, median};
use crate::suites::{PATH, Suite};
use crate::summary::{Figures, Summary};

/// A host with an interface to a network, on which containers are put.
struct Host {
    suite: Suite,
    netns: Namespaced,
    /// The other end of the interface.
    _beyond: Namespaced,
}

/// Measures all suites in turn.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    let hosts = Suite::PLUGINS.map(Host::new);
    rest();
    let mut times = [const { Vec::new() }; 3].map(|add| (add, Vec::<Duration>::new()));
    for round in 0..=rounds {
        for (host, (add, del)) in hosts.iter().zip(&mut times) {
            let [added, deleted] = host.round(round);
            // The first one makes the folder of leases.
            if round > 0 {
                add.push(added);
                del.push(deleted);
            }
        }
    }
    println!("\nmacvlan, {rounds} rounds, milliseconds");
    for (verb, least, medians) in [
        // Not the ten times of a bridge's: there the reference moves a link and starts iptables, here it does neither. Of our own
        // time nearly half is that a process starts, and the rest the kernel's work.
        ("ADD", 4.0, times.each_ref().map(|(add, _)| median(add))),
        ("DEL", 3.0, times.each_ref().map(|(_, del)| median(del))),
    ] {
        let named = Suite::PLUGINS.iter().zip(medians);
        let figures: Vec<String> =
            named.map(|(suite, figure)| format!("{} {figure:.2}", suite.name())).collect();
        println!("  {verb} of macvlan: {}", figures.join(", "));
        let [ours, reference, newest] = medians;
        bar(&format!("{verb} of macvlan, against the reference"), reference / ours, Bar::AtLeast(least));
        let row: Figures = [Some(ours), Some(reference), Some(newest), None];
        summary.times(&format!("{verb} of macvlan"), row);
    }
}

impl Host {
    fn new(suite: Suite) -> Self {
        let netns = Namespaced::new(&format!("macvlan-{}", suite.name()));
        let beyond = Namespaced::new(&format!("beyond-{}", suite.name()));
        let namespace = Namespace::open(beyond.path()).unwrap();
        netns.enter(|| {
            let peer = Peer { name: "eth0", mac: None, namespace: namespace.as_fd() };
            let veth = Veth { name: "uplink", mac: None, mtu: None, master: None, alias: None, peer };
            Socket::open().unwrap().add_veth(&veth).unwrap();
        });
        beyond.enter(|| {
            let mut socket = Socket::open().unwrap();
            let eth0 = socket.get_link("eth0").unwrap().unwrap();
            socket.set_up(eth0.index).unwrap();
        });
        Self { suite, netns, _beyond: beyond }
    }

    /// One container's ADD and DEL. Waits for what they leave running.
    fn round(&self, number: usize) -> [Duration; 2] {
        wait_for_namespaces();
        let container = Namespaced::new(&format!("{}-macvlan-{number}", self.suite.name()));
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": format!("macvlan-{}", self.suite.name()), "type": "macvlan", "master": "uplink",
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.9.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]
            }
        });
        let program = self.suite.program("macvlan").display().to_string();
        let run = |verb: &str, conf: &Value| {
            let call = Call::new(&program, verb, conf).of(container.name(), &container, "eth0");
            let job = call.env("PATH", PATH).job();
            let start = Instant::now();
            let outcome = job.run();
            let took = start.elapsed();
            let said =
                [&outcome.stdout, &outcome.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
            assert_eq!(outcome.code, Some(0), "{program} {verb}: {}", said.concat());
            (took, outcome.stdout)
        };
        self.netns.enter(|| {
            let (added, result) = run("ADD", &conf);
            conf["prevResult"] = serde_json::from_slice(&result).unwrap();
            let (deleted, _) = run("DEL", &conf);
            settle();
            [added, deleted]
        })
    }
}
