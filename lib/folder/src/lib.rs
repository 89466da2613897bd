//! A folder held open by descriptor. Everything in it happens relative to that descriptor and never through a symbolic link,
//! so that nothing put in the way of a file leads a write elsewhere.
//!
//! What is absent is a value; every other failure names the operation and the path.

mod error;
mod folder;
mod read;

pub use error::Error;
pub use folder::{FILE, Folder, PRIVATE};
pub use read::{LONGEST, read_sized};
