//! The engine of a network: the store that its nodes share, which is etcd.
//!
//! Nothing that is read from it is trusted: see [`crate::record`]. A write whose answer was lost is read back before it is
//! tried again.

mod claim;
pub(crate) mod commands;
mod error;
mod keys;
mod leave;
mod life;
mod publish;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use cni::NetworkName;
use etcd::{Client, Condition, Config, Endpoint, Identity, Operation, Put, Timing, Tls, Txn, User};

use crate::conf;
use crate::record::{Network, Record};
use error::Tries;
use keys::Keys;
use view::View;

pub(crate) use claim::{Claimed, full};
pub(crate) use error::Error;
pub(crate) use leave::Removed;
pub(crate) use publish::{Published, Taken};
pub(crate) use watch::{Change, Watch};

/// The timing of an agent, which wakes up once a minute while nothing happens. Its sign of life is a call of every minute: an
/// endpoint that does not answer it is given up, with the watch on it, so that no ping is needed. etcd tells of progress every
/// ten minutes.
const AGENT: Timing = Timing {
    call: Duration::from_secs(10),
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(3),
    ping: Duration::from_hours(1),
    pong: Duration::from_secs(5),
    silence: Duration::from_mins(11),
};

/// The engine of one network. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    client: Client,
    keys: Keys,
    network: NetworkName,
}

/// The records of a network, all of one revision.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// The network's ID, also where the rest of its configuration cannot be read.
    pub(crate) id: Option<String>,
    /// The network, if it is there and can be read.
    pub(crate) network: Option<Network>,
    /// The revision of the store.
    pub(crate) revision: i64,
    /// The nodes by name.
    pub(crate) nodes: BTreeMap<String, Record>,
    /// Keys that cannot be used, and why.
    pub(crate) unreadable: Vec<(String, String)>,
}

impl Engine {
    /// The engine of an agent. Nothing is connected yet.
    pub(crate) fn new(conf: &conf::Engine, network: &NetworkName) -> Result<Self, Error> {
        Self::with_timing(conf, network, AGENT)
    }

    /// Gives up the connections that are there: this node has another address by now, at which no answer to them arrives.
    pub(crate) fn reconnect(&self) {
        self.client.reconnect();
    }

    /// The engine of a command that somebody waits for.
    pub(crate) fn for_command(conf: &conf::Engine, network: &NetworkName) -> Result<Self, Error> {
        Self::with_timing(conf, network, Timing::default())
    }

    fn with_timing(conf: &conf::Engine, network: &NetworkName, timing: Timing) -> Result<Self, Error> {
        let conf::Engine::Etcd(conf) = conf;
        let client = Client::new(config(conf, timing)?)?;
        let keys = Keys::new(conf.prefix.as_deref(), network)?;
        Ok(Self { client, keys, network: network.clone() })
    }

    /// The network's configuration, or `None` if there is none. One that cannot be read is an error.
    pub(crate) async fn network(&self) -> Result<Option<Network>, Error> {
        let Some(kv) = self.client.get(self.keys.config()).await? else { return Ok(None) };
        let network = view::network(&kv.value);
        network.map(Some).map_err(|why| Error::Unreadable { key: self.keys.config(), why })
    }

    /// Makes the network, and returns whether it did: otherwise there is one of this name already.
    pub(crate) async fn create(&self, network: &Network) -> Result<bool, Error> {
        network.check().map_err(Error::Bad)?;
        let (key, value) = (self.keys.config(), json(network)?);
        let mut tries = Tries::default();
        loop {
            let put = Operation::Put(Put::new(key.as_str(), value.as_slice()));
            let txn = Txn::new().when(Condition::absent(key.as_str())).then(put);
            match self.client.txn(txn).await {
                Ok(outcome) => return Ok(outcome.succeeded),
                Err(error) => tries.lost(error)?,
            }
            // Its ID tells this network from another one that was made meanwhile.
            if let Some(kv) = self.client.get(key.as_str()).await? {
                return Ok(kv.value == value);
            }
        }
    }

    /// All records of the network.
    pub(crate) async fn nodes(&self) -> Result<Listing, Error> {
        let mut view = self.view().await?;
        let network = view.network().cloned();
        let mut unreadable = std::mem::take(&mut view.bad);
        let id = view.config.as_ref().and_then(|config| view::id(&config.raw));
        if let Some(Err(why)) = view.config.map(|config| config.value) {
            unreadable.push((self.keys.config(), why));
        }
        for (block, held) in view.claims {
            if let Err(why) = held.value {
                unreadable.push((self.keys.block(block), why));
            }
        }
        let mut nodes = BTreeMap::new();
        for (name, held) in view.nodes {
            match held.value {
                Ok(record) => drop(nodes.insert(name, record)),
                Err(why) => unreadable.push((self.keys.node(&name), why)),
            }
        }
        Ok(Listing { id, network, revision: view.revision, nodes, unreadable })
    }

    /// Tells all changes of the records from now on, after those that are there.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    async fn view(&self) -> Result<View, Error> {
        Ok(View::of(&self.keys, self.client.list(&self.keys.records()).await?))
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Bad(error.to_string()))
}

fn config(conf: &conf::Etcd, timing: Timing) -> Result<Config, Error> {
    let wrong = |text: &str| Error::Conf(text.to_owned());
    let endpoints: Result<Vec<Endpoint>, _> = conf.endpoints.iter().map(|text| text.parse()).collect();
    let endpoints = endpoints.map_err(|error: etcd::BadEndpoint| Error::Conf(error.to_string()))?;
    let client = match (&conf.cert, &conf.key) {
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate: certificate.clone(), key: key.clone() })
        }
        (None, None) => None,
        _ => return Err(wrong("a certificate and its key belong together: \"cert\" and \"key\"")),
    };
    let tls = match &conf.ca {
        Some(ca) => Some(Tls { ca: ca.clone(), client }),
        None if client.is_some() => return Err(wrong("a certificate needs the CA's as well: \"ca\"")),
        None => None,
    };
    let user = match (&conf.user, &conf.password_file) {
        (Some(name), Some(file)) => Some(User { name: name.clone(), password_file: file.clone() }),
        (None, None) => None,
        _ => return Err(wrong("a user and its password belong together: \"user\" and \"passwordFile\"")),
    };
    Ok(Config { endpoints, tls, user, timing })
}

#[cfg(test)]
mod tests;
