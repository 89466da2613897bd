//! The agent's file of a network, `/etc/cleat/overlay/NET.json`, which is root's alone (mode 0600).

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use cni::NetworkName;
use serde::{Deserialize, Serialize};

/// The folder of the files. The name of a file is that of its network.
pub const FOLDER: &str = "/etc/cleat/overlay";

/// The file of a network.
#[must_use]
pub fn path(network: &NetworkName) -> PathBuf {
    Path::new(FOLDER).join(format!("{network}.json"))
}

/// How this node takes part in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conf {
    /// Where the records are.
    pub engine: Engine,
    /// The network's ID, written by `cleat network create` and `join`: of another network of this name nothing is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The node's name. Default: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The interface whose address others send to. Default: that of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The address of this node to send from, one of its own. Default: the interface's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The address that others send to, where a NAT is between. Default: `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<IpAddr>,
    /// The name of the device. Default: `vx-` and the first 8 digits of the network's ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The most that the device's MTU may be, in bytes. Default: the interface's, less what the outer headers take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Where to serve `/healthz`, `/readyz` and `/metrics` besides the socket. No default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

/// Where a network's records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Engine {
    /// etcd 3.4 or newer.
    Etcd(Etcd),
}

/// A cluster of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etcd {
    /// `http://host:port` or `https://host:port` of its members, which are tried in turn.
    pub endpoints: Vec<String>,
    /// File with the certificate of the CA that signed the servers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// File with this node's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// File with its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The user, unless the certificate's common name says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// What all keys begin with. Default: `/cleat/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}
