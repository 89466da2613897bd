//! Reads recorded answers of the kernel, without a socket: one datagram each, as recvmsg(2) returns it.
//!
//! It is the same code that reads the answers on a [`Socket`](crate::Socket).

use crate::error::Error;
use crate::link::BridgeVlan;
use crate::{Address, Link, Route};

/// The links (`RTM_NEWLINK`).
///
/// # Errors
/// Messages with a wrong length, and the error that the kernel answered.
pub fn links(datagram: &[u8]) -> Result<Vec<Link>, Error> {
    all(datagram, Link::parse)
}

/// The addresses of one link (`RTM_NEWADDR`).
///
/// # Errors
/// As [`links`].
pub fn addresses(datagram: &[u8], link: u32) -> Result<Vec<Address>, Error> {
    all(datagram, |body| Address::parse(body, link))
}

/// The routes that lead somewhere (`RTM_NEWROUTE`).
///
/// # Errors
/// As [`links`].
pub fn routes(datagram: &[u8]) -> Result<Vec<Route>, Error> {
    all(datagram, Route::parse)
}

/// The VLANs of one bridge's port, or of the bridge itself (`RTM_NEWVLAN`).
///
/// # Errors
/// As [`links`].
pub fn bridge_vlans(datagram: &[u8], link: u32) -> Result<Vec<BridgeVlan>, Error> {
    Ok(all(datagram, |body| BridgeVlan::parse_all(body, link))?.concat())
}

fn all<T>(datagram: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
    let mut objects = Vec::new();
    wire::recorded(datagram, |message| objects.extend(parse(message.payload)))
        .map_err(|error| Error::answered(format_args!("read a recorded answer"), error))?;
    Ok(objects)
}
