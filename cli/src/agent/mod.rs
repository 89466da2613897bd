//! The agent of overlay networks, `cleat-overlay`: its files, its program and its socket.
//!
//! ```text
//! /etc/cleat/overlay/NET.json   conf      written here; the agent begins and ends with it
//! cleat-overlay VERB NET        program   what concerns the engine, and what takes a network off this node
//! /run/cleat/overlay.sock       socket    what the agent is doing: health, and what is wrong with it
//! /run/cleat/overlay/NET.json   wait      written by the agent once this node has a block (crate `overlay`)
//! ```
//!
//! Nothing here talks to an engine, or changes anything in the kernel.

mod conf;
mod endpoints;
mod health;
mod options;
mod own;
mod problems;
mod program;
mod records;
mod socket;
mod wait;

pub(crate) use conf::{Conf, file};
pub(crate) use health::{Health, Peer};
pub(crate) use options::NodeOptions;
pub(crate) use own::Own;
pub(crate) use problems::{Problem, problems};
pub(crate) use program::{Program, Shared};
pub(crate) use records::Node;
pub(crate) use socket::{Answer, health, sync};
pub(crate) use wait::{Outcome, wait};

/// What has the agent run, from now on and after each boot.
pub(crate) const START: &str = "`systemctl enable --now cleat-overlay` has it run";
