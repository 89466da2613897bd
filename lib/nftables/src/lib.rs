//! Netfilter by its own netlink protocol: tables, chains, rules, sets and maps of `nf_tables`, and single flows of
//! connection tracking.
//!
//! A [`Batch`] is one transaction: one `sendmsg`, after which all of it holds or none. Reading goes through
//! [`Socket`]: one element by its key, or everything a set, chain or table holds. What is written is what the `nft`
//! program would write, so its listings show it as if typed in, and load again.
//!
//! The crate knows nothing of CNI, links or addresses, starts no program and keeps no state besides the socket.
//! It refuses what the kernel would cut or misread in silence: names with a NUL, comments and attributes that do not
//! fit, keys of another length than the set's.
//!
//! ```
//! use nftables::{Batch, Element, Family, Field, Set, Socket, Table, Type};
//!
//! const TABLE: Table = Table::new(Family::Inet, "cleat");
//! const KEY: &[Type] = &[Type::InetProto, Type::InetService];
//! const PORTS: Set = Set::map(TABLE, "port4", KEY, &[Type::Ipv4Addr, Type::InetService]);
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use nix::sched::{CloneFlags, unshare};
//! # unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
//! let mut socket = Socket::open()?;
//! let web = Element::new(&[Field::TCP, Field::Port(8080)])
//!     .data(&[Field::Ipv4([10, 1, 0, 11].into()), Field::Port(80)])
//!     .comment("web eth0");
//! Batch::new().add_table(&TABLE).add_set(&PORTS).add_element(&PORTS, &web).commit(&mut socket)?;
//!
//! // The key is taken.
//! let error = Batch::new().create_element(&PORTS, &web).commit(&mut socket).unwrap_err();
//! assert!(error.is_exists());
//! assert_eq!(error.to_string(), "create element tcp . 8080 to inet cleat port4: file exists");
//! # Ok(())
//! # }
//! ```
//!
//! Examples that run without root: `transaction` (a set and rules, read back, and a transaction that is refused as a whole)
//! and `shared` (a table that several programs share, by [`ledger`]): `cargo run -p nftables --example transaction`.
//!
//! Numbers come from `linux/netfilter/nf_tables.h`, `nfnetlink.h` and `nfnetlink_conntrack.h`; the ids of data types
//! and the user data, which the kernel stores without looking, are `nft`'s (`datatype.h`, libnftnl's `udata.h`).

mod batch;
mod chain;
mod clause;
mod closing;
pub mod conntrack;
mod datatype;
mod element;
mod encode;
mod error;
mod expr;
mod field;
mod ifname;
pub mod key;
pub mod ledger;
mod message;
mod operation;
mod query;
pub mod recorded;
mod rule;
mod search;
mod set;
mod skeleton;
mod socket;
mod table;
mod userdata;
mod verdict;

pub use batch::Batch;
pub use chain::{BaseChain, Chain, Hook, HookPoint, Kind, Policy, priority};
pub use clause::Clause;
pub use closing::keeper::Keeper;
pub use datatype::Type;
pub use element::{Data, Element};
pub use error::{Error, Result};
pub use expr::{Expr, Selector, Value, state, status};
pub use field::Field;
pub use ifname::Ifname;
pub use rule::{Rule, WholeRule};
pub use search::{Packet, Search};
pub use set::Set;
pub use socket::Socket;
pub use table::{Family, Table};
pub use verdict::Verdict;
