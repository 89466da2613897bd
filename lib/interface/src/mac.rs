//! Hardware addresses that a plugin gives, and those that it is asked for.

use std::hash::{BuildHasher, RandomState};

use netlink::Mac;

use crate::error::{Result, config};

/// An address of the locally administered range (IEEE 802: second lowest bit set, lowest clear).
#[must_use]
pub fn random() -> Mac {
    // Each state is keyed anew from the kernel's random numbers; that is all the randomness needed here.
    let [_, _, mut octets @ ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
    octets[0] = (octets[0] & 0xfc) | 2;
    Mac::from(octets)
}

/// Reads an address that an interface is to have.
pub fn parse(text: &str) -> Result<Mac> {
    let mac: Mac = text
        .parse()
        .map_err(|_| config(format!("{text:?} is no MAC address"), "write six bytes as 02:00:00:00:00:01"))?;
    // IEEE 802: the lowest bit of the first byte marks groups, which no interface may have.
    if mac.octets()[0] & 1 == 1 {
        return Err(config(
            format!("MAC address {text} is a multicast address"),
            "choose one whose first byte is even",
        ));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_addresses_are_local_unicast_and_differ() {
        let (one, other) = (random(), random());
        assert_ne!(one, other);
        assert_eq!(one.octets()[0] & 3, 2);
    }
}
