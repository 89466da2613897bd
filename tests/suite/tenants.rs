//! Containers of owners that do not trust each other: what a container does harms no other.

mod attacks;
mod bounds;
#[cfg(target_arch = "x86_64")]
mod cost;
mod evidence;
mod gate;
mod guards;
mod hosts_files;
mod link_env;
mod locks;
mod names;
mod nri;
mod others;
mod pods;
mod upgrade;
