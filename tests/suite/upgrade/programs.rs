//! The programs of two versions, and calls of them.

use std::path::PathBuf;
use std::process::Command;

use sandbox::Namespaced;
use serde_json::Value;

use super::story::{NETWORK, NETWORKS, Story};
use crate::shared::programs::folder;
use crate::shared::shell::said;

/// The variable with the folder in which `tests/tools/upgrade` has built the old programs.
const OLD_PROGRAMS: &str = "CLEAT_OLD_PROGRAMS";

/// The programs of one version, in a folder.
pub(super) struct Programs(pub(super) PathBuf);

impl Programs {
    pub(super) fn new() -> Self {
        Self(folder().to_owned())
    }

    pub(super) fn old() -> Self {
        let folder = std::env::var_os(OLD_PROGRAMS);
        Self(folder.unwrap_or_else(|| panic!("{OLD_PROGRAMS} is not set: run make test-upgrade")).into())
    }

    pub(super) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let mut command = Command::new(self.0.join("cleat"));
        command.args(args).env("CNI_PATH", &self.0).env("NETCONFPATH", NETWORKS).envs(env.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Adds a container. Its host ports are counted from `port`; links to it show port 80.
    pub(super) fn add(&self, story: &Story, netns: &Namespaced, port: u16, link: &str) {
        let (id, path) = (netns.name(), netns.path().to_str().unwrap());
        let args = format!("IgnoreUnknown=1;LINK_NAME={id};LINK_EXPOSE=80;{link}");
        let ports = story.ports(port).to_string();
        self.run(&["add", NETWORK, path, "--id", id], &[("CNI_ARGS", &args), ("CAP_ARGS", &ports)]);
    }

    pub(super) fn del(&self, netns: &Namespaced) {
        self.run(&["del", NETWORK, netns.path().to_str().unwrap(), "--id", netns.name()], &[]);
    }

    /// The state of each container by `cleat check`, with its ID and problem.
    pub(super) fn states(&self) -> Vec<(String, String)> {
        let mut command = Command::new(self.0.join("cleat"));
        let output = command.args(["check", "--json"]).env("CNI_PATH", &self.0).env("NETCONFPATH", NETWORKS);
        let all: Value = serde_json::from_slice(&output.output().unwrap().stdout).unwrap();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        all.as_array()
            .unwrap()
            .iter()
            .map(|one| (text(one, "state"), format!("{}: {}", text(one, "id"), one["problem"])))
            .collect()
    }

    pub(super) fn assert_states(&self, expected: &[&str]) {
        let states = self.states();
        let found: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
        assert_eq!(found, expected, "{states:?}");
    }

    /// How many containers a repair changed.
    pub(super) fn repair(&self) -> usize {
        let rows: Value = serde_json::from_str(&self.run(&["repair", "--json"], &[])).unwrap();
        rows.as_array().unwrap().len()
    }
}
