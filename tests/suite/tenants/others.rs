//! How long calls for other pods take during an attack of one pod.

use std::path::Path;
use std::time::Duration;

use sandbox::isolated;

use super::attacks::{ATTACKS, Network};
use crate::shared::programs::LINK_ENV;

/// Wide, as the programs are not optimised and the machine may be busy.
const FACTOR: u32 = 4;
const SLACK: Duration = Duration::from_millis(200);

#[test]
fn adds_of_others_go_on_while_one_pod_does_its_worst() {
    isolated(|| {
        let network = Network::new(Path::new(LINK_ENV));
        network.fill(40);
        for (what, attack) in ATTACKS {
            let quiet = median(network.others(5));
            let attacked = median(network.others_under(attack, 9));
            println!("{what}: {quiet:?} without, {attacked:?} with");
            assert!(attacked < FACTOR * quiet + SLACK, "{what}: {quiet:?} without, {attacked:?} with");
        }
        network.clear();
    });
}

#[test]
fn a_pod_at_all_its_bounds_costs_others_little() {
    isolated(|| {
        let network = Network::new(Path::new(LINK_ENV));
        network.fill(100);
        let quiet = median(network.others(5));
        let beside = network.beside_full(|| median(network.others(9)));
        println!("{quiet:?} without, {beside:?} beside it");
        assert!(beside < FACTOR * quiet + SLACK, "{quiet:?} without, {beside:?} beside it");
        network.clear();
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
