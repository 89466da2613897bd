//! A plugin's side of the contract: from environment and standard input to a verb, and back to standard output.

pub(crate) mod args;
pub(crate) mod dispatch;
mod panic_hook;
mod removal;
pub(crate) mod request;
pub mod trace;
