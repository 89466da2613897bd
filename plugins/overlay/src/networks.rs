//! For serde's `with`: a list of networks, each with its prefix length.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Network(#[serde(with = "cni::cidr")] IpNetwork);

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNetwork>, D::Error> {
    let list = Vec::<Network>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|network| network.0).collect())
}

pub(crate) fn serialize<S: Serializer>(list: &[IpNetwork], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().copied().map(Network))
}
