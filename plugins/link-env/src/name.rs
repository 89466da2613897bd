//! The rules for names in hosts files and for variables of an environment.

use std::collections::HashSet;

use crate::error::Error;

/// The longest name in bytes (RFC 1035, section 2.3.4, less the root's dot and length).
pub(crate) const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// `MAX_ARG_STRLEN` (linux/binfmts.h): 32 pages, with the closing NUL.
pub(crate) const MAX_VARIABLE: usize = 32 * 4096 - 1;

const RULE: &str = "a name has letters, digits, '_', '-' and '.', at most 63 between dots and 253 in all, \
                    starts with none of '-' and '.', and is not localhost";

const SINGLE_RULE: &str = "a name that a pod chooses is one DNS label: letters, digits, '_' and '-', at most 63, without dots, \
                           no number and not localhost";

/// Whether text may stand in a hosts file as a name.
pub(crate) fn is_valid(name: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    // RFC 6761, section 6.3: localhost and what is below it are reserved.
    name.len() <= MAX_NAME && name.split('.').all(label) && !last.eq_ignore_ascii_case("localhost")
}

/// Whether text is one DNS label, as a namespace has to be.
pub(crate) fn is_label(text: &str) -> bool {
    is_valid(text) && !text.contains('.')
}

/// Whether text may be a name that a pod's author chooses: one label (RFC 1123, with the `_` that runtimes use) that no
/// resolver reads as an address.
pub(crate) fn is_single(name: &str) -> bool {
    is_label(name) && !name.ends_with('-') && !is_number(name)
}

/// Whether resolvers read a label as an address, as `inet_aton(3)` does: a number of base 10, 8 or 16.
fn is_number(label: &str) -> bool {
    let digits = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match digits {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Refuses what may not be a name that a pod chooses; `what` says what it is the name of.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), Error> {
    if is_single(name) {
        return Ok(());
    }
    Err(Error::config(format!("invalid {what} {name:?}"), SINGLE_RULE))
}

/// Whether text that is too long for a label may be a container's ID, as the specification has it.
pub(crate) fn is_long_id(text: &str) -> bool {
    (MAX_LABEL + 1..=MAX_NAME).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Refuses text that may not stand in a hosts file; `what` says what it is the name of.
pub(crate) fn check(what: &str, name: &str) -> Result<(), Error> {
    if is_valid(name) {
        return Ok(());
    }
    Err(Error::config(format!("invalid {what} {name:?}"), RULE))
}

/// Refuses what cannot be a variable of an environment (environ(7)).
pub(crate) fn check_variable(key: &str, value: &str) -> Result<(), Error> {
    let cure = if key.is_empty() || key.contains(['=', '\0']) {
        "its name must not be empty nor contain '=' or NUL"
    } else if value.contains('\0') {
        "its value must not contain NUL"
    } else if key.len() + 1 + value.len() > MAX_VARIABLE {
        "name and value take at most 131070 bytes"
    } else {
        return Ok(());
    };
    // Enough of it to recognise it by.
    let start: String = key.chars().take(60).collect();
    Err(Error::config(format!("invalid environment variable {start:?}"), cure))
}

/// Each once, in the order in which they came.
pub(crate) fn distinct<S: AsRef<str>>(mut names: Vec<S>) -> Vec<S> {
    let is_new: Vec<bool> = {
        let mut known = HashSet::with_capacity(names.len());
        names.iter().map(|name| known.insert(name.as_ref())).collect()
    };
    let mut is_new = is_new.into_iter();
    names.retain(|_| is_new.next().unwrap_or_default());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_hosts_file_are_refused() {
        for good in ["db", "DB_1", "a-b.c", "0", "web.localhost.example", &"x".repeat(63)] {
            assert!(is_valid(good), "{good}");
        }
        let long = ["x"; 128].join(".");
        for bad in [
            "",
            "a b",
            "a\tb",
            "a\nb",
            "a#b",
            "a,b",
            "a/b",
            "ä",
            "a..b",
            ".a",
            "a.",
            "-a",
            "localhost",
            "LocalHost",
            "a.localhost",
            &"x".repeat(64),
            &long,
        ] {
            let error = check("alias", bad).unwrap_err();
            assert!(error.to_string().contains("invalid alias"), "{bad:?}");
        }
    }

    #[test]
    fn what_a_pod_chooses_is_one_label_that_nothing_else_is_known_by() {
        for good in ["db", "DB_1", "a-b", "10a", "0xg", "1-2", &"x".repeat(63)] {
            assert!(is_single(good), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "a.",
            "*",
            "*.a",
            "localhost",
            "10",
            "010",
            "0x7f000001",
            "0X7F",
            "0x",
            "::1",
            "a-",
            "-a",
        ] {
            let error = check_label("alias", bad).unwrap_err();
            assert!(error.to_string().contains("invalid alias"), "{bad:?}");
        }
    }

    #[test]
    fn variables_that_exec_would_not_take_are_refused() {
        assert!(check_variable("a.b c", "x\ny=z").is_ok());
        assert!(check_variable("K", &"x".repeat(MAX_VARIABLE - 2)).is_ok());
        for (key, value) in [("", "x"), ("A=B", "x"), ("A", "x\0"), ("K", &"x".repeat(MAX_VARIABLE - 1))] {
            assert!(check_variable(key, value).is_err(), "{key:?}");
        }
    }
}
