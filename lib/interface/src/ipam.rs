//! The delegate that gives addresses: host-local within this process, every other one by its program.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::delegate::{self, Invocation};
use cni::{AddResult, Args, Command, Plugin, Request, Target};
use host_local::HostLocal;
use serde_json::{Map, Value, json};

/// Who gives an attachment its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipam {
    /// Nobody: the interface has none.
    None,
    /// The suite's own, without starting a process. Files and results are the same.
    HostLocal,
    /// A plugin found in `CNI_PATH`.
    Program(String),
}

impl Ipam {
    /// By the `type` of a configuration's `ipam`; an empty one is none.
    #[must_use]
    pub fn new(plugin: String) -> Self {
        match plugin.as_str() {
            "" => Self::None,
            HostLocal::NAME => Self::HostLocal,
            _ => Self::Program(plugin),
        }
    }

    /// Of a configuration that may be wrong, or have been changed, since ADD.
    #[must_use]
    pub fn of_removal(conf: &cni::Conf) -> Self {
        match (conf.value(&["ipam"]), conf.value(&["ipam", "type"])) {
            (None | Some(Value::Object(_)), None) => Self::None,
            (_, Some(Value::String(plugin))) => Self::new(plugin.clone()),
            // No ADD can have succeeded with it. Most addresses are leased by host-local.
            _ => Self::HostLocal,
        }
    }

    /// Whether nobody gives addresses.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether it is another program, which may want to find the attachment's interface.
    #[must_use]
    pub fn is_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    /// Whether all of the container's addresses come from here; a server of DHCP knows one family, and advertisements the other.
    #[must_use]
    pub fn gives_all(&self) -> bool {
        match self {
            Self::None => false,
            Self::HostLocal => true,
            Self::Program(_) => !self.asks_a_server(),
        }
    }

    /// Whether the container asks a server for addresses, before it has any.
    #[must_use]
    pub fn asks_a_server(&self) -> bool {
        matches!(self, Self::Program(plugin) if plugin == "dhcp")
    }

    /// Hands a verb on; without a delegate there is nothing to do. The verb is given apart from the request's, because a failed
    /// ADD is undone by DEL. Only ADD has a result.
    pub fn call(
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

    /// The addresses that are leased on a network; `None` where that is another program's knowledge. Reads every lease.
    pub fn leased(&self, request: &Request) -> Result<Option<BTreeSet<IpAddr>>, cni::Error> {
        if *self != Self::HostLocal {
            return Ok(None);
        }
        let sets = host_local::leases(request)?;
        Ok(Some(sets.into_iter().flat_map(|set| set.used).map(|lease| lease.address).collect()))
    }

    /// Leases the addresses again that an attachment has, where their files have gone. What another program leases is its own
    /// affair: nothing says that its ADD may be repeated.
    pub fn restore(
        &self,
        request: &Request,
        target: &Target,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<(), cni::Error> {
        if *self != Self::HostLocal || self.call(Command::Check, request, Some(target)).is_ok() {
            return Ok(());
        }
        HostLocal::del(request, target)?;
        let wanted: Vec<String> = addresses.map(|address| address.to_string()).collect();
        let mut keys: Map<String, Value> = request.conf.raw().clone();
        keys.insert("args".into(), json!({"cni": {"ips": wanted}}));
        if let Some(Value::Object(runtime)) = keys.get_mut("runtimeConfig") {
            runtime.remove("ips");
        }
        let conf = cni::Conf::from_object(keys)?;
        // What was asked for once is what it has, or an older version ignored it.
        let target = Target { args: Args::default(), ..target.clone() };
        HostLocal::add(&Request { conf, ..request.clone() }, &target).map(|_| ())
    }
}
