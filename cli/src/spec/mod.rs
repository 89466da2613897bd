//! The options of a container of `cleat run`, as the command line and `run.json` have them, and its networks.

mod network;
mod options;
mod resolver;
mod volume;

pub(crate) use network::{Joined, Networks};
pub(crate) use options::{HOST, NONE, Options, Spec};
pub(crate) use resolver::Resolver;
pub(crate) use volume::Source;
