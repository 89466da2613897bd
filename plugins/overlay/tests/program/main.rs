//! The program in a sandbox: its folder, its health, its service manager, and what ends it. What it does to a network is in
//! `tests/overlay`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod agent;
mod folder;
mod health;
mod lifetime;
mod unit;
