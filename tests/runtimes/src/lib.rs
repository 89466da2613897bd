//! Container runtimes on a throw-away machine, and the few things that tests ask of them.
//!
//! [`machine`] runs a test with real root on a [`sandbox::on_a_machine`] where the suite is installed as `make install`
//! does it; [`Containerd`] and [`Podman`] run containers on it from an [image](IMAGE) made on the spot; [`cri`] speaks to containerd.

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
mod podman;
mod shell;

pub use containerd::{Containerd, Release};
pub use image::IMAGE;
pub use machine::{Machine, Service, machine};
pub use podman::Podman;
pub use shell::{eventually, run};
