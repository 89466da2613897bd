//! Networks as files: what a conflist says, a new one, and where it is kept.

mod conflist;
mod described;
mod file;
mod leases;
pub(crate) mod obstacles;
mod subnet;

pub(crate) use conflist::{Ingress, Wanted};
pub(crate) use described::{Described, id};
pub(crate) use file::{Folder, is_created};
pub(crate) use leases::{forget, leases};
pub(crate) use subnet::{Pool, Taken, subnets_of};
