//! The delegate that gives addresses: host-local within this process, every other one by its program.

use cni::delegate::{self, Invocation};
use cni::{AddResult, Command, Plugin, Request, Target};
use host_local::HostLocal;

/// Who gives an attachment its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ipam {
    /// Nobody: the attachment is a port of the bridge and nothing more.
    None,
    /// The suite's own, without starting a process. Files and results are the same.
    HostLocal,
    /// A plugin found in `CNI_PATH`.
    Program(String),
}

impl Ipam {
    pub(crate) fn new(plugin: String) -> Self {
        match plugin.as_str() {
            "" => Self::None,
            HostLocal::NAME => Self::HostLocal,
            _ => Self::Program(plugin),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether it is another program, which may want to find the attachment's interface.
    pub(crate) fn is_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    /// Whether all of the container's addresses come from here; a server of DHCP knows one family, and advertisements the other.
    pub(crate) fn gives_all(&self) -> bool {
        match self {
            Self::None => false,
            Self::HostLocal => true,
            Self::Program(_) => !self.asks_a_server(),
        }
    }

    /// Whether the container asks a server for addresses, before it has any.
    pub(crate) fn asks_a_server(&self) -> bool {
        matches!(self, Self::Program(plugin) if plugin == "dhcp")
    }

    /// Hands a verb on; without a delegate there is nothing to do. The verb is given apart from the request's, because a failed
    /// ADD is undone by DEL. Only ADD has a result.
    pub(crate) fn call(
        &self,
        command: Command,
        request: &Request,
        target: Option<&Target>,
    ) -> Result<AddResult, cni::Error> {
        let done = |()| AddResult::default();
        match (self, command, target) {
            (Self::Program(plugin), ..) => {
                let call = Invocation::of(request, target).with_command(command);
                Ok(delegate::exec(plugin, &call, request.conf.raw())?.unwrap_or_default())
            }
            (Self::HostLocal, Command::Add, Some(target)) => HostLocal::add(request, target),
            (Self::HostLocal, Command::Del, Some(target)) => HostLocal::del(request, target).map(done),
            (Self::HostLocal, Command::Check, Some(target)) => HostLocal::check(request, target).map(done),
            (Self::HostLocal, Command::Gc, _) => HostLocal::gc(request).map(done),
            (Self::HostLocal, Command::Status, _) => HostLocal::status(request).map(done),
            (Self::None | Self::HostLocal, ..) => Ok(AddResult::default()),
        }
    }
}
