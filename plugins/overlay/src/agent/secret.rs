//! `/var/lib/cleat/overlay/NET/key`: this node's private key, as `wg genkey` writes it. It leaves the node nowhere.

use std::fs;
use std::io;
use std::path::PathBuf;

use cni::NetworkName;

use super::file::{self, Lasting};
use super::memory::folder;
use crate::key::PrivateKey;

fn path(network: &NetworkName) -> PathBuf {
    folder(network).join("key")
}

/// The key, if there is one.
pub(super) fn read(network: &NetworkName) -> Result<Option<PrivateKey>, String> {
    let path = path(network);
    let content = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        content => content.map_err(|error| format!("read {}: {error}", path.display()))?,
    };
    PrivateKey::from_file(&content).map(Some).map_err(|error| {
        format!(
            "{}: {error}; put the right one there, or remove it so that the node makes another",
            path.display()
        )
    })
}

/// The key; a new one where there is none.
pub(super) fn have(network: &NetworkName) -> Result<PrivateKey, String> {
    if let Some(key) = read(network)? {
        return Ok(key);
    }
    let path = path(network);
    let key = PrivateKey::generate().map_err(|error| format!("make {}: {error}", path.display()))?;
    let written = file::replace(&path, key.to_file().as_bytes(), 0o600, Lasting::Yes);
    written.map_err(|error| format!("write {}: {error}", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_roots_alone() {
        sandbox::isolated(|| {
            let network = NetworkName::new("wide").unwrap();
            assert!(read(&network).unwrap().is_none());
            let key = have(&network).unwrap();
            assert_eq!((have(&network).unwrap(), read(&network).unwrap()), (key.clone(), Some(key.clone())));
            assert_eq!(fs::metadata(path(&network)).unwrap().permissions().mode() & 0o7777, 0o600);
            // One that is no key is neither used nor replaced.
            let secret = key.to_file();
            fs::write(path(&network), &secret[..40]).unwrap();
            let error = have(&network).unwrap_err();
            assert!(error.contains("wide/key") && error.contains("remove it"), "{error}");
            assert!(!error.contains(&secret[..10]), "{error}");
            assert_eq!(fs::read_to_string(path(&network)).unwrap(), secret[..40]);
        });
    }
}
