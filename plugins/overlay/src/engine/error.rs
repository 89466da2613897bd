//! What can go wrong with an engine, each with the cure.

/// A call of an engine that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// etcd's own, with the call, the endpoint and the cure.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// The configuration of the engine cannot be used.
    #[error("engine: {0}")]
    Conf(String),
    /// What is to be written is out of bounds.
    #[error("{0}")]
    Bad(String),
    /// A key has what cannot be read.
    #[error("{key} in etcd cannot be used: {why}; correct it, or remove it with `etcdctl del {key}`")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no network of this name.
    #[error(
        "{0} is not in etcd: there is no such network, or its data are lost; make it with `cleat network create`"
    )]
    NoNetwork(String),
    /// There is one already.
    #[error("{0} is in etcd already: join that network with `cleat network join`, or take another name")]
    Exists(String),
    /// There is no node of this name.
    #[error("no node {name}; there are: {}; see `cleat node ls`", list(.known))]
    NoNode {
        /// The name that was sought.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The node's agent was seen within the last minutes.
    #[error(
        "the agent of {0} is running: take the network off that node with `cleat network leave`, or remove it with --force"
    )]
    Alive(String),
    /// Nodes still take part.
    #[error("these nodes are still part of it: {}; let them leave (`cleat network leave`, `cleat node rm`), or use --force", list(.0))]
    HasNodes(Vec<String>),
    /// Others changed the same keys all the time.
    #[error("{0}: others changed it at the same time, again and again; try again")]
    Busy(String),
}

fn list(names: &[String]) -> String {
    const MOST: usize = 10;
    match names {
        [] => "none".to_owned(),
        names if names.len() > MOST => {
            format!("{} and {} more", names[..MOST].join(", "), names.len() - MOST)
        }
        names => names.join(", "),
    }
}

/// Counts how often a write was tried again, because its answer was lost or another was faster.
#[derive(Debug, Default)]
pub(super) struct Tries {
    lost: u32,
    raced: u32,
}

impl Tries {
    /// The answer of a write was lost. If it may be tried again, what is there is to be read first.
    pub(super) fn lost(&mut self, error: etcd::Error) -> Result<(), Error> {
        self.lost += 1;
        if matches!(error.kind, etcd::Kind::Unknown(_)) && self.lost <= 3 {
            return Ok(());
        }
        Err(error.into())
    }

    /// Another one changed what a write depends on.
    pub(super) fn raced(&mut self, what: &str) -> Result<(), Error> {
        self.raced += 1;
        if self.raced <= 100 { Ok(()) } else { Err(Error::Busy(what.to_owned())) }
    }
}
