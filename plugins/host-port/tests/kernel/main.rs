//! The plugin's verbs against the running kernel, with real packets, each test in namespaces of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "clippy.toml allows most of these in tests, by which it does not mean what tests share"
)]

mod conflicts;
mod localhost;
mod networks;
mod reach;
mod removal;
mod repair;
mod scale;
mod verbs;
mod world;
