//! Containers whose owners do not know each other: what one of them does harms nobody but itself.

mod attacks;
mod bounds;
mod hosts_files;
mod others;
