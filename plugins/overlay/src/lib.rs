//! The agent of overlay networks.

mod agent;
pub mod blocks;
pub mod conf;
mod engine;
mod firewall;
mod kernel;
pub mod key;
mod networks;
mod program;
pub mod record;
pub mod wanted;

pub use program::main;
