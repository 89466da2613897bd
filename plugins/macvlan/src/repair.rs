//! Putting back what is missing of an attachment whose interface is still there: its addresses and routes, its being up, and the
//! leases. A function for `cleat repair`; no verb of the contract does this.

use cni::{Code, Request, Target};
use interface::configure;
use netlink::Namespace;

use crate::add::wanted;
use crate::conf::{Conf, Family};
use crate::error::Error;
use crate::host_access::HostAccess;
use crate::link;
use crate::master;
use crate::plan::Plan;

/// Restores an attachment to what the previous result says of it; `plugin` is the configuration's type.
///
/// # Errors
/// Code 3 where the interface has gone: only DEL and ADD cure that. Otherwise what ADD would answer.
pub fn repair(plugin: &str, request: &Request, target: &Target) -> Result<(), cni::Error> {
    let family = if plugin == Family::Ipvlan.kind() { Family::Ipvlan } else { Family::Macvlan };
    let conf = Conf::new(family, request, Some(target))?;
    let ifname = target.ifname().as_str();
    let plan = Plan::of_existing(&conf, request.conf.require_prev_result()?, ifname)?;
    let container = Namespace::open(target.netns()?).map_err(Error::from)?;
    let mut inside = container.socket().map_err(Error::from)?;
    let found = link::find(&mut inside, family, &target.attachment)?.filter(|link| link.name == ifname);
    if found.is_none() {
        return Err(cni::Error::new(Code::UnknownContainer, format!("{} has gone", target.attachment)));
    }
    conf.ipam.restore(request, target, plan.addresses().map(|address| address.ip()))?;
    if conf.host_access {
        let mut host = netlink::Socket::open().map_err(Error::from)?;
        let master = master::find(&mut host, &conf, None)?;
        let addresses = plan.addresses().map(|address| address.ip());
        HostAccess::of(&target.attachment.network).add(&mut host, &master, addresses)?;
    }
    let inside = configure(&container, ifname, wanted(&conf, &plan)).map_err(Error::from)?;
    Ok(inside.announce().map_err(Error::from)?)
}
