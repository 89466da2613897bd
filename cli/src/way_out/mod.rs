//! Of a container's networks, the one that is its way out and publishes its ports: the one with the highest priority, and
//! of several with one priority, the one that was attached first. So it is with Docker.
//!
//! What the container wants is kept with its attachments, in the runtimes' cache, by keys that no plugin asks for: the
//! priority, and the ports while it is on no network that could publish them. Everything here is done while the container
//! is held, and each step is recorded before it is taken, so that `check` names what a killed process left undone, and
//! `repair` does it.

mod networks;
mod ports;
mod routes;
mod standing;

pub(crate) use networks::{Networks, put_in_order};
pub(crate) use ports::numbered;
pub(crate) use standing::priority;
