//! The measured suites: their names, versions and programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where the reference and netavark find iptables and nft.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A folder with nft alone, as on a host without iptables. The newest reference removes the rules of both on each DEL, which
/// fails where iptables 1.8.9 says that its chain "does not exist".
const NFT_ALONE: &str = "/run/nft-alone";

/// A suite, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The programs that were built together with this one.
    Cleat,
    /// The reference plugins that Debian has installed; they use iptables.
    Reference,
    /// The newest reference plugins that Debian has, with nftables.
    Newest,
    /// The newest netavark that Debian has, with nftables: podman's one program for the work of bridge and portmap.
    Netavark,
}

impl Suite {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Cleat, Self::Reference, Self::Newest, Self::Netavark];
    /// Those that are CNI plugins.
    pub(crate) const PLUGINS: [Self; 3] = [Self::Cleat, Self::Reference, Self::Newest];

    /// Its name in the output, and in names of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cleat => "cleat",
            Self::Reference => "reference",
            Self::Newest => "newest",
            Self::Netavark => "netavark",
        }
    }

    /// Its name in tables for people.
    pub(crate) fn title(self) -> String {
        let version = self.version();
        let version = version.split(['+', '-']).next().unwrap_or_default();
        match self {
            Self::Cleat => "cleat".to_owned(),
            Self::Reference => format!("reference {version}, iptables"),
            Self::Newest => format!("reference {version}, nftables"),
            Self::Netavark => format!("netavark {version}, nftables"),
        }
    }

    /// Its version; of packages, Debian's.
    pub(crate) fn version(self) -> String {
        let unpacked = |package: &str| {
            let text = fs::read_to_string(unpacked(package).join("version")).unwrap_or_default();
            text.trim().to_owned()
        };
        match self {
            Self::Cleat => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Reference => {
                std::env::var("REFERENCE_VERSION").unwrap_or_else(|_| "of unknown version".to_owned())
            }
            Self::Newest => unpacked("containernetworking-plugins"),
            Self::Netavark => unpacked("netavark"),
        }
    }

    /// The program of a plugin. netavark has one for all.
    pub(crate) fn program(self, plugin: &str) -> PathBuf {
        match (self, plugin) {
            (Self::Cleat, "portmap") => built().join("host-port"),
            (Self::Cleat, _) => built().join(plugin),
            (Self::Reference, _) => Path::new("/usr/lib/cni").join(plugin),
            (Self::Newest, _) => unpacked("containernetworking-plugins").join("usr/lib/cni").join(plugin),
            (Self::Netavark, _) => unpacked("netavark").join("usr/lib/podman/netavark"),
        }
    }

    /// The `PATH` of its calls.
    pub(crate) fn path(self) -> &'static str {
        if self == Self::Newest { NFT_ALONE } else { PATH }
    }

    /// Makes the folder of programs that a suite finds instead of all.
    pub(crate) fn prepare() {
        fs::create_dir(NFT_ALONE).unwrap();
        symlink("/usr/sbin/nft", Path::new(NFT_ALONE).join("nft")).unwrap();
    }

    /// The command line before the arguments: netavark needs a newer C library than this machine has, so it runs by the
    /// loader that was unpacked with it.
    pub(crate) fn netavark() -> Vec<String> {
        let root = unpacked("netavark");
        let [loader, libraries] = ["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"]
            .map(|path| root.join(path).display().to_string());
        let program = Self::Netavark.program("").display().to_string();
        vec![loader, "--library-path".to_owned(), libraries, program]
    }
}

/// The folder of the programs that were built together with this one.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().to_path_buf()
}

/// Where `tests/tools/newer` puts a package: beside the folders of the build.
fn unpacked(package: &str) -> PathBuf {
    built().join("../../debian-newer").join(package)
}
