//! `vlan`, `vlanTrunk` and `preserveDefaultVlan`: the VLANs that an attachment's port is on.

use std::collections::BTreeMap;

use netlink::{BridgeVlan, Socket, VlanMember};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Result, config, differs};

/// The highest VLAN ID (IEEE 802.1Q; 4095 is reserved).
const MAX: u32 = 4094;

/// One entry of `vlanTrunk`: a run, a single VLAN, or both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct TrunkKeys {
    /// The first VLAN of a run, 1 to 4094; with maxID.
    #[serde(rename = "minID")]
    min: Option<u32>,
    /// The last VLAN of a run; with minID.
    #[serde(rename = "maxID")]
    max: Option<u32>,
    /// A single VLAN, 1 to 4094.
    id: Option<u32>,
}

/// The VLANs of a port. There is none of this where the configuration names no VLAN, and the bridge need not filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vlans {
    /// The VLAN that the container is on without tags.
    pub native: Option<u16>,
    /// The VLANs that it is on with tags: runs that neither overlap nor touch, in order.
    trunk: Vec<BridgeVlan>,
    /// Whether the VLANs stay that the bridge puts every new port on, VLAN 1 unless changed by hand.
    keep_default: bool,
}

impl Vlans {
    pub(crate) fn new(vlan: u32, trunk: &[TrunkKeys], keep_default: bool) -> Result<Option<Self>> {
        let native = if vlan == 0 { None } else { Some(id("vlan", vlan)?) };
        let mut runs = Vec::new();
        for keys in trunk {
            if keys.min.is_some() != keys.max.is_some() {
                return Err(config("vlanTrunk: minID and maxID go together", ENTRY));
            }
            if keys.min.or(keys.id).is_none() {
                return Err(config("vlanTrunk: an entry names no VLAN", ENTRY));
            }
            if let Some((min, max)) = keys.min.zip(keys.max) {
                let run = (id("vlanTrunk: minID", min)?, id("vlanTrunk: maxID", max)?);
                if min > max {
                    return Err(config(
                        format!("vlanTrunk: minID {min} is above maxID {max}"),
                        "exchange them",
                    ));
                }
                runs.push(run);
            }
            if let Some(single) = keys.id {
                let single = id("vlanTrunk: id", single)?;
                runs.push((single, single));
            }
        }
        let trunk = merged(runs);
        Ok((native.is_some() || !trunk.is_empty()).then_some(Self { native, trunk, keep_default }))
    }

    /// Puts a new port on its VLANs, and takes it off those that it is not to be on.
    pub(crate) fn add(&self, socket: &mut Socket, port: u32) -> Result<()> {
        let port = VlanMember::Port(port);
        if !self.keep_default {
            for vlan in socket.bridge_vlans(port.index())? {
                socket.del_bridge_vlan(port, &vlan)?;
            }
        }
        for vlan in &self.trunk {
            socket.add_bridge_vlan(port, vlan)?;
        }
        // Last: where the trunk has the VLAN as well, its frames are to be untagged.
        if let Some(native) = self.native {
            socket.add_bridge_vlan(port, &untagged(native))?;
        }
        Ok(())
    }

    /// Names what differs from what [`Vlans::add`] set up.
    pub(crate) fn check(&self, socket: &mut Socket, port: u32, name: &str) -> Result<()> {
        let found = by_id(&socket.bridge_vlans(port)?);
        let mut wanted = by_id(&self.trunk);
        wanted.extend(by_id(&self.native.map(untagged).into_iter().collect::<Vec<_>>()));
        if let Some((id, _)) = wanted.iter().find(|(id, flags)| found.get(id) != Some(flags)) {
            return differs(format!("interface {name} is not on VLAN {id} as it should be"));
        }
        match found.keys().find(|id| !wanted.contains_key(id)) {
            Some(id) if !self.keep_default => {
                differs(format!("interface {name} is on VLAN {id}, which it should not be"))
            }
            _ => Ok(()),
        }
    }
}

/// Each VLAN, with whether it is the port's own and untagged.
fn by_id(vlans: &[BridgeVlan]) -> BTreeMap<u16, (bool, bool)> {
    let each = |vlan: &BridgeVlan| {
        let flags = (vlan.pvid, vlan.untagged);
        (vlan.first..=vlan.last).map(move |id| (id, flags))
    };
    vlans.iter().flat_map(each).collect()
}

const ENTRY: &str = "write each entry as {\"minID\": 10, \"maxID\": 20} or {\"id\": 10}";

fn untagged(id: u16) -> BridgeVlan {
    BridgeVlan { first: id, last: id, pvid: true, untagged: true }
}

fn id(key: &str, value: u32) -> Result<u16> {
    let of_range = Some(value).filter(|value| (1..=MAX).contains(value));
    of_range.and_then(|value| u16::try_from(value).ok()).ok_or_else(|| {
        config(format!("{key}: VLAN {value} is out of range"), "use 1 to 4094, or leave it out for no VLAN")
    })
}

/// The same VLANs in as few runs as there can be.
fn merged(mut runs: Vec<(u16, u16)>) -> Vec<BridgeVlan> {
    runs.sort_unstable();
    let mut merged: Vec<BridgeVlan> = Vec::new();
    for (first, last) in runs {
        match merged.last_mut() {
            Some(before) if first <= before.last + 1 => before.last = before.last.max(last),
            _ => merged.push(BridgeVlan { first, last, pvid: false, untagged: false }),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vlans(vlan: u32, trunk: Value) -> Result<Option<Vlans>> {
        Vlans::new(vlan, &serde_json::from_value::<Vec<TrunkKeys>>(trunk).unwrap(), true)
    }

    fn trunk(value: Value) -> Vec<String> {
        vlans(0, value).unwrap().unwrap().trunk.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_vlan_is_none() {
        assert_eq!(vlans(0, json!([])).unwrap(), None);
        assert_eq!(vlans(7, json!([])).unwrap().unwrap().native, Some(7));
    }

    #[test]
    fn trunks_are_runs_and_single_vlans() {
        assert_eq!(trunk(json!([{"minID": 20, "maxID": 30}, {"id": 5}])), ["5", "20-30"]);
        assert_eq!(
            trunk(json!([{"minID": 20, "maxID": 30, "id": 31}, {"minID": 25, "maxID": 28}])),
            ["20-31"]
        );
        assert_eq!(trunk(json!([{"minID": 1, "maxID": 4094}, {"id": 4094}])), ["1-4094"]);
    }

    #[test]
    fn what_is_no_vlan_is_refused_with_the_key() {
        for (vlan, trunk, words) in [
            (4095, json!([]), "vlan: VLAN 4095 is out of range"),
            (0, json!([{"id": 0}]), "vlanTrunk: id: VLAN 0"),
            (0, json!([{"minID": 1, "maxID": 4095}]), "vlanTrunk: maxID: VLAN 4095"),
            (0, json!([{"minID": 9, "maxID": 8}]), "minID 9 is above maxID 8"),
            (0, json!([{"minID": 9}]), "minID and maxID go together"),
            (0, json!([{}]), "names no VLAN"),
        ] {
            let error = vlans(vlan, trunk).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
