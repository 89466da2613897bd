//! Containers whose owners do not know each other: what one of them does harms nobody but itself.

#[cfg(target_arch = "x86_64")]
mod cost;
mod guards;
mod names;
mod pods;
mod upgrade;
