//! Overlay networks as their users have them: hosts, agents, containers and Debian's etcd, and all that can go wrong.
//!
//! Three hosts are namespaces on one wire, each with folders of its own, and etcd is on a fourth. Packets go from container
//! to container the whole time: what a fault costs is counted in lost ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod agents;
mod bad;
mod cluster;
mod command_line;
mod containers;
mod crowd;
mod data;
mod engine;
mod host;
mod kernel;
mod kills;
mod nodes;
mod ping;
mod programs;
mod reach;
mod relay;
mod secure;
mod simulated;
