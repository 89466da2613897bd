//! A runtime's side of the contract: lists on disk, one container at a time, plugins in a chain, results that are kept.

pub mod cache;
pub(crate) mod chain;
pub(crate) mod container_lock;
pub mod delegate;
pub(crate) mod list;
