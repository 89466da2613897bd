//! The leases of a network, where host-local keeps them. Other IPAM plugins keep theirs as they like.

use cni::{Command, Conf, NetworkList, Request, case_blind};
use host_local::Leases;
use serde_json::Value;

use crate::error::Error;

/// Every range set of a network.
pub(crate) fn leases(list: &NetworkList) -> Result<Vec<Leases>, Error> {
    let doing = || format!("read leases of network {}", list.name);
    let mut all = Vec::new();
    for request in requests(list).map_err(Error::contract(doing()))? {
        all.extend(host_local::leases(&request).map_err(Error::contract(doing()))?);
    }
    Ok(all)
}

/// Removes what is kept of leases when the network itself goes.
pub(crate) fn forget(list: &NetworkList) -> Result<(), Error> {
    let doing = || format!("forget leases of network {}", list.name);
    for request in requests(list).map_err(Error::contract(doing()))? {
        host_local::forget(&request).map_err(Error::contract(doing()))?;
    }
    Ok(())
}

/// The configurations of a network's plugins whose addresses host-local gives.
fn requests(list: &NetworkList) -> Result<Vec<Request>, cni::Error> {
    let is_ours = |plugin: &&serde_json::Map<String, Value>| {
        let ipam = case_blind::get(plugin, "ipam").and_then(Value::as_object);
        let kind = ipam.and_then(|ipam| case_blind::get(ipam, "type")).and_then(Value::as_str);
        kind == Some("host-local")
    };
    let request = |plugin| {
        let conf = Conf::from_object(list.conf_of(plugin))?;
        Ok(Request { command: Command::Status, conf, path: Vec::new() })
    };
    list.plugins.iter().filter(is_ours).map(request).collect()
}
