//! What is wrong with this node's part of a network, each with its cure.

use cni::NetworkName;
use netlink::Socket;

use super::health::Health;
use super::socket::{self, Answer};
use super::{START, file};
use crate::error::Error;

/// What the user can do about a refusal that names no cure.
const LOG: &str = "`journalctl -u cleat-overlay` has more";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What.
    pub(crate) what: String,
    /// What the user can do about it.
    pub(crate) cure: String,
}

impl Problem {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cure: cure.into() }
    }

    /// Both, for one line.
    pub(crate) fn told(&self) -> String {
        format!("{} ({})", self.what, self.cure)
    }
}

/// Looks at the agent's file, the running agent, its run file and the device.
pub(crate) fn problems(network: &NetworkName) -> Vec<Problem> {
    let mut found = Vec::new();
    let path = file(network);
    if !path.exists() {
        let cure = format!("`cleat network join {network} --engine …` writes it");
        found.push(Problem::new(format!("there is no {}", path.display()), cure));
    }
    match socket::health(network) {
        Err(error) => {
            found.push(Problem::new(error.to_string(), error.cure().unwrap_or_else(|| LOG.to_owned())));
        }
        Ok(Answer::NotRunning) => {
            let what = "the agent cleat-overlay does not run: what changes on other nodes is not known here";
            found.push(Problem::new(what, START));
        }
        Ok(Answer::Unknown) if path.exists() => {
            found.push(Problem::new(format!("the agent does not take up {}", path.display()), LOG));
        }
        Ok(Answer::Unknown) => {}
        Ok(Answer::Health(health)) => found.extend(of_health(network, &health)),
    }
    match ::overlay::read(network) {
        Err(error) => {
            found.push(Problem::new(error.to_string(), "`systemctl restart cleat-overlay` writes it anew"));
        }
        Ok(None) => {
            let what =
                format!("no container can be added: {} does not exist", ::overlay::path(network).display());
            // What the agent lacks for it has been said.
            let cure = "the agent writes it once this node has a block";
            found.push(Problem::new(what, cure));
        }
        Ok(Some(node)) => {
            found.extend(device(&node).unwrap_or_else(|error| Some(Problem::new(error.to_string(), LOG))));
        }
    }
    found
}

fn of_health(network: &NetworkName, health: &Health) -> Vec<Problem> {
    let mut found = Vec::new();
    let list = |names: &[String]| names.join(", ");
    if health.is_refused() {
        found.push(Problem::new(format!("the agent takes no part: {}", health.told()), LOG));
    }
    if !health.engine.up {
        let since =
            health.engine.stale_since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
        let why = health.engine.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let cure = "containers go on meanwhile; new nodes wait until it is back";
        found.push(Problem::new(format!("the engine is not reached{since}{why}"), cure));
    }
    if !health.held.is_empty() {
        let what = format!("too many nodes went at once, and are kept: {}", list(&health.held));
        found.push(Problem::new(
            what,
            format!("`cleat node sync --force {network}` if they have gone for good"),
        ));
    }
    // Those that are held have been said.
    for peer in health.peers.iter().filter(|peer| !peer.is_ok() && peer.state != "held") {
        let why = peer.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let what = format!("node {} is not reached: {}{why}", peer.name, peer.state);
        found.push(Problem::new(what, format!("`cleat node inspect {} {network}` says more", peer.name)));
    }
    found
}

/// The device, compared with what containers were told.
fn device(node: &::overlay::Node) -> Result<Option<Problem>, Error> {
    let link = Socket::open()?.get_link(&node.device)?;
    let what = match link {
        None => "does not exist".to_owned(),
        Some(link) if !link.up => "is down".to_owned(),
        Some(link) if link.mtu != node.mtu => {
            format!("has MTU {} and not {}, as containers do", link.mtu, node.mtu)
        }
        Some(_) => return Ok(None),
    };
    let what = format!("link {}, which leads to the other nodes, {what}", node.device);
    Ok(Some(Problem::new(what, "`cleat repair` has the agent put it right")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(health: &serde_json::Value) -> Vec<String> {
        let health: Health = serde_json::from_value(health.clone()).unwrap();
        of_health(&NetworkName::new("shop").unwrap(), &health).iter().map(Problem::told).collect()
    }

    #[test]
    fn each_fault_is_told_once_with_a_cure() {
        let mut health = json!({"network": "shop", "id": "a", "state": "watching", "reason": null,
            "since": "2026-01-01T00:00:00Z", "engine": {"up": true, "staleSince": null, "revision": 7, "error": null},
            "device": "vx-1", "mtu": 1450, "local": "192.0.2.1", "blocks": ["10.201.7.0/24"],
            "peers": [{"name": "n2", "address": "192.0.2.2", "blocks": ["10.201.8.0/24"], "mtu": 1450, "state": "ok"}],
            "held": [], "repairs": 0});
        assert_eq!(found(&health), Vec::<String>::new());
        health["engine"] =
            json!({"up": false, "staleSince": "2026-01-02T00:00:00Z", "revision": 7, "error": "refused"});
        health["held"] = json!(["n2", "n3"]);
        health["peers"][0]["state"] = "held".into();
        health["state"] = "conflict".into();
        health["reason"] = "block 10.201.7.0/24 is node n9's".into();
        let all = found(&health);
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].contains("takes no part: conflict: block 10.201.7.0/24 is node n9's"), "{all:?}");
        assert!(
            all[1].contains("not reached since 2026-01-02T00:00:00Z: refused (containers go on"),
            "{all:?}"
        );
        assert!(all[2].contains("n2, n3 (`cleat node sync --force shop`"), "{all:?}");
        health["peers"][0] =
            json!({"name": "n2", "state": "no-common-family", "reason": "it has IPv6 alone"});
        assert!(found(&health)[3].contains("node n2 is not reached: no-common-family: it has IPv6 alone"));
    }
}
