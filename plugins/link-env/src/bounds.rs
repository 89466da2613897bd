//! Limits of what one member may say and be given: the same table as in docs/limits.md. The others on the node may not trust the
//! member's author, and they pay for what it says: with time under the registry's lock, with space on `/run`, with lines of
//! their hosts files.
//!
//! Everything is counted before anything is written.

use std::collections::BTreeMap;

use cni::PortRange;
use registry::ExtraHost;

use crate::error::Error;

/// How much there may be of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// What is counted, as it is written after the number.
    pub(crate) what: &'static str,
    /// How many there may be.
    pub(crate) most: usize,
}

/// Names besides the member's own. Those that follow from what the runtime says (`pod.namespace`) do not count.
pub(crate) const ALIASES: Bound = Bound { what: "aliases", most: 16 };
/// Links to others.
pub(crate) const LINKS: Bound = Bound { what: "links", most: 32 };
/// Namespaces that may link to it.
pub(crate) const NAMESPACES: Bound = Bound { what: "namespaces allowed", most: 32 };
/// Ports of `expose`, where each one of a range counts.
pub(crate) const PORTS: Bound = Bound { what: "exposed ports", most: 1_024 };
/// Variables that it offers, as `NAME=value` with a NUL.
pub(crate) const OFFERED: Bound = Bound { what: "bytes of variables offered", most: 64 << 10 };
/// Variables that all its links give it, as `NAME=value` with a NUL: a part of what execve(2) takes, and of what a response
/// to NRI may hold.
pub(crate) const GIVEN: Bound = Bound { what: "bytes of variables by links", most: 128 << 10 };
/// Hosts entries of its own, as lines of an address and a name.
pub(crate) const ENTRIES: Bound = Bound { what: "bytes of extra hosts", most: 64 << 10 };
/// Ports that its links open on the bridge, including the published ports of their sources.
pub(crate) const OPENED: Bound = Bound { what: "ports opened by links", most: 2_048 };

/// All of them, as docs/limits.md has them.
#[cfg(test)]
const TABLE: [Bound; 8] = [ALIASES, LINKS, NAMESPACES, PORTS, OFFERED, GIVEN, ENTRIES, OPENED];

impl Bound {
    /// Refuses more than that. `whose` is the key that says it, such as `pod annotation link-env.cni/links`.
    pub(crate) fn check(self, whose: &str, found: usize) -> Result<(), Error> {
        if found <= self.most {
            return Ok(());
        }
        Err(self.exceeded(whose, found))
    }

    /// The refusal of more than that.
    pub(crate) fn exceeded(self, whose: &str, found: usize) -> Error {
        let Self { what, most } = self;
        Error::config(
            format!("{whose}: {found} {what}, more than {most}"),
            "what one container says costs the others of the node, so it is bounded: say less there",
        )
    }

    /// The items that fit, in their order, and the number of those that do not. `used` is taken already.
    pub(crate) fn fill<T>(
        self,
        used: usize,
        items: impl IntoIterator<Item = T>,
        size: impl Fn(&T) -> usize,
    ) -> (Vec<T>, usize) {
        let mut left = self.most.saturating_sub(used);
        let (mut fitting, mut beyond) = (Vec::new(), 0);
        for item in items {
            match left.checked_sub(size(&item)) {
                Some(rest) => {
                    left = rest;
                    fitting.push(item);
                }
                None => beyond += 1,
            }
        }
        (fitting, beyond)
    }
}

/// The number of ports in ranges that do not overlap.
pub(crate) fn ports(ranges: &[PortRange]) -> usize {
    ranges.iter().map(|range| range.numbers().len()).sum()
}

/// The size of variables in a process's environment, in bytes.
pub(crate) fn variables(variables: &BTreeMap<String, String>) -> usize {
    variables.iter().map(|(key, value)| variable(key, value)).sum()
}

/// The size of a variable in a process's environment, in bytes: `NAME=value` with a NUL.
pub(crate) fn variable(key: &str, value: &str) -> usize {
    key.len() + value.len() + 2
}

/// The size of an entry in a hosts file, in bytes.
pub(crate) fn entry(host: &ExtraHost) -> usize {
    host.address.to_string().len() + host.name.len() + 2
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md")).unwrap();
        for Bound { what, most } in TABLE {
            let number = if most >= 64 << 10 { format!("{} KiB", most >> 10) } else { thousands(most) };
            let what = what.strip_prefix("bytes of ").unwrap_or(what);
            let row = format!("| {what} | {number} |");
            assert!(page.contains(&row), "docs/limits.md has no row {row:?}");
        }
    }

    fn thousands(number: usize) -> String {
        if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
    }
}
