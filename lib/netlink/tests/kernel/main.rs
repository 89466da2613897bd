//! Every verb against the running kernel, as an ordinary user: each test runs in namespaces of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy.toml allows these in tests, by which it does not mean what tests share"
)]

mod addresses;
mod examples;
mod fixture;
mod links;
mod namespaces;
mod parameters;
mod ports;
mod routes;
mod sysctls;
mod vlans;
