//! Changes of a network's records, from [`etcd::Mirror`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use etcd::Mirror;
use ipnetwork::IpNetwork;
use tokio::time::{Instant, sleep_until};

use super::keys::Key;
use super::{Engine, Error, view};
use crate::record::{Claim, Network, Record};

/// The pause before the configuration is read again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The network's configuration is new, or gone. Its ID may be that of another network.
    Config(Option<Network>),
    /// A node's record is new, or why it cannot be used.
    Node {
        /// The node.
        name: String,
        /// Its record.
        record: Result<Record, String>,
    },
    /// A watch without a gap told that a node's record was deleted.
    NodeDeleted(String),
    /// A node's record is not in a list any more. Who acts on it looks twice.
    NodeMissing(String),
    /// Whose a block is by now; `None`: nobody's.
    Claim {
        /// The block.
        block: IpNetwork,
        /// Whose it is.
        claim: Option<Claim>,
    },
    /// A key cannot be used: the configuration, a claim (the block is somebody's all the same), or a name that cannot be.
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// All of a list was told.
    Listed {
        /// Its revision.
        revision: i64,
    },
    /// After [`Change::Lost`] there is a watch again, and nothing was missed.
    Resumed,
    /// There is no watch, for this reason, which is told once.
    Lost(Error),
    /// These are other data than those before, or older ones. All of them follow.
    Reset,
}

/// A watch, which never ends.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Engine,
    mirror: Mirror,
    network: Option<Network>,
    /// The last configuration that was told, as bytes.
    config: Option<Vec<u8>>,
    /// Records that came before a configuration: what they may have is not known yet.
    early: BTreeMap<String, Vec<u8>>,
    queue: VecDeque<Change>,
    /// When the configuration is to be read: a store that was restored can look like the one before.
    due: Option<Instant>,
    /// Why it could not be read, as was told last.
    lost: Option<Error>,
}

impl Watch {
    pub(super) fn new(engine: Engine) -> Self {
        let mirror = Mirror::new(engine.client.clone(), engine.keys.records());
        let (early, queue) = (BTreeMap::new(), VecDeque::new());
        Self { engine, mirror, network: None, config: None, early, queue, due: None, lost: None }
    }

    /// Waits for the next change. If the future is dropped, no change is lost.
    pub(crate) async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return change;
            }
            if let Some(due) = self.due {
                sleep_until(due).await;
                match self.engine.client.get(self.engine.keys.config()).await {
                    Ok(kv) => {
                        (self.due, self.lost) = (None, None);
                        let value = kv.map(|kv| kv.value);
                        if value != self.config {
                            self.configured(value);
                        }
                        self.queue.push_back(Change::Resumed);
                    }
                    Err(error) => {
                        self.due = Some(Instant::now() + PAUSE);
                        let error = Some(Error::from(error));
                        if self.lost != error {
                            self.lost.clone_from(&error);
                            self.queue.extend(error.map(Change::Lost));
                        }
                    }
                }
                continue;
            }
            match self.mirror.next().await {
                etcd::Change::Put(kv) => self.put(&kv.key, kv.value),
                etcd::Change::Deleted { key, .. } => self.gone(&key, Change::NodeDeleted),
                etcd::Change::Missing { key } => self.gone(&key, Change::NodeMissing),
                etcd::Change::Listed(header) => {
                    self.queue.push_back(Change::Listed { revision: header.revision });
                }
                etcd::Change::Resumed => self.due = Some(Instant::now()),
                etcd::Change::Lost(error) => self.queue.push_back(Change::Lost(error.into())),
                etcd::Change::Reset(_) => self.queue.push_back(Change::Reset),
            }
        }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let change = match self.engine.keys.read(key) {
            Key::Config => return self.configured(Some(value)),
            Key::Block(block) => match view::claim(&value) {
                Ok(claim) => Change::Claim { block, claim: Some(claim) },
                Err(why) => Change::Unreadable { key: self.engine.keys.block(block), why },
            },
            Key::Node(name) => {
                let record = view::record(&value, self.network.as_ref());
                if self.network.is_none() {
                    self.early.insert(name.clone(), value);
                }
                Change::Node { name, record }
            }
            Key::Bad(why) => Change::Unreadable { key: key.escape_ascii().to_string(), why: why.to_owned() },
            Key::Unknown => return,
        };
        self.queue.push_back(change);
    }

    fn gone(&mut self, key: &[u8], node: impl Fn(String) -> Change) {
        match self.engine.keys.read(key) {
            Key::Config => self.configured(None),
            Key::Block(block) => self.queue.push_back(Change::Claim { block, claim: None }),
            Key::Node(name) => {
                self.early.remove(&name);
                self.queue.push_back(node(name));
            }
            Key::Bad(_) | Key::Unknown => {}
        }
    }

    fn configured(&mut self, value: Option<Vec<u8>>) {
        let network = value.as_deref().map(view::network);
        self.config = value;
        self.network = match network {
            Some(Ok(network)) => Some(network),
            Some(Err(why)) => {
                self.queue.push_back(Change::Unreadable { key: self.engine.keys.config(), why });
                None
            }
            None => {
                self.queue.push_back(Change::Config(None));
                None
            }
        };
        if let Some(network) = &self.network {
            self.queue.push_back(Change::Config(Some(network.clone())));
            for (name, value) in std::mem::take(&mut self.early) {
                let record = view::record(&value, Some(network));
                self.queue.push_back(Change::Node { name, record });
            }
        }
    }
}
