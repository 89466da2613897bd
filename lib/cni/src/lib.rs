//! The CNI contract, both sides of it.
//!
//! For plugins: [`run`] turns the process boundary (environment, standard input, standard output) into calls of a
//! [`Plugin`]'s verbs, for every version from 0.1.0 to 1.1.0, and answers results and errors in the configuration's own
//! version. For runtimes: [`Chain`] runs a [`NetworkList`]'s plugins, with libcni's result [`Cache`].
//!
//! Source of every rule: the CNI specification, versions 0.1.0 to 1.1.0, and its CONVENTIONS.

pub mod file;
pub mod host_ports;
pub mod links;
mod plugin;
mod port;
mod printable;
mod processes;
pub mod reference;
mod runtime;
mod spec;

pub use plugin::args::Args;
pub use plugin::dispatch::{Boundary, Plugin, dispatch, run};
pub use plugin::request::{Command, Request, Target};
pub use plugin::trace;
pub use port::{PortError, PortMapping, PortRange, Protocol};
pub use printable::{is_order, printable, printable_json, printable_line};
pub use processes::NamespacesWithProcesses;
pub use runtime::cache::{self, Cache};
pub use runtime::chain::{Chain, Parameters};
pub use runtime::container_lock::ContainerLock;
pub use runtime::delegate;
pub use runtime::list::{NetworkList, Unreadable};
pub use spec::attachment::{Attachment, ContainerId, IfName, NetworkName, hex, token};
pub use spec::conf::{Conf, MAX_INPUT, MAX_OBJECTS, MAX_VALUES, expect_bounded, read_object};
pub use spec::error::{Code, Error, shorten};
pub use spec::result::{AddResult, Dns, Interface, Ip, Route};
pub use spec::version::{UnsupportedVersion, Version};
pub use spec::{case_blind, cidr, schema};
