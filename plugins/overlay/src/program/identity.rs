//! Which node this is: its name, and its machine's ID.

use std::fs;

use nix::unistd::gethostname;

use crate::conf::Conf;
use crate::program::error::Error;

/// Where a machine's ID is (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// The node's name in a network.
pub(crate) fn node_name(conf: &Conf) -> Result<String, Error> {
    let name = match &conf.node {
        Some(name) => name.clone(),
        None => gethostname().unwrap_or_default().to_string_lossy().into_owned(),
    };
    match expect_node_name(&name) {
        Ok(()) => Ok(name),
        Err(reason) => Err(Error::NodeName { name, reason }),
    }
}

/// The rules of a node's name, which is part of a key.
pub(crate) fn expect_node_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match name {
        "" => Err("it is empty"),
        "localhost" | "localhost.localdomain" => Err("every machine is called so"),
        _ if name.len() > 253 => Err("it is longer than 253 characters"),
        _ if !name.bytes().all(is_plain) || !name.as_bytes()[0].is_ascii_alphanumeric() => {
            Err("it may have letters, digits, -, . and _, and begins with a letter or a digit")
        }
        _ => Ok(()),
    }
}

/// The ID of this machine: 32 hexadecimal digits, made when the system was installed.
pub(crate) fn machine_id() -> Result<String, Error> {
    let text = fs::read_to_string(MACHINE_ID).map_err(|error| Error::Machine(lock::describe(&error)))?;
    parse(&text)
}

fn parse(text: &str) -> Result<String, Error> {
    let refused = |reason: &str| Err(Error::Machine(reason.to_owned()));
    match text.trim() {
        "" => refused("it is empty"),
        // As systemd writes it into an image, for the first boot.
        "uninitialized" => refused("it is \"uninitialized\""),
        id if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            refused("it is not 32 hexadecimal digits")
        }
        id if id.bytes().all(|byte| byte == b'0') => refused("it is all zeros"),
        id => Ok(id.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_is_refused() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(parse(&format!("{id}\n")).unwrap(), id);
        let zeros = "0".repeat(32);
        for text in ["", "\n", "uninitialized\n", "0123", zeros.as_str(), "0123456789abcdef0123456789abcdeg"]
        {
            let said = parse(text).unwrap_err().to_string();
            assert!(
                said.starts_with("/etc/machine-id: ") && said.contains("systemd-machine-id-setup"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_name_that_is_no_key_or_nobodys_own_is_refused() {
        for name in ["a", "node-1.example.org", "n_1", "7"] {
            expect_node_name(name).unwrap();
        }
        let long = "a".repeat(254);
        for name in ["", "localhost", "a/b", "-a", ".", "a b", "ä", long.as_str()] {
            expect_node_name(name).unwrap_err();
        }
    }
}
