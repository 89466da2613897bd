//! The keys of the configuration, from which the schemas are made too.

use cni::Dns;
use interface::{Args, IpamKeys, MacKey};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Family;

/// The keys as they are written; the meaning and default of each is the reference plugin's. `ipvlan` has no use for `mac` and
/// `bcqueuelen`, and modes of its own: see [`schema`].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration by its own name")]
pub(crate) struct Keys {
    /// Interface of the host on which the container's is made: the container is then on that interface's network.
    #[schemars(extend(
        "x-default" = "the one interface of the plugin before in the list; without such a plugin, that of the default route",
    ))]
    pub(super) master: String,
    /// Whom the container reaches of those on the same master: each other (`bridge`), nobody (`private`), or whom the switch sends
    /// frames back to (`vepa`). With `passthru` it is the only one, and has the master to itself.
    #[schemars(extend("enum" = ["bridge", "private", "vepa", "passthru"], "default" = "bridge"))]
    pub(super) mode: String,
    /// MTU in bytes, at most the master's.
    #[schemars(extend("x-default" = "the master's"))]
    pub(super) mtu: u32,
    /// Hardware address that the container's interface is to have. What the runtime asks for comes before it.
    #[schemars(extend("x-default" = "a random one, locally administered"))]
    pub(super) mac: String,
    /// The master is in the container's network namespace, as one that an earlier plugin has put there.
    pub(super) link_in_container: bool,
    /// How many broadcast frames may wait on the master, for all macvlan interfaces on it. Linux 5.11.
    #[serde(rename = "bcqueuelen")]
    #[schemars(extend("x-default" = "the kernel's, 1000"))]
    pub(super) bc_queue_len: u32,
    /// Host and containers reach each other, by IPv4: the host gets a macvlan of its own on the master, with a route to each
    /// container, which goes with the last one. In mode `bridge` alone.
    #[schemars(extend("x-reference" = false))]
    pub(super) host_access: bool,
    /// Router advertisements of the network may give the container addresses and routes, as they do a machine. If false, none.
    #[serde(rename = "acceptRA")]
    #[schemars(extend("default" = true, "x-reference" = false))]
    pub(super) accept_ra: Option<bool>,
    /// ADD waits until the kernel has seen that nobody else has the IPv6 addresses, which takes a second or two.
    #[schemars(extend("x-reference" = false))]
    pub(super) enabledad: bool,
    /// DEL waits until the kernel has freed the interface, which takes some 15 ms. Otherwise a process of its own does that, and
    /// may be there a moment longer than DEL.
    #[schemars(extend("x-reference" = false))]
    pub(super) synchronous_del: bool,
    /// Name servers in the result, for the runtime to write into the container's resolv.conf. Any one key set replaces all
    /// that IPAM gave.
    pub(super) dns: Dns,
    /// Who gives the addresses, with its own keys: `host-local` runs within the plugin, any other type is executed. Without it
    /// the container has the addresses that the plugin before in the list gave.
    #[schemars(extend("x-default" = "none"))]
    pub(super) ipam: IpamKeys,
    pub(super) args: Args,
    pub(super) runtime_config: MacKey,
}

/// The schema of one of the two plugins.
pub(crate) fn schema(family: Family) -> Value {
    let mut schema = cni::schema::of::<Keys>();
    if family == Family::Ipvlan
        && let Some(keys) = schema["properties"].as_object_mut()
    {
        for key in ["mac", "bcqueuelen", "hostAccess", "args", "runtimeConfig"] {
            keys.remove(key);
        }
        if let Some(mode) = keys.get_mut("mode").and_then(Value::as_object_mut) {
            let modes = "What the master does with packets: it switches frames (`l2`), or routes packets, past the host's packet \
                filter (`l3`) or through it (`l3s`), without broadcast and multicast. The kernel has one mode for all ipvlan \
                interfaces of a master: the one that was added last.";
            mode.insert("description".to_owned(), modes.into());
            mode.insert("enum".to_owned(), json!(["l2", "l3", "l3s"]));
            mode.insert("default".to_owned(), "l2".into());
        }
    }
    all_since(&mut schema);
    schema
}

/// Says of each key that it came with the plugins themselves.
fn all_since(schema: &mut Value) {
    for key in schema["properties"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        key["x-since"] = "0.3.0".into();
        if key.get("properties").is_some() {
            all_since(key);
        }
    }
}
