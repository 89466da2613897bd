//! Many members are added and removed at the same time, while a thread reads a hosts file.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use place::Place;
use serde_json::json;

const MEMBERS: usize = 200;

fn container(index: usize) -> String {
    format!("c{index}")
}

fn address(index: usize) -> String {
    format!("10.0.{}.{}/16", 1 + index / 100, 1 + index % 100)
}

/// A member's line in the hosts files of the other members.
fn line(index: usize) -> String {
    let address = address(index);
    let name = format!("member-{}{index}", "x".repeat(index % 7));
    format!("{} {name}.shop {name} c{index} c{index}.shop", address.trim_end_matches("/16"))
}

fn join(place: &Place, index: usize) {
    let name = format!("member-{}{index}", "x".repeat(index % 7));
    place.shop().add(&container(index), &[&address(index)], &json!({"name": name}));
}

/// Runs `change` for all indices at the same time, each in a thread of its own.
fn at_once(indices: impl Iterator<Item = usize>, change: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for index in indices {
            let change = &change;
            scope.spawn(move || change(index));
        }
    });
}

/// Reads a file again and again until `stop` is set, and returns how often. Each line must be in `known`.
fn poll(file: &PathBuf, known: &BTreeSet<String>, stop: &AtomicBool) -> usize {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.contains("\n10.0.0.1\tobserver "), "the observer's own line is missing: {text}");
        for line in text.lines().map(|line| line.replace('\t', " ")).filter(|line| !line.starts_with('#')) {
            assert!(known.contains(line.trim_end()), "half a line after {reads} reads: {line:?}");
        }
        reads += 1;
    }
    reads
}

#[test]
fn hosts_files_end_exact_and_nobody_ever_reads_half_a_line() {
    let place = Place::new(json!({}));
    place.shop().add("observer", &["10.0.0.1/16"], &json!({}));
    let file = place.file("observer", "hosts");
    let mut known: BTreeSet<String> = (0..MEMBERS).map(line).collect();
    known.extend(
        fs::read_to_string(&file).unwrap().lines().map(|line| line.replace('\t', " ").trim_end().to_owned()),
    );
    let stop = AtomicBool::new(false);
    let reads = thread::scope(|scope| {
        let reader = scope.spawn(|| poll(&file, &known, &stop));
        at_once(0..MEMBERS, |index| join(&place, index));
        // Every other member is removed and added again, twice.
        for _ in 0..2 {
            at_once((0..MEMBERS).step_by(2), |index| place.shop().del(&container(index)));
            at_once((0..MEMBERS).step_by(2), |index| join(&place, index));
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 100, "{reads} reads are too few to show anything");
    let all: BTreeSet<String> = (0..MEMBERS).map(line).collect();
    for index in 0..MEMBERS {
        let hosts = place.hosts(&container(index));
        assert!(hosts[0].contains(&format!(" c{index} ")), "the member's own line comes first: {hosts:?}");
        let mut others = all.clone();
        others.remove(&line(index));
        others.insert("10.0.0.1 observer.shop observer".into());
        assert_eq!(hosts[1..].iter().cloned().collect::<BTreeSet<_>>(), others);
        assert_eq!(hosts.len(), MEMBERS + 1);
        assert!(place.shop().check(&container(index), &[&address(index)]).ok);
    }
    at_once(0..MEMBERS, |index| place.shop().del(&container(index)));
    assert_eq!(place.hosts("observer"), ["10.0.0.1 observer observer.shop"]);
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes < 400, "{bytes} bytes are left of an empty network");
    place.shop().del("observer");
    place.assert_nothing_is_left();
}
