//! Container runtimes on a throw-away machine, and the calls that the tests make of them.
//!
//! [`machine`] runs a test as real root in [`sandbox::on_a_machine`], with the suite installed as by `make install`.
//! [`Containerd`] and [`Podman`] run containers there from a locally made [image](IMAGE). [`cri`] is a client of
//! containerd's CRI. [`node`] is a host with the files of Debian's packages, on which a [`Session`] follows a [`page`] of
//! documentation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: it fails by panicking"
)]
#![allow(clippy::print_stderr, reason = "what a runtime logged explains why a test failed")]
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at their environment")]
#![allow(clippy::missing_panics_doc, reason = "everything here panics where it cannot go on")]

mod containerd;
pub mod cri;
mod image;
mod machine;
mod node;
pub mod page;
mod podman;
mod session;
mod shell;

pub use containerd::{Containerd, Release};
pub use image::IMAGE;
pub use machine::{Machine, Service, machine};
pub use node::{Node, State, node};
pub use podman::Podman;
pub use session::{Exception, Session, assert_complete, tell};
pub use shell::{eventually, run};
