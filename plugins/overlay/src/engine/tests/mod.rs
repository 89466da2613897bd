//! The engine against Debian's etcd, which each test starts in a sandbox of its own.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod claims;
mod commands;
mod leaving;
mod life;
mod losses;
mod records;
mod relay;
mod roles;
mod watches;

use cni::NetworkName;
use etcd::Timing;
use ipnetwork::IpNetwork;
use sandbox::etcd::{PATIENCE, Server, command};

use super::*;
use crate::record::{Backend, Claim, Mac};

pub(super) fn run(test: impl AsyncFnOnce()) {
    sandbox::isolated(|| {
        let _ = command("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

pub(super) fn conf(url: &str) -> conf::Etcd {
    serde_json::from_value(serde_json::json!({"endpoints": [url]})).unwrap()
}

pub(super) fn engine(server: &Server) -> Engine {
    with_conf(conf(&server.url()))
}

/// An engine that notices soon that a server is silent.
pub(super) fn with_conf(conf: conf::Etcd) -> Engine {
    let seconds = Duration::from_secs;
    let timing = Timing { call: seconds(5), ping: seconds(1), pong: seconds(1), ..Timing::default() };
    Engine::with_timing(&conf::Engine::Etcd(conf), &NetworkName::new("web").unwrap(), timing).unwrap()
}

pub(super) fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

pub(super) fn network() -> Network {
    Network {
        id: "6f1f3a53-8a5e-4b52-9d1c-3c9a6e0d7a11".to_owned(),
        prefixes: vec![net("10.201.0.0/16"), net("fd00:201::/48")],
        block_lengths: vec![24, 64],
        backend: Backend::Vxlan,
        vni: 4711,
        port: 4789,
        mtu: 0,
    }
}

pub(super) fn me(number: u8) -> Claim {
    Claim { node: format!("n{number}"), machine: format!("machine-{number}") }
}

pub(super) fn record(number: u8) -> Record {
    Record {
        machine: me(number).machine,
        addresses: vec![format!("192.0.2.{number}").parse().unwrap()],
        mac: Some(Mac([2, 0, 0, 0, 0, number])),
        key: None,
        blocks: vec![net(&format!("10.201.{number}.0/24"))],
        mtu: 1450,
        version: "0.2.0".to_owned(),
        incarnation: 1,
    }
}

/// The keys that are there, without what all have in common.
pub(super) fn keys(server: &Server) -> Vec<String> {
    let keys = server.etcdctl(&["get", "--prefix", "/cleat/v1/web/", "--keys-only"]);
    let keys = keys.lines().filter(|line| !line.is_empty());
    keys.map(|key| key.trim_start_matches("/cleat/v1/web/").to_owned()).collect()
}

/// The result of something that must not take so long.
pub(super) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}"))
}
