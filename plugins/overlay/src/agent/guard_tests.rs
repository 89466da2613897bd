//! The guard, with times that are given to it.

use std::time::Duration;

use tokio::time::Instant;

use super::Guard;

enum Step {
    Deleted(&'static str),
    Missing(&'static str, i64),
    Present(&'static str),
    Reset,
    /// A list with these nodes.
    Listed(i64, &'static [&'static str]),
    /// What somebody agrees to, and what then goes.
    Release(&'static [&'static str], &'static [&'static str]),
    /// What goes.
    Goes(&'static [&'static str]),
    Held(&'static [&'static str]),
}
use Step::{Deleted, Goes, Held, Listed, Missing, Present, Release, Reset};

/// Steps at times in milliseconds, with 10 peers.
fn play(what: &str, steps: &[(u64, Step)]) {
    let (start, mut guard) = (Instant::now(), Guard::default());
    for (place, (at, step)) in steps.iter().enumerate() {
        let now = start + Duration::from_millis(*at);
        match step {
            Deleted(name) => guard.deleted(name, now, 5),
            Missing(name, revision) => guard.missing(name, now, *revision),
            Present(name) => drop(guard.present(name)),
            Reset => guard.reset(now),
            Listed(revision, there) => guard.listed(now, *revision, |name| there.contains(&name)),
            Release(there, gone) => {
                assert_eq!(guard.release(|name| there.contains(&name)), *gone, "{what}, step {place}");
            }
            Goes(names) => assert_eq!(guard.due_removals(now, 10), *names, "{what}, step {place}"),
            Held(names) => {
                assert!(guard.held().iter().eq(names.iter()), "{what}, step {place}: {:?}", guard.held());
            }
        }
    }
}

#[test]
fn a_peer_goes_only_if_it_is_sure() {
    let minutes = |count: u64| count * 60_000;
    play("deleted", &[(0, Deleted("a")), (999, Goes(&[])), (1000, Goes(&["a"])), (1001, Goes(&[]))]);
    play("deleted and put again", &[(0, Deleted("a")), (500, Present("a")), (1000, Goes(&[]))]);
    play(
        "missing from two lists",
        &[
            (0, Missing("a", 7)),
            (29_999, Listed(7, &["b"])),
            (31_000, Goes(&[])),
            (31_000, Listed(7, &["b"])),
            (32_000, Goes(&["a"])),
        ],
    );
    play("in the second list", &[(0, Missing("a", 7)), (30_000, Listed(7, &["a"])), (40_000, Goes(&[]))]);
    play(
        "missing from an older state",
        &[
            (0, Missing("a", 7)),
            (30_000, Listed(6, &[])),
            (40_000, Goes(&[])),
            (60_000, Listed(6, &[])),
            (61_000, Goes(&["a"])),
        ],
    );
    play(
        "other data",
        &[
            (0, Deleted("a")),
            (1, Missing("b", 7)),
            (2, Reset),
            (3, Deleted("c")),
            (2000, Goes(&[])),
            (minutes(9), Listed(2, &[])),
            (minutes(9) + 2000, Goes(&[])),
            (minutes(11), Listed(2, &["b"])),
            (minutes(12), Goes(&["a", "c"])),
        ],
    );
}

#[test]
fn more_than_half_wait_for_somebody() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let five: Vec<_> = names[..5].iter().map(|name| (0, Deleted(name))).collect();
    play("half", &five.into_iter().chain([(1000, Goes(&["a", "b", "c", "d", "e"]))]).collect::<Vec<_>>());
    let six = || names.iter().map(|name| (0, Deleted(name)));
    let held = [(1000, Goes(&[])), (1000, Held(&["a", "b", "c", "d", "e", "f"]))];
    let steps: Vec<_> = six()
        .chain(held)
        .chain([
            (2000, Present("f")),
            (2000, Deleted("g")),
            (3000, Goes(&[])),
            (3000, Held(&["a", "b", "c", "d", "e", "g"])),
            (4000, Release(&["b"], &["a", "c", "d", "e", "g"])),
            (4000, Held(&[])),
            (9000, Goes(&[])),
        ])
        .collect();
    play("more than half", &steps);
    let spread = names.iter().zip([0, 0, 0, 1000, 1000, 1000]).map(|(name, at)| (at, Deleted(name)));
    let mut steps: Vec<_> = spread.collect();
    steps.insert(3, (1000, Goes(&["a", "b", "c"])));
    steps.push((2000, Goes(&["d", "e", "f"])));
    play("one after the other", &steps);
}

#[test]
fn a_network_of_two_nodes_can_become_one() {
    let (now, mut guard) = (Instant::now(), Guard::default());
    guard.deleted("a", now, 1);
    assert_eq!(guard.removals_due(), Some(now + Duration::from_secs(1)));
    assert_eq!(guard.due_removals(now + Duration::from_secs(1), 1), ["a"]);
    assert_eq!(guard.removals_due(), None);
}
