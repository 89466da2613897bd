//! A throw-away host for tests and the demo.
//!
//! [`isolated`] runs a function in user, network, mount and process namespaces of its own, as an ordinary user may:
//! nothing in it can touch the real host, and all of it is gone when it ends. Inside, a [`Host`] has an "outside" host
//! behind an uplink, and containers; [`traffic`] sends real packets; a [`Snapshot`] shows what was left behind; a `tracer` counts
//! system calls and interferes with them.
//!
//! [`on_a_machine`] is the same with real root, for container runtimes, which cannot do without.
//!
//! What cannot run here panics: a test that cannot show anything must fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: it fails by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at their environment")]
#![allow(clippy::missing_panics_doc, reason = "everything here panics where it cannot go on")]

mod call;
mod host;
mod isolate;
mod machine;
pub mod nri;
mod router;
mod sctp;
mod snapshot;
// It reads registers.
#[cfg(target_arch = "x86_64")]
pub mod tracer;
pub mod traffic;

pub use call::{Answer, Call, only, run};
pub use host::{Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, UPLINK_V4, UPLINK_V6};
pub use isolate::{is_inside, isolated, isolated_program, prepare, sandboxed};
pub use machine::on_a_machine;
pub use router::advertise;
pub use snapshot::Snapshot;
