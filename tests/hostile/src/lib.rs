//! Every kind of untrusted input, as functions of bytes: what runtimes, people and pods write, what the kernel answers, and
//! files on disk. A function panics if the code under test panics, or if its answer is not a valid one.
//!
//! The functions run in `cargo test` with a corpus and a fixed number of mutations of it, and in `fuzz/` for any length of
//! time. `corpus/` has a folder of seeds for each function.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: it fails by panicking"
)]
#![allow(clippy::missing_panics_doc, reason = "everything here panics where something is wrong")]

mod contract;
mod extreme;
mod files;
mod kernel;
mod members;
mod mutation;
mod text;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

pub use contract::{bridge, cni_args, host_local, host_port, link_env, loopback};
pub use extreme::{Extreme, extremes};
pub use files::{cache, leases, registry};
pub use kernel::{conntrack, netlink, nftables};
pub use members::link_env_calls;
pub use mutation::Mutations;
pub use text::{conflist, iptables, overlay};
pub use wire::{nri, nri_session};

/// One function for one kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its folder of seeds and its program in `fuzz/` have as well.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// How many mutations of each seed `cargo test` tries.
    pub mutations: usize,
    /// Whether it also gets the [`extremes`]. One plugin is enough, because all share the code that reads them.
    pub extremes: bool,
}

/// All targets.
pub const TARGETS: [Target; 18] = [
    target("bridge", bridge, 60, true),
    target("host_local", host_local, 60, false),
    target("host_port", host_port, 60, false),
    target("link_env", link_env, 60, false),
    target("link_env_calls", link_env_calls, 30, false),
    target("loopback", loopback, 20, false),
    target("cni_args", cni_args, 200, true),
    target("conflist", conflist, 20, true),
    target("iptables", iptables, 500, true),
    target("netlink", netlink, 1000, true),
    target("nftables", nftables, 1000, true),
    target("conntrack", conntrack, 1000, true),
    target("leases", leases, 40, false),
    target("overlay", overlay, 200, true),
    target("registry", registry, 40, true),
    target("cache", cache, 100, true),
    target("nri", nri, 200, true),
    target("nri_session", nri_session, 60, true),
];

const fn target(name: &'static str, run: fn(&[u8]), mutations: usize, extremes: bool) -> Target {
    Target { name, run, mutations, extremes }
}

impl Target {
    /// Its seeds with their files, sorted by file name.
    #[must_use]
    pub fn seeds(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }
}
