//! Netlink itself (netlink(7)): messages, attributes and the socket, for any of its protocols.
//!
//! It knows no link and no table. What a message means is up to `netlink` (`NETLINK_ROUTE`) and `nftables`
//! (`NETLINK_NETFILTER`), which share this crate and do not know each other.
//!
//! Replies are read in place: decoding a whole message into owned values costs more than the system call that fetched it,
//! and a caller looks at a tenth of the attributes.

pub mod attribute;
pub mod message;

mod error;
mod socket;
mod writer;

pub use error::{Error, describe, is_errno};
pub use message::Message;
pub use socket::{Protocol, Socket, recorded};
pub use writer::{Writer, request};
