//! What an attachment consists of besides the packet filter: one part a file, with what each verb does about it.

pub(crate) mod advertisements;
pub(crate) mod br_netfilter;
pub(crate) mod bridge;
pub(crate) mod container;
pub(crate) mod forwarding;
pub(crate) mod gateway;
pub(crate) mod lease;
pub(crate) mod veth;
pub(crate) mod vlan;
pub(crate) mod vlan_gateway;
