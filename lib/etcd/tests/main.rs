//! The client against Debian's etcd, which the tests start in sandboxes of their own, and drive and check by etcdctl.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something fails"
)]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod data;
mod example;
mod faults;
mod kv;
mod leases;
mod load;
mod members;
mod mirror;
mod relay;
mod server;
mod tls;
mod users;
mod watches;
