//! What `cleat check` tells of an attachment that is well, on a network that shares its subnet with another link of the
//! host.

use std::collections::HashMap;

use bridge::Bridge;
use cni::{Plugin, case_blind};
use serde_json::Value;

use crate::inventory::Attached;
use crate::runtime::{Making, Runtime};

/// The clashes of networks, each asked for once.
#[derive(Debug, Default)]
pub(super) struct Clashes(HashMap<String, Option<String>>);

impl Clashes {
    /// Names the link whose addresses the network's are as well; `None` where there is none, or nothing can be told.
    pub(super) fn note(&mut self, runtime: &Runtime<'_>, attached: &Attached) -> Option<String> {
        let network = attached.attachment.network.as_str();
        if !self.0.contains_key(network) {
            self.0.insert(network.to_owned(), ask(runtime, attached));
        }
        self.0.get(network).cloned().flatten()
    }
}

fn ask(runtime: &Runtime<'_>, attached: &Attached) -> Option<String> {
    let making = Making::of(attached.entry.clone()?).ok()?;
    let first = making.list.plugins.first().and_then(|plugin| case_blind::get(plugin, "type"));
    if first.and_then(Value::as_str) != Some(Bridge::NAME) {
        return None;
    }
    let parameters = making.parameters(&attached.attachment);
    let (request, _) = runtime.chain(&making.list).request(0, &parameters).ok()?;
    bridge::clash(&request).ok().flatten()
}
