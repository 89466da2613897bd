//! The paths of the freshly built programs, and of the reference's.

use std::path::Path;

/// The plugins with their programs.
pub(crate) const PLUGINS: [(&str, &str); 7] = [
    ("bridge", BRIDGE),
    ("host-local", HOST_LOCAL),
    ("host-port", HOST_PORT),
    ("link-env", LINK_ENV),
    ("loopback", LOOPBACK),
    ("macvlan", MACVLAN),
    ("ipvlan", IPVLAN),
];
/// The bridge plugin.
pub(crate) const BRIDGE: &str = env!("CARGO_BIN_EXE_bridge");
/// The IPAM plugin.
pub(crate) const HOST_LOCAL: &str = env!("CARGO_BIN_EXE_host-local");
/// The plugin that publishes ports.
pub(crate) const HOST_PORT: &str = env!("CARGO_BIN_EXE_host-port");
/// The plugin for names and links.
pub(crate) const LINK_ENV: &str = env!("CARGO_BIN_EXE_link-env");
/// The loopback plugin.
pub(crate) const LOOPBACK: &str = env!("CARGO_BIN_EXE_loopback");
/// The plugins that put a container on a network of the host's.
pub(crate) const MACVLAN: &str = env!("CARGO_BIN_EXE_macvlan");
pub(crate) const IPVLAN: &str = env!("CARGO_BIN_EXE_ipvlan");
/// The command line tool.
pub(crate) const CLEAT: &str = env!("CARGO_BIN_EXE_cleat");

/// Where Debian has the reference plugins.
pub(crate) const REFERENCE: &str = "/usr/lib/cni";

/// The program of a plugin, by its type in configurations.
pub(crate) fn program(plugin: &str) -> &'static str {
    // portmap is host-port under the name that existing configurations use.
    let name = if plugin == "portmap" { "host-port" } else { plugin };
    PLUGINS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no plugin {plugin}")).1
}

/// The folder of all programs, which is what goes into `CNI_PATH`.
pub(crate) fn folder() -> &'static Path {
    Path::new(BRIDGE).parent().unwrap()
}
