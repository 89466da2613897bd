//! CHECK: compares the registry and the container's files with what ADD would write on the network as it is now.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::{Request, Target};
use registry::Registry;

use crate::conf;
use crate::delivery;
use crate::endpoint;
use crate::error::Error;
use crate::files;
use crate::firewall::{self, Firewall};
use crate::view::View;

/// Compares one attachment; the error names the first difference.
pub(crate) fn check(request: &Request, target: &Target) -> Result<(), Error> {
    let attachment = &target.attachment;
    let container_id = target.container_id().as_str();
    let unregistered = || Error::Differs(format!("{attachment} is not in the registry"));
    let registry = Registry::at(conf::state_dir(&request.conf)?);
    let locked = registry.lock_existing()?.ok_or_else(unregistered)?;
    let mut network = locked.around(request.conf.network.as_str(), &[container_id], None)?;
    let ifname = target.ifname().as_str();
    // The file with all members may have one whose own file is damaged.
    locked.examine(&network.name, container_id, ifname)?;
    let mut member = network.member(container_id, ifname).cloned().ok_or_else(unregistered)?;
    if let Some(result) = request.conf.previous()? {
        let wanted: BTreeSet<IpAddr> = endpoint::addresses(result, ifname).into_iter().collect();
        let found: BTreeSet<IpAddr> = member.addresses.iter().copied().collect();
        if wanted != found {
            return Err(Error::Differs(format!(
                "{attachment} is registered with addresses {found:?}, not {wanted:?}"
            )));
        }
        // The bridge may have begun to keep its ports apart after the member joined.
        member.bridge = firewall::bridge(result, &member, &network)?.or(member.bridge);
        network.put(member.clone());
    }
    // The member's links, and those to it.
    Firewall::new(&network, &network, &[member]).check()?;
    let folder = locked.container(container_id)?.ok_or_else(|| {
        let folder = registry.container_dir(container_id);
        Error::Differs(format!("folder {} is gone", folder.display()))
    })?;
    delivery::check(&folder)?;
    files::check(&folder, &View::new(&locked, &network).hosts(container_id, Some(&folder))?)
}
