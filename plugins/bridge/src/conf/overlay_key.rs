//! The key `overlay`, and the keys that it excludes.

use cni::NetworkName;
use interface::Ipam;
use serde_json::Value;

use crate::error::{Result, config};

/// The network's name, by the key of the configuration.
pub(super) fn name(conf: &cni::Conf, name: &str, ipam: &Ipam) -> Result<Option<NetworkName>> {
    if name.is_empty() {
        return Ok(None);
    }
    let invalid = |error: cni::Error| {
        config(format!("overlay: {error}"), "write the name that the overlay network was made with")
    };
    let name = NetworkName::new(name).map_err(invalid)?;
    if *ipam != Ipam::HostLocal {
        return Err(config(
            "\"overlay\" needs an \"ipam\" of type host-local, which leases the addresses of this node's block",
            "set \"ipam\": {\"type\": \"host-local\"}",
        ));
    }
    let is_given = |path: &&[&str]| match conf.value(path) {
        None => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let ranges: [&[&str]; 3] = [&["ipam", "ranges"], &["ipam", "subnet"], &["runtimeConfig", "ipRanges"]];
    match ranges.iter().find(|path| is_given(path)) {
        Some(path) => Err(config(
            format!("\"overlay\" and \"{}\" both say which addresses are leased", path.join(".")),
            "leave one of the two out: the block of an overlay network's node comes from its agent",
        )),
        None => Ok(Some(name)),
    }
}
