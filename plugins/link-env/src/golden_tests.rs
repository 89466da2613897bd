//! Exact texts: each folder of `tests/data` has networks as the registry keeps them, a container, and the files that it
//! must get. Where there is `docker.env` or `docker.hosts` beside them, Docker 20.10 wrote that for the same containers.

use std::fs;
use std::path::Path;

use registry::Network;
use serde::Deserialize;

use crate::env::{self, Environment};
use crate::hosts::block::HostsBlock;
use crate::hosts::line::{self, MARK};
use crate::hosts::text::{self, Membership};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    container: String,
    ipv6: bool,
    networks: Vec<Network>,
}

fn assert_text(file: &Path, made: &str) {
    let wanted = fs::read_to_string(file).unwrap();
    assert_eq!(made, wanted, "{}, made:\n{made}", file.display());
}

/// The text without the mark at the end of our lines. Every line but comments and those for `localhost` must have it.
fn unmarked(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let is_plain = line.starts_with('#') || line::is_loopback(line.as_bytes());
        assert_eq!(line::is_marked(line.as_bytes()), !is_plain, "{line:?}");
        format!("{}\n", line.replacen(MARK, "", 1))
    });
    lines.collect()
}

/// Docker writes `fe00::0` for `fe00::`, which is the same address.
fn assert_dockers_hosts(file: &Path, made: &str) {
    let dockers = fs::read_to_string(file).unwrap().replace("::0\t", "::\t");
    assert_eq!(made, dockers, "{}", file.display());
}

/// Docker's file also has the variables that a container has without links: these are left out.
fn assert_dockers_environment(file: &Path, made: &Environment) {
    let dockers = fs::read_to_string(file).unwrap();
    let of_links = |line: &&str| !["PATH=", "HOSTNAME=", "HOME="].iter().any(|other| line.starts_with(other));
    let made: Vec<String> = made.lines().collect();
    assert_eq!(made, dockers.lines().filter(of_links).collect::<Vec<_>>(), "{}", file.display());
}

#[test]
fn containers_get_exactly_these_files() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let mut cases = 0;
    for entry in fs::read_dir(data).unwrap() {
        let folder = entry.unwrap().path();
        let text = fs::read_to_string(folder.join("case.json")).unwrap();
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut networks: Vec<HostsBlock> = case.networks.iter().flat_map(HostsBlock::all).collect();
        networks.iter_mut().for_each(HostsBlock::give_slots);
        let own: Vec<Membership<'_>> =
            networks.iter().flat_map(|network| Membership::of(&case.container, network)).collect();
        let text = unmarked(&text::text(&own, case.ipv6).text);
        assert_text(&folder.join("hosts"), &text);
        let environment = env::of_container(&own, |_, _| true).unwrap().environment;
        if folder.join("docker.hosts").exists() {
            assert_dockers_hosts(&folder.join("docker.hosts"), &text);
        }
        if folder.join("docker.env").exists() {
            assert_dockers_environment(&folder.join("docker.env"), &environment);
        }
        assert_text(&folder.join("env"), &environment.to_shell());
        if folder.join("env.json").exists() {
            assert_text(&folder.join("env.json"), &environment.to_json());
        }
        cases += 1;
    }
    assert!(cases >= 20, "{cases} cases");
}
