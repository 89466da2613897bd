//! Hosts files: what is in them and in which order. Nothing here opens a file.
//!
//! - `line`: how one line is written, and the mark that tells our lines from those of others;
//! - `names`: what a member is called;
//! - `slot`: the place of each member's lines;
//! - `block`: the lines of all members of a tenant, the same in every file;
//! - `text`: the whole file of one container;
//! - `merge`: that text put into a file which others have added lines to;
//! - `former`: lines that an earlier version wrote, which have no mark.

pub(crate) mod block;
pub(crate) mod former;
pub(crate) mod line;
pub(crate) mod merge;
pub(crate) mod names;
mod slot;
pub(crate) mod text;
