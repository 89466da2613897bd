//! Exact texts: each folder of `tests/data` has networks as the registry keeps them, a container, and the files that it
//! must get. `docker-link` is what Docker itself wrote for the same containers.

use std::fs;
use std::path::Path;

use registry::Network;
use serde::Deserialize;

use crate::env;
use crate::hosts::{self, Membership};
use crate::neighbourhood::Neighbourhood;

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

#[test]
fn containers_get_exactly_these_files() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let mut cases = 0;
    for entry in fs::read_dir(data).unwrap() {
        let folder = entry.unwrap().path();
        let text = fs::read_to_string(folder.join("case.json")).unwrap();
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let networks: Vec<Neighbourhood> = case.networks.into_iter().map(Neighbourhood::new).collect();
        let own: Vec<Membership<'_>> =
            networks.iter().flat_map(|network| Membership::of(&case.container, network)).collect();
        assert_text(&folder.join("hosts"), &hosts::text(&own, case.ipv6));
        let environment = env::of_container(&own).unwrap();
        assert_text(&folder.join("env"), &environment.to_shell());
        if folder.join("env.json").exists() {
            assert_text(&folder.join("env.json"), &environment.to_json());
        }
        cases += 1;
    }
    assert!(cases >= 10, "{cases} cases");
}
