//! The options of a container of `cleat run`, as the command line and `run.json` have them, and its networks.

mod network;
mod options;
mod resolver;

pub(crate) use network::{Joined, Networks};
pub(crate) use options::{HOST, NONE, Options, Spec};
pub(crate) use resolver::Resolver;
