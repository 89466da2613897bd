//! The plugins' configuration: from JSON to a type that cannot hold a contradiction.

mod keys;

use cni::{Dns, IfName, Request, Target};
use interface::{Ipam, asked_mac, word};
use netlink::{IpvlanMode, Mac, MacvlanMode, UpperKind};

use crate::error::{Result, config};

use keys::Keys;
pub(crate) use keys::schema;

/// The smallest MTU: what IPv4 needs (RFC 791).
const MTU_MIN: u32 = 68;

/// Which of the two plugins it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Macvlan,
    Ipvlan,
}

impl Family {
    /// The kernel's name of the kind of link.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }
}

/// A valid configuration.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub(crate) struct Conf {
    /// Which plugin's it is.
    pub family: Family,
    /// The link below, where it is named.
    pub master: Option<IfName>,
    /// The link below is in the container's namespace.
    pub in_container: bool,
    /// What is made. A macvlan's hardware address is in it where one was asked for.
    pub kind: UpperKind,
    /// In bytes; the master's otherwise.
    pub mtu: Option<u32>,
    /// The host gets an interface of its own, by which it reaches the containers.
    pub host_access: bool,
    /// The container accepts router advertisements.
    pub accepts_ra: bool,
    /// ADD waits for duplicate address detection.
    pub detects_duplicates: bool,
    /// Name servers instead of those that IPAM gives.
    pub dns: Dns,
    /// Who gives the addresses.
    pub ipam: Ipam,
}

impl Conf {
    /// Reads the configuration; `target` is there for the verbs that have one.
    pub(crate) fn new(family: Family, request: &Request, target: Option<&Target>) -> Result<Self> {
        // A pair that is none may have been meant to ask for the hardware address.
        target.map_or(Ok(()), |target| target.args.expect_pairs())?;
        let keys: Keys = request.conf.parse()?;
        let master = (!keys.master.is_empty()).then_some(&keys.master);
        let master = master.map(|name| {
            let cure = "name an interface of the host, at most 15 bytes";
            IfName::new(name.as_str()).map_err(|error| config(format!("master: {error}"), cure))
        });
        if keys.mtu != 0 && keys.mtu < MTU_MIN {
            return Err(config(
                format!("mtu {} is out of range", keys.mtu),
                "use 68 or more, up to the master's, or 0 for the master's",
            ));
        }
        let kind = kind(family, &keys, target)?;
        let is_bridge = matches!(kind, UpperKind::Macvlan { mode: MacvlanMode::Bridge, .. });
        if keys.host_access && (!is_bridge || keys.link_in_container) {
            return Err(config(
                "hostAccess needs macvlan in mode bridge on an interface of the host: in no other does the kernel hand frames on",
                "set \"mode\": \"bridge\" and leave \"linkInContainer\" out, or leave \"hostAccess\" out",
            ));
        }
        Ok(Self {
            family,
            master: master.transpose()?,
            in_container: keys.link_in_container,
            host_access: keys.host_access,
            kind,
            mtu: (keys.mtu != 0).then_some(keys.mtu),
            accepts_ra: keys.accept_ra.unwrap_or(true),
            detects_duplicates: keys.enabledad,
            ipam: Ipam::new(keys.ipam.r#type),
            dns: keys.dns,
        })
    }

    /// The hardware address that was asked for.
    pub(crate) fn mac(&self) -> Option<Mac> {
        match self.kind {
            UpperKind::Macvlan { mac, .. } => mac,
            UpperKind::Ipvlan { .. } => None,
        }
    }
}

fn kind(family: Family, keys: &Keys, target: Option<&Target>) -> Result<UpperKind> {
    match family {
        Family::Macvlan => {
            let modes = [
                ("", MacvlanMode::Bridge),
                ("bridge", MacvlanMode::Bridge),
                ("private", MacvlanMode::Private),
                ("vepa", MacvlanMode::Vepa),
                ("passthru", MacvlanMode::Passthru),
            ];
            let cure = "use \"bridge\", \"private\", \"vepa\" or \"passthru\"";
            let mode = word("mode", &keys.mode, &modes, cure)?;
            let mac = asked_mac(&keys.runtime_config, &keys.args, target, &keys.mac)?;
            let bc_queue_len = (keys.bc_queue_len != 0).then_some(keys.bc_queue_len);
            Ok(UpperKind::Macvlan { mode, mac, bc_queue_len })
        }
        Family::Ipvlan => {
            let modes = [
                ("", IpvlanMode::L2),
                ("l2", IpvlanMode::L2),
                ("l3", IpvlanMode::L3),
                ("l3s", IpvlanMode::L3s),
            ];
            Ok(UpperKind::Ipvlan { mode: word("mode", &keys.mode, &modes, "use \"l2\", \"l3\" or \"l3s\"")? })
        }
    }
}

#[cfg(test)]
mod tests;
