//! Every target with its seeds, with a fixed number of mutations of them, and with inputs that are too large to be kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostile::{Mutations, TARGETS, Target, extremes};

/// Runs a target with an input, and names the input if the target panics or is slow.
fn run(target: Target, input: &[u8], name: &str) {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = began.elapsed();
    assert!(outcome.is_ok(), "{}: {name} broke it, {} bytes: {}", target.name, input.len(), shown(input));
    // Far more than code with linear run time needs: the build is not optimised, and the machine may be busy.
    assert!(took < Duration::from_secs(10), "{}: {name} took {took:?}", target.name);
}

/// The bytes as an argument of `printf %b`, to repeat the failure.
fn shown(input: &[u8]) -> String {
    input.iter().take(4096).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "\\x{byte:02x}");
        text
    })
}

#[test]
fn no_seed_and_no_mutation_of_one_breaks_anything() {
    for target in TARGETS {
        let seeds = target.seeds();
        assert!(seeds.len() > 1, "{} has no seeds", target.name);
        let others: Vec<Vec<u8>> = seeds.iter().map(|(_, seed)| seed.clone()).collect();
        for (number, (file, seed)) in seeds.iter().enumerate() {
            let name = file.display().to_string();
            run(target, seed, &name);
            let mutations = Mutations::new(seed, &others, number as u64 + 1).take(target.mutations);
            for (place, mutation) in mutations.enumerate() {
                run(target, &mutation, &format!("mutation {place} of {name}"));
            }
        }
    }
}

#[test]
fn nothing_that_is_too_large_breaks_anything() {
    for extreme in extremes() {
        for target in TARGETS.into_iter().filter(|target| target.extremes) {
            run(target, &extreme.bytes, extreme.name);
        }
    }
}

/// Each target has a folder of seeds and a fuzzer. Otherwise a target could be left out, or run without input, unnoticed.
#[test]
fn targets_seeds_and_fuzzers_belong_together() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let mut known = TARGETS.map(|target| target.name.to_owned());
    known.sort();
    assert_eq!(names(here.join("corpus")), known);
    let fuzzers = here.join("../../fuzz");
    assert_eq!(names(fuzzers.join("fuzz_targets")), known);
    let manifest = fs::read_to_string(fuzzers.join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is no program");
        let fuzzer = fs::read_to_string(fuzzers.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(fuzzer.contains(&format!("hostile::{name}(")), "{name} tries something else");
    }
}
