//! How the networks are, by HTTP/1.1: on a socket of root's, and on loopback addresses for who collects metrics.
//!
//! ```text
//! GET  /healthz            200 when what the node knew is in the kernel, else 503
//! GET  /readyz             200 when the engine's list was in the kernel at least once, else 503
//! GET  /metrics            Prometheus' text format
//! GET  /networks           {"networks": […]}
//! GET  /networks/NET       one of them
//! POST /networks/NET/sync  compare now; ?force=true: also what is held. On the socket alone
//! ```

mod answer;
mod server;

pub(crate) use server::{Listeners, SOCKET};
