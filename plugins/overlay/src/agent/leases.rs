//! Which blocks have addresses that containers use: host-local's leases, a file named after each address in a folder for each
//! network (`/var/lib/cni/networks/NETWORK/ADDRESS`).

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

/// Where host-local keeps its leases, unless a network's `dataDir` says another folder.
const FOLDER: &str = "/var/lib/cni/networks";

/// Whether any address of a block is leased. What cannot be read counts as leased.
pub(super) fn has_any(block: IpNetwork) -> bool {
    is_any_in(Path::new(FOLDER), block)
}

fn is_any_in(folder: &Path, block: IpNetwork) -> bool {
    let networks = match fs::read_dir(folder) {
        Ok(networks) => networks,
        Err(error) => return error.kind() != std::io::ErrorKind::NotFound,
    };
    let is_lease = |name: &str| name.parse::<IpAddr>().is_ok_and(|address| block.contains(address));
    networks.flatten().filter(|entry| entry.path().is_dir()).any(|entry| match fs::read_dir(entry.path()) {
        Ok(leases) => leases.flatten().any(|lease| lease.file_name().to_str().is_some_and(is_lease)),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_of_the_block_that_has_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let block = |text: &str| text.parse::<IpNetwork>().unwrap();
        assert!(!is_any_in(&folder.path().join("none"), block("10.201.7.0/24")));
        fs::create_dir(folder.path().join("net")).unwrap();
        for name in ["10.201.7.2", "fd00:201:0:7::2", "last_reserved_ip.0", "lock"] {
            fs::write(folder.path().join("net").join(name), "").unwrap();
        }
        for (text, is_leased) in [
            ("10.201.7.0/24", true),
            ("10.201.8.0/24", false),
            ("fd00:201:0:7::/64", true),
            ("fd00:201:0:8::/64", false),
        ] {
            assert_eq!(is_any_in(folder.path(), block(text)), is_leased, "{text}");
        }
    }
}
