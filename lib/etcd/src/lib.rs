//! A client of etcd v3, for a process that lives long and must not be wrong about what it was told.
//!
//! It speaks etcd's gRPC interface by tonic's codec, with messages of its own ([prost](https://docs.rs/prost)): no protoc,
//! no generated code. [`Client`] has the calls: ranges, puts, deletions, transactions, leases and watches. [`Mirror`] keeps
//! a view of a prefix. Nothing here knows what the keys are for.
//!
//! ```text
//! Config ─▶ Client ─▶ range, list, put, delete, txn, grant, keep_alive, revoke     one endpoint after the other
//!              │
//!              └────▶ watch ─▶ Watch::next: Event …, then one Error
//!                       ▲
//!            Mirror ────┘   LIST at r ─▶ WATCH from r+1 ─▶ Change …
//!                             ▲            │ broke: probe, WATCH from the last revision, at another endpoint
//!                             │            │ compacted: LIST, and tell the difference
//!                             └────────────┘ other cluster, revision or term went back: Reset, LIST, tell everything
//! ```
//!
//! What callers can rely on:
//!
//! - Every call ends within [`Timing::call`]. An endpoint that is down, silent or without leader is left for the next one.
//! - A write whose answer was lost is never repeated: [`Kind::Unknown`]. Reads, leases and watches are.
//! - Every call asks for a member that has a leader ("require leader"), and every range for what a majority agrees on.
//! - The files of [`Tls`] and [`User`] are read anew at each connect and each authentication.
//! - No error and no debug output has a password, a token or a key.
//!
//! `examples/watch.rs` is a small program with all of it.
//!
//! It needs a tokio runtime with its clock and sockets enabled; one of the current thread is enough. etcd 3.4 or newer.

mod audit;
mod backoff;
mod call;
mod client;
mod config;
mod connection;
mod error;
mod kv;
mod last_words;
mod lease;
mod messages;
mod mirror;
mod refusal;
mod span;
mod status;
mod tls;
mod token;
mod txn;
mod watch;

pub use backoff::Backoff;
pub use client::Client;
pub use config::{BadEndpoint, Config, Endpoint, Identity, Timing, Tls, User};
pub use error::{Error, Failure, Kind};
pub use kv::{Found, Header, KeyValue, Put, Range};
pub use lease::{Lease, LeaseId};
pub use mirror::{Change, Mirror, Reset};
pub use span::Span;
pub use txn::{Answer, Condition, Operation, Outcome, Txn};
pub use watch::{Event, Watch};
