//! What plugins are called with, for one attachment.

use std::path::PathBuf;

use cni::cache::Entry;
use cni::{Attachment, Command, NetworkList, Parameters};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::place::Place;

/// What plugins are called with to make, compare or remove an attachment.
#[derive(Clone, Debug)]
pub(crate) struct Making {
    /// The network.
    pub(crate) list: NetworkList,
    /// The container's namespace; empty where it has gone or is not known.
    pub(crate) netns: PathBuf,
    /// `CNI_ARGS` as pairs.
    pub(crate) args: Vec<(String, String)>,
    /// Values by capability.
    pub(crate) capabilities: Map<String, Value>,
}

impl Making {
    /// What an attachment was made with, from its cache entry, even if the network's file has changed since.
    pub(crate) fn of(entry: Entry) -> Result<Self, Error> {
        let netns = Place::of(&entry, None).certain().to_owned();
        Self::within(entry, netns)
    }

    /// As [`of`](Self::of), for a namespace that is known already.
    pub(crate) fn within(entry: Entry, netns: PathBuf) -> Result<Self, Error> {
        let doing = format!("read the kept configuration of network {}", entry.network);
        Ok(Self {
            list: NetworkList::from_slice(&entry.config).map_err(Error::contract(doing))?,
            netns,
            args: entry.args.unwrap_or_default(),
            capabilities: entry.capability_args.unwrap_or_default(),
        })
    }

    /// Fails where its network has no CHECK, with the reason.
    pub(crate) fn expect_check(&self) -> Result<(), &'static str> {
        if self.list.disable_check {
            return Err("its network asks not to be checked");
        }
        if self.list.version < Command::Check.since() {
            return Err("CHECK came with version 0.4.0");
        }
        Ok(())
    }

    /// The parameters of a call about an attachment.
    pub(crate) fn parameters<'a>(&'a self, attachment: &'a Attachment) -> Parameters<'a> {
        Parameters { attachment, netns: &self.netns, args: &self.args, capabilities: &self.capabilities }
    }
}
