//! What several test modules use, so that they need not import each other (see `circles.rs`).

pub(crate) mod beside;
pub(crate) mod bridge;
pub(crate) mod cleat;
pub(crate) mod containers;
pub(crate) mod crowd;
pub(crate) mod frames;
pub(crate) mod iptables;
pub(crate) mod members;
pub(crate) mod programs;
pub(crate) mod reboot;
pub(crate) mod shell;
