//! Keys that the plugins have in common, and how they are read.

use cni::Target;
use netlink::Mac;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Result, config};
use crate::mac;

/// `ipam`, as far as the plugin itself reads it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpamKeys {
    /// File name of the IPAM plugin.
    pub r#type: String,
}

/// `args`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Args {
    /// Arguments by convention.
    pub cni: MacKey,
}

/// `mac`, which the runtime and the configuration's arguments may say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MacKey {
    /// Hardware address that the container's interface is to have, such as `02:00:00:00:00:01`.
    #[schemars(extend("x-default" = "a random one, locally administered"))]
    pub mac: String,
}

/// The hardware address that was asked for. The strongest first: the runtime's, the configuration's arguments, the
/// environment's, and `own`, a key of the configuration itself.
pub fn asked_mac(runtime: &MacKey, args: &Args, target: Option<&Target>, own: &str) -> Result<Option<Mac>> {
    let said = [runtime.mac.as_str(), args.cni.mac.as_str()].into_iter().find(|mac| !mac.is_empty());
    let environment = || target.and_then(|target| target.args.get("MAC"));
    let asked = said.or_else(environment).or((!own.is_empty()).then_some(own));
    asked.map(mac::parse).transpose()
}

/// What one of the words that a key knows stands for.
pub fn word<T: Copy>(key: &str, word: &str, known: &[(&str, T)], cure: &'static str) -> Result<T> {
    let found = known.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| config(format!("{key} {word:?} is unknown"), cure))
}
