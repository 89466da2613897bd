//! Container IDs: the one that `cnitool` derives from a namespace's path, and random ones for `run`; and attachments from the
//! texts that files keep.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cni::{Attachment, ContainerId, IfName, NetworkName, hex};
use sha2::{Digest, Sha512};

use crate::error::Error;

/// The attachment of a network, a container and an interface.
///
/// # Errors
/// One of them is no valid name.
pub(crate) fn attachment(network: &str, container_id: &str, ifname: &str) -> Result<Attachment, cni::Error> {
    Ok(Attachment {
        network: NetworkName::new(network)?,
        container_id: ContainerId::new(container_id)?,
        ifname: IfName::new(ifname)?,
    })
}

/// The ID for a namespace that has no other: `cnitool-` and the first ten bytes of the SHA-512 of its absolute path.
pub(crate) fn for_namespace(netns: &Path) -> Result<ContainerId, Error> {
    let digest = Sha512::digest(netns.as_os_str().as_bytes());
    new(format!("cnitool-{}", hex(&digest[..10])))
}

/// The ID that the user chose.
pub(crate) fn new(text: impl Into<String>) -> Result<ContainerId, Error> {
    ContainerId::new(text).map_err(Error::contract("name container"))
}

/// A new ID in the form that container engines use: 64 hexadecimal digits.
pub(crate) fn random() -> Result<ContainerId, Error> {
    new(hex(&random_bytes::<32>()?))
}

/// Random bytes.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Error::io("read /dev/urandom", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use registry::short_id;

    use super::*;

    #[test]
    fn a_namespace_has_the_id_that_cnitool_gives_it() {
        // printf %s /var/run/netns/testing | sha512sum | head -c 20
        let id = for_namespace(Path::new("/var/run/netns/testing")).unwrap();
        assert_eq!(id.as_str(), "cnitool-77383ca0a0715733ca6f");
    }

    #[test]
    fn random_ids_have_64_digits_and_a_short_form() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 64);
        assert_eq!(short_id(one.as_str()), &one.as_str()[..12]);
        assert_eq!(short_id(new("web").unwrap().as_str()), "web");
    }
}
