//! A throw-away host for tests and the demo.
//!
//! [`isolated`] runs a function in new user, network, mount and PID namespaces, without root: nothing in it can change the
//! real host, and all of it is gone when it ends. Inside, a [`Host`] has an "outside" host at its uplink, and a
//! [`Namespaced`] serves as a container. [`traffic`] sends real packets. A [`Snapshot`] shows what was left behind. A
//! `tracer` counts system calls and makes them fail.
//!
//! [`on_a_machine`] is the same as real root, which container runtimes need.
//!
//! If something that a test needs cannot run here, it panics: a test that cannot prove anything must fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: it fails by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at their environment")]
#![allow(clippy::missing_panics_doc, reason = "everything here panics where it cannot go on")]

mod call;
pub mod etcd;
mod example;
mod host;
mod isolate;
mod machine;
pub mod nri;
pub mod pki;
mod router;
mod sctp;
mod snapshot;
// It reads the registers of x86-64.
#[cfg(target_arch = "x86_64")]
pub mod tracer;
pub mod traffic;
mod wire;

pub use call::{Answer, Call, only, run};
pub use example::example;
pub use host::{Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, UPLINK_V4, UPLINK_V6};
pub use isolate::{copy_on_write, is_inside, isolated, isolated_program, prepare, sandboxed};
pub use machine::on_a_machine;
pub use router::advertise;
pub use snapshot::Snapshot;
pub use wire::{plug, wire};
