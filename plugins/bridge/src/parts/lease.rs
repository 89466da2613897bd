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

    /// Addresses for an attachment; nothing at all without a delegate.
    pub(crate) fn add(&self, request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        match self {
            Self::None => Ok(AddResult::default()),
            Self::HostLocal => HostLocal::add(request, target),
            Self::Program(_) => Ok(self.exec(Command::Add, request, Some(target))?.unwrap_or_default()),
        }
    }

    /// Gives an attachment's addresses back.
    pub(crate) fn del(&self, request: &Request, target: &Target) -> Result<(), cni::Error> {
        match self {
            Self::None => Ok(()),
            Self::HostLocal => HostLocal::del(request, target),
            Self::Program(_) => self.exec(Command::Del, request, Some(target)).map(|_| ()),
        }
    }

    /// Whether an attachment's addresses are still its own.
    pub(crate) fn check(&self, request: &Request, target: &Target) -> Result<(), cni::Error> {
        match self {
            Self::None => Ok(()),
            Self::HostLocal => HostLocal::check(request, target),
            Self::Program(_) => self.exec(Command::Check, request, Some(target)).map(|_| ()),
        }
    }

    /// Gives addresses back that no valid attachment has.
    pub(crate) fn gc(&self, request: &Request) -> Result<(), cni::Error> {
        match self {
            Self::None => Ok(()),
            Self::HostLocal => HostLocal::gc(request),
            Self::Program(_) => self.exec(Command::Gc, request, None).map(|_| ()),
        }
    }

    /// Whether there are addresses to give.
    pub(crate) fn status(&self, request: &Request) -> Result<(), cni::Error> {
        match self {
            Self::None => Ok(()),
            Self::HostLocal => HostLocal::status(request),
            Self::Program(_) => self.exec(Command::Status, request, None).map(|_| ()),
        }
    }

    /// The command is given apart from the request's, because a failed ADD is undone by DEL.
    fn exec(
        &self,
        command: Command,
        request: &Request,
        target: Option<&Target>,
    ) -> Result<Option<AddResult>, cni::Error> {
        let Self::Program(plugin) = self else {
            return Ok(None);
        };
        delegate::exec(plugin, &Invocation::of(request, target).with_command(command), request.conf.raw())
    }
}
