//! Many containers, spread over the shipped networks.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use sandbox::Namespaced;
use sandbox::traffic::serve_tcp;
use serde_json::{Value, json};

use crate::shared::cleat::{DUAL, NETWORK, NETWORKS, cleat, install_networks, json_of};
use crate::shared::shell::said;

pub(crate) const LINKS: &str = "cleat-links";
/// IPv4 alone, both families, members kept apart: each with its file.
pub(crate) const MIXED: [(&str, &str); 3] =
    [(NETWORK, "10-cleat"), (DUAL, "20-cleat-dual-stack"), (LINKS, "30-cleat-links")];

/// The shipped networks, changed so that a container may be added before the sources of its links.
pub(crate) fn install() {
    install_networks();
    for (_, file) in MIXED {
        let mut list = list(file);
        list["plugins"][2]["waitForLinks"] = json!(true);
        fs::write(format!("{NETWORKS}/{file}.conflist"), list.to_string()).unwrap();
    }
}

pub(crate) fn list(file: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{NETWORKS}/{file}.conflist")).unwrap()).unwrap()
}

/// One of many containers. Its number determines its network, its host port, and the source of its link.
pub(crate) struct Container {
    pub(crate) number: usize,
    pub(crate) netns: Namespaced,
}

impl Container {
    pub(crate) fn new(number: usize) -> Self {
        Self { number, netns: Namespaced::new(&format!("c{number}")) }
    }

    pub(crate) fn network(&self) -> &'static str {
        MIXED[self.number % MIXED.len()].0
    }

    /// Every second container asks for this host port, the others for a free one.
    pub(crate) fn fixed_port(&self) -> Option<usize> {
        self.number.is_multiple_of(2).then_some(20_000 + self.number)
    }

    /// Every second container of a network has a link to the container before it.
    pub(crate) fn source(&self) -> Option<usize> {
        let place = self.number / MIXED.len();
        (place % 2 == 1).then(|| self.number - MIXED.len())
    }

    pub(crate) fn verb(&self, verb: &str) -> Command {
        let mut command = by_id(verb, self.network(), self.number);
        command.arg(self.netns.path());
        let port = json!([{"hostPort": self.fixed_port().unwrap_or(0), "containerPort": 80}]);
        let link = self.source().map(|source| format!(";LINK_LINKS=c{source}:source")).unwrap_or_default();
        command.env("CAP_ARGS", json!({"portMappings": port}).to_string());
        command.env("CNI_ARGS", format!("LINK_NAME=c{}{link}", self.number));
        command
    }

    pub(crate) fn add(&self) -> Value {
        serde_json::from_str(&success(&mut self.verb("add"))).unwrap()
    }

    pub(crate) fn del(&self) {
        success(&mut self.verb("del"));
    }

    pub(crate) fn serve(&self) {
        serve_tcp(Some(&self.netns), self.netns.name(), "[::]:80");
    }

    pub(crate) fn hosts(&self) -> String {
        fs::read_to_string(format!("/run/cleat/containers/c{}/hosts", self.number)).unwrap()
    }
}

pub(crate) fn by_id(verb: &str, network: &str, number: usize) -> Command {
    cleat(&[verb, network, "--id", &format!("c{number}")])
}

pub(crate) fn success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Calls `act` for all at the same time, each in a thread of its own.
pub(crate) fn at_once<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let acts: Vec<_> = all.iter().map(|one| scope.spawn(|| act(one))).collect();
        acts.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

pub(crate) fn distinct<T: Ord>(all: impl IntoIterator<Item = T>) -> usize {
    all.into_iter().collect::<BTreeSet<T>>().len()
}

pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let bare = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    result["ips"].as_array().unwrap().iter().map(bare).collect()
}

/// The host port of every attachment, with its container's ID. Each has exactly one.
pub(crate) fn ports() -> Vec<(String, u64)> {
    let told = json_of(&["ps"]);
    let of = |one: &Value| {
        let ports = one["ports"].as_array().unwrap().iter().map(|port| port["hostPort"].as_u64().unwrap());
        let mut ports: Vec<u64> = ports.collect();
        // `cleat ps` lists a port once for each family.
        ports.dedup();
        assert_eq!(ports.len(), 1, "{one}");
        (one["id"].as_str().unwrap().to_owned(), ports[0])
    };
    told.as_array().unwrap().iter().map(of).collect()
}
