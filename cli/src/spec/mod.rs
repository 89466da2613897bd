//! What a container of `cleat run` is to be: what the command line says of it, and what `run.json` keeps of that.

mod network;
mod options;

pub(crate) use network::{Joined, Networks};
pub(crate) use options::{HOST, NONE, Options, Spec};
