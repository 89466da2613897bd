//! Reading a network's file. It says which cluster decides where a node's packets go, and names the files of secrets: so it
//! is root's alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use cni::{IfName, NetworkName};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::conf::{self, Conf, Engine};
use crate::program::error::{Error, Fault};
use crate::program::identity;

/// More than any file of a network needs, in bytes.
const LONGEST: u64 = 64 << 10;
/// What others than the owner may do.
const OTHERS: u32 = 0o077;
/// The least MTU of IPv4 that hosts must take (RFC 791).
const LEAST_MTU: u32 = 576;

/// The network whose file has this name; other files are none of the agent's.
pub(crate) fn network_of(file: &str) -> Option<NetworkName> {
    NetworkName::new(file.strip_suffix(".json")?).ok()
}

/// How this node takes part in a network.
pub(crate) fn read(network: &NetworkName) -> Result<Conf, Error> {
    read_file(&conf::path(network))?.ok_or_else(|| Error::NoConf(network.clone()))
}

/// As [`read`], by the path; `None` where there is no file.
pub(crate) fn read_file(path: &Path) -> Result<Option<Conf>, Error> {
    read_at(path, 0).map_err(|fault| Error::Conf { path: path.to_owned(), fault })
}

/// The file has to be that user's.
fn read_at(path: &Path, owner: u32) -> Result<Option<Conf>, Fault> {
    // Without O_NONBLOCK, opening a FIFO would wait for its other end.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Err(Fault::Link),
        outcome => outcome.map_err(Fault::Io)?,
    };
    parse(&content(&file, owner)?).map(Some)
}

fn content(file: &File, owner: u32) -> Result<Vec<u8>, Fault> {
    let metadata = file.metadata().map_err(Fault::Io)?;
    if !metadata.is_file() {
        return Err(Fault::Kind);
    }
    if metadata.uid() != owner {
        return Err(Fault::Owner(metadata.uid()));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(Fault::Mode(metadata.mode() & 0o7777));
    }
    folder::read_sized(file, metadata.size(), LONGEST).map_err(Fault::Io)
}

/// Reads the file's content, in which every value is one that can be.
pub(crate) fn parse(text: &[u8]) -> Result<Conf, Fault> {
    let conf: Conf = serde_json::from_slice(text)?;
    expect_valid(&conf)?;
    Ok(conf)
}

