//! Members of an overlay network on three hosts (the key `overlay` of bridge). The hosts are namespaces on one wire. What the
//! network's agent will make, a VXLAN device with onlink routes, permanent neighbours and forwarding entries, is made by
//! iproute2, and the agent's file is written as it will write it.

mod changed;
mod closed;
mod cluster;
#[cfg(target_arch = "x86_64")]
mod cost;
mod file;
mod guarded;
mod reach;
mod upkeep;
