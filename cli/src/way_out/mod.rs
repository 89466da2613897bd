//! Which of a container's networks has its default route and publishes its ports: the one with the highest priority, and of
//! several with one priority, the one that was attached first, as with Docker.
//!
//! The priority is kept with the attachment, in the runtimes' cache, under a key that no plugin reads; so are the ports while
//! the container is on no network that could publish them. The caller holds the container. Each step is written to the cache
//! before it is taken, so that `check` reports what a killed process did not come to, and `repair` does it.

mod cached;
mod networks;
mod ports;
mod routes;

pub(crate) use cached::priority;
pub(crate) use networks::{Networks, put_in_order};
pub(crate) use ports::numbered;
