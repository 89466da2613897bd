//! Names of files that are made of names which may be too long for one.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `NAME_MAX` (linux/limits.h), in bytes.
const LONGEST: usize = 255;
/// What is kept of a text that is too long, to recognise it by.
const START: usize = 150;

/// A file name of two texts, which is both of them as they are wherever there is room. Otherwise a hash stands for the rest
/// of the first one, behind a character that no container ID has.
pub(crate) fn fitted(start: &str, end: &str) -> String {
    if start.len() + end.len() <= LONGEST {
        return format!("{start}{end}");
    }
    let cut = (0..=START).rev().find(|at| start.is_char_boundary(*at)).unwrap_or_default();
    let mut name = format!("{}~", start.get(..cut).unwrap_or_default());
    for byte in Sha256::digest(start).iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(end);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_long_stay_apart() {
        assert_eq!(fitted(&"x".repeat(250), ":eth0"), format!("{}:eth0", "x".repeat(250)));
        let [one, other] =
            ["1", "2"].map(|last| fitted(&format!("{}{last}", "x".repeat(249)), ":interface-0001"));
        assert!(one != other && one.len() <= LONGEST && one.ends_with(":interface-0001"), "{one}");
        assert!(fitted(&"ä".repeat(200), "").len() <= LONGEST);
    }
}
