//! The iptables programs of a host, for rules that other programs must find where iptables keeps them.
//!
//! No other crate starts them. [`Iptables`] is one family's program: whether it is there, which variant it is, what
//! a chain holds. A [`Transaction`] changes one table, all or nothing, by one start of `iptables-restore --noflush`.
//!
//! Starting a program takes two to three milliseconds; [`legacy_tables`] answers without one whether the legacy variant
//! has anything. The crate knows nothing of CNI or netlink, and refuses what the programs' line format would misread:
//! control characters, over-long words, names that look like options.
//!
//! ```no_run
//! use iptables::{Family, Iptables, Transaction};
//!
//! # use cleat_iptables as iptables;
//! # fn main() -> iptables::Result<()> {
//! let v4 = Iptables::find(Family::V4)?;
//! if v4.rules("nat", "CNI-WEB")?.is_none() {
//!     let mut change = Transaction::new("nat");
//!     change.new_chain("CNI-WEB");
//!     change.append("CNI-WEB", &["-m", "comment", "--comment", "name: \"net\"", "-j", "MASQUERADE"]);
//!     change.append("POSTROUTING", &["-s", "10.1.0.5", "-j", "CNI-WEB"]);
//!     v4.commit(&change)?;
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod legacy;
mod program;
mod rule;
mod transaction;
mod words;

pub use error::{Error, Result};
pub use legacy::{legacy_program, legacy_programs, legacy_tables};
pub use program::{Family, Iptables, Variant};
pub use rule::Rule;
pub use transaction::Transaction;
