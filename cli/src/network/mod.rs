//! Networks as files: what a conflist says, a new one, and where it is kept.

mod conflist;
mod described;
mod file;
mod leases;
pub(crate) mod obstacles;
mod plugins;
mod pool;
mod subnet;
mod upper;

pub(crate) use conflist::{Ingress, Wanted};
pub(crate) use described::{Described, id};
pub(crate) use file::{Folder, is_created};
pub(crate) use leases::{forget, leases};
pub(crate) use plugins::{
    LINK_ENV, OVERLAY, PORT_MAPPINGS, declaring, overlay, plugin, publishes, state_dir, text,
};
pub(crate) use pool::Pool;
pub(crate) use subnet::{Taken, overlap, subnets_of};
pub(crate) use upper::{PARENT_ALIAS, Upper, vlan_of};
