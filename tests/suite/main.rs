//! The suite's programs, used as runtimes and people use them: real namespaces, real packets, and nothing left behind.
//!
//! Every test that touches the network runs in a sandbox of its own (see the crate `sandbox`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod announcements;
mod apart;
mod architecture;
mod bridge;
mod circles;
mod clashes;
mod conf;
mod configuration;
mod contract;
mod crowds;
mod dhcp;
mod disks;
mod documents;
mod exec;
mod existing;
mod firewalls;
mod formats;
mod hostile;
mod interference;
mod iptables;
mod isolation;
mod kept;
mod leases;
mod links;
mod loopback;
mod macvlan;
mod mistakes;
mod mixed;
mod moved;
mod moved_ports;
mod names;
mod networks;
mod nodes;
mod obstacles;
mod odd;
mod on_node;
mod operations;
mod overlay;
mod overlay_cli;
mod portmap;
mod ports;
mod processes;
mod programs;
mod races;
mod reach;
mod reboot;
mod recorded;
mod reference;
mod removal;
mod resolver;
mod rights;
mod run;
mod scenarios;
mod several;
mod shared;
mod shared_network;
mod state;
#[cfg(target_arch = "x86_64")]
mod system_calls;
mod tenants;
mod trace;
mod troubleshooting;
mod upgrade;
mod upkeep;
mod uplinks;
mod volumes;
mod ways_out;
