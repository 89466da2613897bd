//! The legacy variant: whether it has rules, without starting it, and the programs that see them.

use std::fs::File;
use std::io::Read;

use crate::{Family, Iptables, Result, Variant};

/// More than the names of all tables that there are, in bytes.
const LONGEST: u64 = 4096;

/// The tables that the legacy variant has in this network namespace. The kernel makes one, with its empty built-in
/// chains, when a program first asks for it (`xt_register_table`), and keeps it. Where this does not name a table, no
/// legacy rule can be in it. One exception: where one unshare(2) made the namespace together with its user namespace, the kernel
/// shows the file only to the host's root.
#[must_use]
pub fn legacy_tables(family: Family) -> Vec<String> {
    let file = match family {
        Family::V4 => "/proc/self/net/ip_tables_names",
        Family::V6 => "/proc/self/net/ip6_tables_names",
    };
    // No such file: the kernel's legacy modules are not loaded. The kernel gives no length for it, so that nobody asks.
    let mut names = String::new();
    let _ = File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut names));
    names.lines().map(str::to_owned).collect()
}

/// The programs of the legacy variant, of the families in which it has a table; none where the host does not have them.
pub fn legacy_programs(table: &str) -> Result<Vec<Iptables>> {
    Family::ALL.into_iter().filter_map(|family| legacy_program(family, table).transpose()).collect()
}

/// The program of the legacy variant for one family, where it has the table; `None` where the host does not have it.
pub fn legacy_program(family: Family, table: &str) -> Result<Option<Iptables>> {
    if !legacy_tables(family).iter().any(|known| known == table) {
        return Ok(None);
    }
    // Before 1.8 the legacy variant had no name of its own.
    let chosen = || -> Result<_> {
        let program = Iptables::find(family)?;
        Ok((program.variant()? == Variant::Legacy).then_some(program))
    };
    match Iptables::find_variant(family, Variant::Legacy).map(Some).or_else(|_| chosen()) {
        Err(error) if error.is_missing_program() => Ok(None),
        found => found,
    }
}
