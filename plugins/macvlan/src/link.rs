//! The container's interface: a macvlan or an ipvlan, made in the container's namespace by one request.

use std::os::fd::AsFd;
use std::process::ExitCode;

use cni::Attachment;
use interface::{ALIAS_WORD, Removal, alias};
use netlink::{Link, Namespace, Socket, Upper, UpperKind};

use crate::conf::{Conf, Family};
use crate::error::{Error, Result};
use crate::names;

/// `EINVAL` (asm-generic/errno-base.h).
const EINVAL: i32 = 22;

/// Makes the interface, down and without its name: [`finish`] gives it that. `host` is a socket of the master's namespace.
pub(crate) fn make(
    host: &mut Socket,
    conf: &Conf,
    attachment: &Attachment,
    container: &Namespace,
    master: &Link,
) -> Result<()> {
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu > master.mtu) {
        return Err(Error::Mtu { mtu, master: master.name.clone(), most: master.mtu });
    }
    let name = names::unfinished(attachment);
    let namespace = (!conf.in_container).then(|| container.as_fd());
    let upper = Upper { name: &name, link: master.index, mtu: conf.mtu, kind: conf.kind, namespace };
    let kind = conf.family.kind();
    host.add_upper(&upper).map_err(|error| match error {
        error if error.is_exists() => Error::Attached(attachment.to_string()),
        error if error.is_unsupported() => Error::NoKind(kind),
        error if error.is_busy() => Error::MasterInUse { master: master.name.clone(), kind, source: error },
        error if error.errno() == Some(EINVAL) && conf.family == Family::Macvlan => {
            Error::Passthru { master: master.name.clone(), source: error }
        }
        error => error.into(),
    })
}

/// The interface that [`make`] has made.
pub(crate) fn unfinished(inside: &mut Socket, attachment: &Attachment) -> Result<Link> {
    let gone = || Error::Transient(format!("the new interface {} went away", attachment.ifname));
    inside.get_link(&names::unfinished(attachment))?.ok_or_else(gone)
}

/// Gives a new interface its name, and the alias by which GC finds it.
pub(crate) fn finish(inside: &mut Socket, mut link: Link, attachment: &Attachment) -> Result<Link> {
    let ifname = attachment.ifname.as_str();
    match inside.set_name(link.index, ifname, &alias(attachment)) {
        Err(error) if error.is_exists() => Err(Error::InterfaceExists(ifname.to_owned())),
        outcome => {
            outcome?;
            ifname.clone_into(&mut link.name);
            Ok(link)
        }
    }
}

/// The attachment's interface, finished or not. Another attachment's is none, as that of a namespace which has the path that an
/// earlier one had; nor is a link of another kind.
pub(crate) fn find(inside: &mut Socket, family: Family, attachment: &Attachment) -> Result<Option<Link>> {
    let own = alias(attachment);
    let is_anothers = |link: &Link| {
        let alias = link.alias.as_deref();
        alias.is_some_and(|alias| alias.starts_with(ALIAS_WORD) && alias != own)
    };
    let is_of_kind = |link: &Link| link.kind.as_deref() == Some(family.kind());
    let named = inside.get_link(attachment.ifname.as_str())?;
    if let Some(link) = named.filter(|link| is_of_kind(link) && !is_anothers(link)) {
        return Ok(Some(link));
    }
    Ok(inside.get_link(&names::unfinished(attachment))?.filter(is_of_kind))
}

/// Removes a link of a container.
pub(crate) fn remove(container: &Namespace, inside: &mut Socket, index: u32, waits: bool) -> Result<()> {
    let removal = container.enter(|| Removal::begin(index, waits))?;
    Ok(removal.finish(inside)?)
}

/// The whole run of the process that removes a link: see [`Removal`].
pub(crate) fn remove_in_place_of_caller(index: Option<u32>) -> ExitCode {
    let removed = index.is_some_and(|index| Socket::open().and_then(|mut it| it.del_link(index)).is_ok());
    if removed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The mode of a link in the configuration's words.
pub(crate) fn mode(kind: &UpperKind) -> String {
    match kind {
        UpperKind::Macvlan { mode, .. } => format!("{mode:?}"),
        UpperKind::Ipvlan { mode } => format!("{mode:?}"),
    }
    .to_lowercase()
}
