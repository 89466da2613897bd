//! Reading a gate back takes the same number of system calls, however many members and networks the node has.

use nix::libc;
use sandbox::{Call, Namespaced, isolated};
use serde_json::json;

use crate::shared::members::{Network, host};
use crate::shared::programs::BRIDGE;

/// How many more system calls ADD, and DEL, may make on a closed bridge than on an open one.
const BUDGETS: [usize; 2] = [78, 59];
/// The number of calls that wait for a thread or allocate memory differs a little between runs.
const ALLOWANCE: usize = 4;

/// The fewest system calls of ADD, and of DEL, in three rounds.
fn counts(network: &Network) -> [usize; 2] {
    let mut counts = [usize::MAX; 2];
    for _ in 0..3 {
        let netns = Namespaced::new("measured");
        for (least, verb) in counts.iter_mut().zip(["ADD", "DEL"]) {
            let job = Call::new(BRIDGE, verb, &network.bridge()).of("measured", &netns, "eth1").job();
            let outcome = job.watch();
            assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stdout));
            let made = outcome.calls.iter().filter(|call| call.number != libc::SYS_rt_sigaction).count();
            *least = made.min(*least);
        }
    }
    counts
}

#[test]
fn reading_a_gate_back_costs_the_same_among_many() {
    isolated(|| {
        let _host = host();
        let name = |kind: &str, number: usize| Namespaced::new(&format!("{kind}{number}"));
        let namespaces: Vec<Namespaced> = (0..40).map(|number| name("c", number)).collect();
        let network = |name, subnet, keys| Network { name, subnet, keys };
        let (open, shut) = (network("open", 1, json!({})), network("shut", 2, json!({"icc": false})));
        open.add(&namespaces[0], &json!({}));
        shut.add(&namespaces[1], &json!({}));
        let (free, few) = (counts(&open), counts(&shut));
        for netns in &namespaces[2..34] {
            shut.add(netns, &json!({}));
        }
        for (netns, name) in namespaces[34..].iter().zip(["n1", "n2", "n3", "n4", "n5", "n6"]) {
            let subnet = 10 + name.as_bytes()[1] - b'0';
            network(name, subnet, json!({"icc": false, "ingress": "published"})).add(netns, &json!({}));
        }
        let many = counts(&shut);
        for (verb, place) in [("ADD", 0), ("DEL", 1)] {
            let (free, few, many) = (free[place], few[place], many[place]);
            assert!(many <= few + ALLOWANCE, "{verb}: {few} beside one member, {many} beside many");
            let more = few.saturating_sub(free);
            assert!(
                more <= BUDGETS[place] + ALLOWANCE,
                "{verb}: {more} more than the {free} of an open bridge"
            );
        }
    });
}
