//! The CNI contract, both sides of it.
//!
//! For plugins: [`run`] turns the process boundary (environment, standard input, standard output) into calls of a
//! [`Plugin`]'s verbs, for every version from 0.1.0 to 1.1.0, and answers results and errors in the configuration's own
//! version. For runtimes: [`Chain`] runs a [`NetworkList`]'s plugins, with libcni's result [`Cache`].
//!
//! Source of every rule: the CNI specification, versions 0.1.0 to 1.1.0, and its CONVENTIONS.

mod args;
mod attachment;
pub mod cache;
pub mod case_blind;
mod chain;
pub mod cidr;
mod conf;
pub mod delegate;
mod dispatch;
mod error;
pub mod file;
pub mod host_ports;
mod inhabited;
mod legacy;
pub mod links;
mod list;
mod panic_hook;
mod port;
mod printable;
pub mod reference;
mod removal;
mod request;
mod result;
mod result_version;
mod salvage;
pub mod schema;
mod version;

pub use args::Args;
pub use attachment::{Attachment, ContainerId, IfName, NetworkName, hex, token};
pub use cache::Cache;
pub use chain::{Chain, Parameters};
pub use conf::{Conf, MAX_INPUT, MAX_OBJECTS, MAX_VALUES, expect_bounded, read_object};
pub use dispatch::{Boundary, Plugin, dispatch, run};
pub use error::{Code, Error, shorten};
pub use inhabited::Inhabited;
pub use list::{NetworkList, Unreadable};
pub use port::{PortError, PortMapping, PortRange, Protocol};
pub use printable::{is_order, printable, printable_json, printable_line};
pub use request::{Command, Request, Target};
pub use result::{AddResult, Dns, Interface, Ip, Route};
pub use version::{UnsupportedVersion, Version};
