//! The nftables backend: one table, whose rules are a handful whatever the number of ports.
//!
//! `table` shows it, `skeleton` makes what does not depend on attachments. `plan` says what an attachment is to have there, `add`
//! puts that in by one transaction, `conflict` finds what is in the way, `removal` removes it by the attachment's
//! `owner_record`, and `check` compares.

pub(crate) mod add;
pub(crate) mod backend;
pub(crate) mod check;
pub(crate) mod conflict;
mod free_ports;
mod holdings;
pub(crate) mod localhost;
mod names;
mod network_chain;
pub(crate) mod owner;
pub(crate) mod owner_record;
mod place;
pub(crate) mod plan;
pub(crate) mod published;
pub(crate) mod removal;
pub(crate) mod route_localnet;
pub(crate) mod skeleton;
mod standby;
pub(crate) mod table;
