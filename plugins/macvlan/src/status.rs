//! STATUS: whether an ADD could succeed.

use cni::{Code, Command, Request};
use netlink::{Namespace, Socket};

use crate::conf::{Conf, Family};
use crate::error::{Error, Result};
use crate::master;

/// Says what is in the way of an ADD.
pub(crate) fn status(family: Family, request: &Request) -> Result<(), cni::Error> {
    let conf = Conf::new(family, request, None)?;
    conf.ipam.call(Command::Status, request, None)?;
    let unavailable = |error: Error| {
        let error = cni::Error::from(error);
        cni::Error::new(Code::NotAvailable, error.message()).details(error.hint())
    };
    look(&conf).map_err(unavailable)
}

fn look(conf: &Conf) -> Result<()> {
    let mut socket = Socket::open()?;
    socket.expect_privilege()?;
    Namespace::current()?.enter(|| ())?;
    if !socket.has_kind(&conf.kind)? {
        return Err(Error::NoKind(conf.family.kind()));
    }
    // A container's own master nobody knows before its ADD, nor what a plugin before will make.
    if conf.in_container {
        return Ok(());
    }
    match master::find(&mut socket, conf, None) {
        Ok(master) if !master.up => Err(Error::MasterDown(master.name)),
        Err(Error::NoDefaultRoute) => Ok(()),
        outcome => outcome.map(drop),
    }
}
