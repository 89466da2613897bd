//! Which agents run: a key with a lease each. Nothing but `cleat node ls` and `rm` looks at them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use etcd::{Kind, LeaseId, Put, Range, Span};
use serde::{Deserialize, Serialize};

use super::{Engine, Error, json};
use crate::record::LONGEST;

/// How long a key outlives its agent. Agents renew it every minute.
const TTL: Duration = Duration::from_mins(3);

/// The sign of an agent that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    /// Since when it does (RFC 3339).
    pub(crate) since: String,
}

impl Engine {
    /// The agents that run, or did within the last three minutes, by node.
    pub(crate) async fn alive(&self) -> Result<BTreeMap<String, Alive>, Error> {
        let found = self.client.list(&self.keys.all_alive()).await?;
        let read = |value: &[u8]| {
            let alive: Option<Alive> =
                if value.len() <= LONGEST { serde_json::from_slice(value).ok() } else { None };
            // Who writes nonsense is alive all the same.
            let since =
                alive.map(|alive| alive.since).filter(|since| humantime::parse_rfc3339(since).is_ok());
            Alive { since: since.unwrap_or_default() }
        };
        let alive = found.kvs.into_iter();
        Ok(alive.filter_map(|kv| Some((self.keys.alive_name(&kv.key)?, read(&kv.value)))).collect())
    }

    /// Shows that a node's agent runs. `lease` is the caller's between two calls, and `None` before the first.
    pub(crate) async fn keep_alive(&self, name: &str, lease: &mut Option<LeaseId>) -> Result<(), Error> {
        self.keep_alive_for(name, lease, TTL).await
    }

    pub(super) async fn keep_alive_for(
        &self,
        name: &str,
        lease: &mut Option<LeaseId>,
        ttl: Duration,
    ) -> Result<(), Error> {
        let key = self.keys.alive(name);
        if let Some(id) = *lease {
            match self.client.keep_alive(id).await {
                Ok(_) => {
                    let range = Range::new(Span::key(key.as_str())).keys_only();
                    let found = self.client.range(&range).await?;
                    // Somebody may have removed the node.
                    if found.kvs.first().is_some_and(|kv| kv.lease == Some(id)) {
                        return Ok(());
                    }
                }
                Err(etcd::Error { kind: Kind::LeaseGone(_), .. }) => *lease = None,
                Err(error) => return Err(error.into()),
            }
        }
        let id = match *lease {
            Some(id) => id,
            None => self.client.grant(ttl).await?.id,
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let value = json(&Alive { since: now })?;
        // An answer that was lost is no matter: the next call looks whether the key is there.
        *lease = Some(id);
        self.client.put(Put::new(key, value).lease(id)).await?;
        Ok(())
    }
}
