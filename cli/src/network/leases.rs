//! The leases of a network, where host-local keeps them. Other IPAM plugins keep theirs as they like.

use cni::{Command, Conf, NetworkList, Plugin, Request, case_blind};
use host_local::{HostLocal, Leases};
use serde_json::{Map, Value};

use super::plugins::text;
use crate::error::Error;

/// Every range set of a network.
pub(crate) fn leases(list: &NetworkList) -> Result<Vec<Leases>, Error> {
    let of_one = |request| host_local::leases(&bridge::delegated(request)?);
    let read = || requests(list)?.into_iter().map(of_one).collect::<Result<Vec<_>, _>>();
    let sets = read().map_err(Error::contract(format!("read leases of network {}", list.name)))?;
    Ok(sets.into_iter().flatten().collect())
}

/// Removes what is kept of leases when the network itself goes.
pub(crate) fn forget(list: &NetworkList) -> Result<(), Error> {
    let forget = || requests(list)?.iter().try_for_each(host_local::forget);
    forget().map_err(Error::contract(format!("forget leases of network {}", list.name)))
}

/// The configurations of a network's plugins whose addresses host-local gives.
fn requests(list: &NetworkList) -> Result<Vec<Request>, cni::Error> {
    let is_ours = |plugin: &&Map<String, Value>| {
        let ipam = case_blind::get(plugin, "ipam").and_then(Value::as_object);
        ipam.is_some_and(|ipam| text(ipam, "type") == HostLocal::NAME)
    };
    let request = |plugin| {
        let conf = Conf::from_object(list.conf_of(plugin))?;
        Ok(Request { command: Command::Status, conf, path: Vec::new() })
    };
    list.plugins.iter().filter(is_ours).map(request).collect()
}
