//! What the health server sees of the networks' tasks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cni::NetworkName;
use tokio::sync::{mpsc, watch};

use crate::agent::{Command, Status};

/// Every network of this node: those with a task, and those whose file is of no use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Rc<RefCell<BTreeMap<NetworkName, Entry>>>);

/// A network.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It has a task.
    Running {
        /// How it is.
        status: watch::Receiver<Status>,
        /// To its task.
        commands: mpsc::Sender<Command>,
    },
    /// It has none.
    Refused(Box<Status>),
}

/// Why a command was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unable {
    /// There is no such network, or it has no task.
    Unknown,
    /// Its task is behind with earlier ones.
    Busy,
}

impl Board {
    /// Puts a network there, or in the place of its earlier entry.
    pub(crate) fn put(&self, network: NetworkName, entry: Entry) {
        self.0.borrow_mut().insert(network, entry);
    }

    /// Takes a network off.
    pub(crate) fn take(&self, network: &NetworkName) {
        self.0.borrow_mut().remove(network);
    }

    /// Keeps only some networks.
    pub(crate) fn retain(&self, keep: impl Fn(&NetworkName) -> bool) {
        self.0.borrow_mut().retain(|network, _| keep(network));
    }

    /// How all networks are, by name.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.map(Clone::clone)
    }

    /// A value of each network, by name. Unlike [`Board::statuses`] it copies no thousand peers.
    pub(crate) fn map<T>(&self, of: impl Fn(&Status) -> T) -> Vec<T> {
        self.0.borrow().values().map(|entry| entry.of(&of)).collect()
    }

    /// A value of a network, without a copy of its peers.
    pub(crate) fn of<T>(&self, network: &NetworkName, value: impl FnOnce(&Status) -> T) -> Option<T> {
        self.0.borrow().get(network).map(|entry| entry.of(value))
    }

    /// Asks a network's task for something.
    pub(crate) fn command(&self, network: &NetworkName, command: Command) -> Result<(), Unable> {
        match self.0.borrow().get(network) {
            Some(Entry::Running { commands, .. }) => commands.try_send(command).map_err(|_| Unable::Busy),
            _ => Err(Unable::Unknown),
        }
    }
}

impl Entry {
    fn of<T>(&self, value: impl FnOnce(&Status) -> T) -> T {
        match self {
            Self::Running { status, .. } => value(&status.borrow()),
            Self::Refused(status) => value(status),
        }
    }
}
