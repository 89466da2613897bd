//! ADD, CHECK and DEL on a host with many containers, beside a host with one, and on bridges with many ports.

use crate::Scale;
use crate::background::rest;
use crate::figures::{Bar, bar, median};
use crate::floor;
use crate::host::{Host, NETWORK_MAX};
use crate::level::{ADD, CHECK, DEL, Level, VERBS};
use crate::suites::Suite;
use crate::summary::Summary;

/// The other suites slow down as the number of containers grows: to attach more than this would take hours.
const OTHERS_MAX: usize = 500;

/// Measures with each of these numbers of existing containers, and compares the figures with their limits.
pub(crate) fn measure(scale: &Scale, summary: &mut Summary) {
    let mut near = Host::new(Suite::Cleat, "near");
    near.fill(1);
    let mut hosts = Suite::ALL.map(|suite| Host::new(suite, "crowd"));
    let mut same_bridge = Vec::new();
    for count in scale.counts {
        let measured = if *count > OTHERS_MAX { &mut hosts[..1] } else { &mut hosts[..] };
        for host in measured.iter_mut() {
            // If the networks are full, one more container makes the next bridge: no measured ADD has to.
            host.fill(count + usize::from(count.is_multiple_of(NETWORK_MAX)));
        }
        rest();
        let beside: Vec<&Host> = measured.iter().chain([&near]).collect();
        let mut level = Level::measure(&beside, *count, scale.rounds);
        let one = level.split(1);
        level.report();
        judge(&level, &one);
        for (host, count) in [(&near, 1), (&measured[0], *count)] {
            against_floor(host, count, scale.rounds);
        }
        for verb in VERBS {
            summary.times(&format!("{}, {count} there", verb.0), level.medians(verb));
        }
        if *count < NETWORK_MAX {
            same_bridge.push((*count, level));
        } else {
            same_bridge.push((NETWORK_MAX, on_a_full_network(&mut measured[0], *count, scale.rounds)));
        }
    }
    println!();
    for (ports, level) in &same_bridge {
        let [add, del] = [ADD, DEL].map(|verb| level.ours(verb));
        println!("  on the bridge with {ports} of them: ADD {add:.2}, DEL {del:.2} ms");
    }
    let join =
        |of: &dyn Fn(&(usize, Level)) -> String| same_bridge.iter().map(of).collect::<Vec<_>>().join(" and ");
    summary.texts(
        &format!("ADD on a bridge with {} ports", join(&|(ports, _)| ports.to_string())),
        [join(&|(_, level)| format!("{:.2} ms", level.ours(ADD)))],
    );
}

/// What an attachment costs on a bridge that is as full as it gets. There the kernel itself sends the announcements of
/// a new container's addresses to all ports.
fn on_a_full_network(host: &mut Host, count: usize, rounds: usize) -> Level {
    host.last = count - 1;
    let level = Level::measure(&[host], count, rounds);
    host.last = usize::MAX;
    level
}

fn judge(level: &Level, one: &Level) {
    println!();
    let count = level.count;
    for verb in [ADD, CHECK, DEL] {
        let [ours, reference, _, netavark] = level.medians(verb);
        let ours = ours.unwrap();
        if let (Some(theirs), Some(limit)) = (reference, least(verb.0, count)) {
            bar(
                &format!("{}, {count} there, against the reference", verb.0),
                theirs / ours,
                Bar::AtLeast(limit),
            );
        }
        if let Some(theirs) = netavark {
            bar(&format!("{}, {count} there, against netavark", verb.0), theirs / ours, Bar::AtLeast(1.0));
        }
        if count > OTHERS_MAX {
            let ratio = ours / one.ours(verb);
            bar(&format!("{} with {count} there against 1", verb.0), ratio, Bar::AtMost(1.1));
        }
    }
}

fn against_floor(host: &Host, count: usize, rounds: usize) {
    let [ours, bare] = floor::measure(host, count + 1, rounds).map(|times| median(&times));
    let what = format!("bridge ADD against its bare requests to the kernel, {count} there");
    bar(&what, ours / bare, Bar::AtMost(2.0));
    println!("  those take {bare:.2} ms, in a process of their own ({})", floor::WHAT);
}

/// How much faster than the reference a verb has to be among many.
fn least(verb: &str, count: usize) -> Option<f64> {
    match (verb, count) {
        ("ADD", OTHERS_MAX) => Some(40.0),
        ("DEL", OTHERS_MAX) => Some(10.0),
        _ => None,
    }
}
