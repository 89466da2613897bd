//! What is to be masqueraded of an attachment.

use std::net::IpAddr;

use cni::Attachment;
use ipnetwork::IpNetwork;

use crate::conf::Conf;
use crate::plan::Plan;

/// What masquerades one attachment.
#[derive(Debug)]
pub(crate) struct Masquerade<'a> {
    pub attachment: &'a Attachment,
    /// Whose packets take the host's address.
    pub addresses: Vec<IpAddr>,
    /// The host's interface by which they keep their own: the bridge, or the VLAN device on it.
    pub home: &'a str,
    /// Where they keep their own with iptables, as in the reference.
    pub subnets: Vec<IpNetwork>,
    /// Where they keep their own all the same.
    pub except: &'a [IpNetwork],
}

impl<'a> Masquerade<'a> {
    /// What masquerades an attachment that is set up by a plan.
    pub(crate) fn new(attachment: &'a Attachment, conf: &'a Conf, plan: &Plan) -> Self {
        let addresses = plan.ips.iter().map(|ip| ip.address.ip()).collect();
        let (home, except) = (conf.host_link().as_str(), &conf.masquerade_except);
        Self { attachment, addresses, home, subnets: plan.subnets(), except }
    }
}
