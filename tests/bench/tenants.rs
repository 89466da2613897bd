//! How long one pod can make the ADD and DEL of others wait: if it is as large as all limits allow, and while it attacks.

use sandbox::Namespaced;

#[path = "../suite/tenants/attacks.rs"]
mod attacks;

use crate::figures::{Bar, bar, quantile};
use crate::suites::Suite;
use attacks::{ATTACKS, Network};

/// The most milliseconds that a pod at all its limits may add to each ADD and each DEL of another pod. Both take the
/// registry's lock once.
const MOST: f64 = 50.0;

/// How many times each attack is started and stopped.
const TURNS: usize = 5;

/// Prints the times of ADD and DEL of `link-env` on a network of a hundred members, without an attack and with each one.
pub(crate) fn measure(rounds: usize) {
    // The first namespace that a process makes takes longer.
    drop(Namespaced::new("first"));
    let network = Network::new(&Suite::Cleat.program("link-env"));
    network.fill(100);
    println!("\nlink-env's ADD and DEL of another namespace's pod among 100, {rounds} rounds, milliseconds");
    println!("{:46} {:>8} {:>8} {:>8} {:>8}", "", "quiet", "p95", "with it", "p95");
    let mut ratios = Vec::new();
    let mut row = |what: &str, quiet: &[_], attacked: &[_]| {
        let [quiet, slow, attacked, late] = [(quiet, 50), (quiet, 95), (attacked, 50), (attacked, 95)]
            .map(|(times, percent)| quantile(times, percent));
        println!("{what:46} {quiet:8.2} {slow:8.2} {attacked:8.2} {late:8.2}");
        ratios.push((what.to_owned(), attacked / quiet));
        (attacked - quiet) / 2.0
    };
    for (what, attack) in ATTACKS {
        // In turn, so that other load of the machine affects both alike.
        let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            quiet.extend(network.others(rounds.div_ceil(TURNS)));
            attacked.extend(network.others_under(attack, rounds.div_ceil(TURNS)));
        }
        let _ = row(what, &quiet, &attacked);
    }
    let quiet = network.others(rounds);
    let cost = row("one at all bounds", &quiet, &network.beside_full(|| network.others(rounds)));
    for (what, ratio) in &ratios[..ATTACKS.len()] {
        bar(&format!("under {what}"), *ratio, Bar::AtMost(1.2));
    }
    let verdict = if cost <= MOST { "met" } else { "MISSED" };
    println!(
        "  {:62} {cost:6.2} ms   at most {MOST} ms: {verdict}",
        "one at all bounds costs each call of another"
    );
    network.clear();
}
