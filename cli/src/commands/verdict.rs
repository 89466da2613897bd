//! What `cleat check` and `cleat repair` say of one attachment.

use anstyle::Style;
use cni::Attachment;
use serde_json::{Value, json};

use crate::inventory::Attached;
use crate::output::{BAD, Cell, FAINT, GOOD};

/// The state of an attachment, as a word and its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(&'static str, Style);

/// It is as it was set up.
pub(super) const OK: State = State("ok", GOOD);
/// It differed, and is now as it was set up.
pub(super) const REPAIRED: State = State("repaired", GOOD);
/// It differs.
pub(super) const BROKEN: State = State("broken", BAD);
/// The container has gone without its attachment being removed.
pub(super) const GONE: State = State("gone", FAINT);
/// There is nothing to compare it with.
pub(super) const UNKNOWN: State = State("unknown", FAINT);

impl State {
    /// The word.
    pub(super) fn word(self) -> &'static str {
        self.0
    }

    /// The word in its colour, as a cell of a table.
    pub(super) fn cell(self) -> Cell {
        Cell::styled(self.0, self.1)
    }
}

/// An attachment with its state, and the reason for it.
pub(super) struct Verdict<'a> {
    pub(super) attached: &'a Attached,
    pub(super) state: State,
    pub(super) why: String,
}

impl Verdict<'_> {
    /// The state as a cell of a table.
    pub(super) fn cell(&self) -> Cell {
        self.state.cell()
    }

    /// All of it as JSON.
    pub(super) fn object(&self) -> Value {
        let Attachment { network, container_id, ifname } = &self.attached.attachment;
        json!({"network": network.as_str(), "id": container_id.as_str(), "name": self.attached.name(),
            "namespace": self.attached.namespace, "interface": ifname.as_str(), "state": self.state.word(),
            "why": self.why})
    }
}
