//! Containers whose owners do not know each other: what one of them does harms nobody but itself.

#[cfg(target_arch = "x86_64")]
mod cost;
mod locks;
mod names;
mod nri;
mod pods;
mod upgrade;
