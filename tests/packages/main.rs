//! What `make packages` makes, installed, upgraded and removed by the programs that people use for it, in a small Debian made of
//! this machine's own files: see [`root`]. Nothing outside of the sandbox changes.
//!
//! They build the packages, so they are not part of `cargo test`: `make test-packages` runs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: it fails by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at their environment")]

mod archives;
mod deb;
mod divert;
mod listing;
mod newcomer;
mod node;
mod root;
mod tree;
