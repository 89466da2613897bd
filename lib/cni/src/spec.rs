//! What the specification defines, as values: configuration, result, error object, versions, and what names an attachment.

pub(crate) mod attachment;
pub mod case_blind;
pub mod cidr;
pub(crate) mod conf;
pub(crate) mod error;
mod legacy;
pub(crate) mod result;
mod result_version;
mod salvage;
pub mod schema;
pub(crate) mod version;
