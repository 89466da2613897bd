//! The suite with real container runtimes. All tests here need root: `make test-runtimes`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod cri;
mod ctr;
mod flags;
mod kubernetes;
mod live_node;
mod nri;
mod pages;
mod podman;
mod state;
mod troubleshooting;
mod upkeep;