/// That every value is one that can be.
pub(crate) fn expect_valid(conf: &Conf) -> Result<(), Fault> {
    let fault = |key, value: &dyn ToString, reason: &str| {
        Err(Fault::Value { key, value: value.to_string(), reason: reason.to_owned() })
    };
    let Engine::Etcd(etcd) = &conf.engine;
    if etcd.endpoints.is_empty() {
        return fault("endpoints", &"[]", "name at least one member, such as http://10.0.0.1:2379");
    }
    if let Some(name) = &conf.node
        && let Err(rule) = identity::expect_node_name(name)
    {
        return fault("node", name, rule);
    }
    for (key, name) in [("interface", &conf.interface), ("device", &conf.device)] {
        if let Some(name) = name
            && let Err(error) = IfName::new(name.as_str())
        {
            return fault(key, name, &error.to_string());
        }
    }
    for (key, address) in [("address", conf.address), ("public", conf.public)] {
        if let Some(address) = address
            && (address.is_unspecified() || address.is_multicast() || address.is_loopback())
        {
            return fault(key, &address, "other nodes cannot send to it: name one of this node's own");
        }
    }
    if let Some(mtu) = conf.mtu
        && !(LEAST_MTU..=65_535).contains(&mtu)
    {
        return fault("mtu", &mtu, "576 to 65535 is allowed, and at least 1280 with IPv6 in the network");
    }
    match conf.metrics {
        Some(address) if !address.ip().is_loopback() => {
            fault("metrics", &address, "only the node itself may ask: take 127.0.0.1 or [::1]")
        }
        Some(address) if address.port() == 0 => fault("metrics", &address, "name a port, such as 9470"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use serde_json::{Value, json};

    use super::*;

    fn whole() -> Value {
        json!({
            "engine": {"type": "etcd", "endpoints": ["https://10.0.0.1:2379"], "user": "node-a", "passwordFile": "/etc/cleat/password"},
            "node": "a", "interface": "eth0", "address": "192.0.2.1", "public": "198.51.100.1", "device": "vx1", "mtu": 1400,
            "metrics": "127.0.0.1:9470"
        })
    }

    #[test]
    fn the_example_can_be_used() {
        parse(include_bytes!("../../../../conf/overlay/shop.json")).unwrap();
    }

    #[test]
    fn a_value_that_cannot_be_is_named_with_the_cure() {
        parse(whole().to_string().as_bytes()).unwrap();
        for (key, value, says) in [
            ("nodes", json!("a"), "unknown field `nodes`, expected one of"),
            ("node", json!("localhost"), "node localhost"),
            ("node", json!("a/b"), "node a/b"),
            ("interface", json!("a-name-of-sixteen"), "interface a-name-of-sixteen"),
            ("device", json!("a/b"), "device a/b"),
            ("address", json!("127.0.0.1"), "cannot send to it"),
            ("public", json!("0.0.0.0"), "cannot send to it"),
            ("public", json!("example.org"), "invalid IP address"),
            ("mtu", json!(575), "576 to 65535"),
            ("metrics", json!("0.0.0.0:9470"), "only the node itself"),
            ("metrics", json!("[::1]:0"), "name a port"),
            ("engine", json!({"type": "etcd", "endpoints": []}), "at least one member"),
            (
                "engine",
                json!({"type": "etcd", "endpoints": ["http://a:1"], "password": "x"}),
                "unknown field `password`",
            ),
            ("engine", json!({"type": "consul"}), "unknown variant `consul`"),
            ("engine", json!({}), "missing field `type`"),
        ] {
            let mut conf = whole();
            conf[key] = value;
            let fault = parse(conf.to_string().as_bytes()).unwrap_err().to_string();
            assert!(fault.contains(says), "{conf}: {fault}");
        }
    }

    #[test]
    fn only_a_plain_file_of_root_alone_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let put = |name: &str, mode: u32| {
            fs::write(at(name), whole().to_string()).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        };
        put("good.json", 0o600);
        put("strict.json", 0o400);
        put("open.json", 0o640);
        let owner = fs::metadata(at("good.json")).unwrap().uid();
        for name in ["good.json", "strict.json"] {
            assert!(read_at(&at(name), owner).unwrap().is_some(), "{name}");
        }
        assert!(read_at(&at("none.json"), owner).unwrap().is_none());
        symlink(at("good.json"), at("link.json")).unwrap();
        mkfifo(&at("fifo.json"), Mode::S_IRUSR).unwrap();
        File::create(at("sparse.json")).unwrap().set_len(1 << 40).unwrap();
        fs::set_permissions(at("sparse.json"), Permissions::from_mode(0o600)).unwrap();
        for (name, owner, says) in [
            ("good.json", owner + 1, "not to root"),
            ("open.json", owner, "(mode 640): chmod 600"),
            ("link.json", owner, "symbolic link"),
            ("fifo.json", owner, "not a regular file"),
            ("sparse.json", owner, "longer than 65536 bytes"),
        ] {
            let fault = read_at(&at(name), owner).unwrap_err().to_string();
            assert!(fault.contains(says), "{name}: {fault}");
        }
    }

    #[test]
    fn only_names_of_networks_with_the_suffix_are_files_of_networks() {
        assert_eq!(network_of("shop.json").unwrap().as_str(), "shop");
        for name in [".json", ".shop.json", "shop.json~", "shop.json.new", "shop", "a b.json"] {
            assert!(network_of(name).is_none(), "{name}");
        }
    }
}
