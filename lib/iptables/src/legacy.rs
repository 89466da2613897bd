//! Whether the legacy variant has rules, without starting it.

use std::fs;

use crate::Family;

/// The tables that the legacy variant has in this network namespace. The kernel makes one, with its empty built-in
/// chains, when a program first asks for it (`xt_register_table`), and keeps it. Where this does not name a table, no
/// legacy rule can be in it.
#[must_use]
pub fn legacy_tables(family: Family) -> Vec<String> {
    let file = match family {
        Family::V4 => "/proc/self/net/ip_tables_names",
        Family::V6 => "/proc/self/net/ip6_tables_names",
    };
    // No such file: the kernel's legacy modules are not loaded.
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
