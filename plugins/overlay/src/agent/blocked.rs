//! What a node cannot get over by itself.

use ipnetwork::IpNetwork;

use super::status::State;
use crate::engine::Taken;
use crate::record::Claim;

/// Why a task does not go on to publish; each with a sentence of the cause and the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Blocked {
    /// The engine's network is not the one of the configuration, or not the one that this node was on.
    #[error(
        "the engine's network {network} has the ID {found}, and this node belongs to {own}: it is another network, and \
         nothing of it is taken; if it is to replace the old one: cleat network join --force {network}"
    )]
    OtherId { network: String, found: String, own: String },
    /// The engine has no such network, and this node never knew it.
    #[error(
        "the engine has no network {0}; create it with cleat network create -d overlay, or look at \"endpoints\" and \"prefix\""
    )]
    NoNetwork(String),
    /// Somebody deleted it while this node was part of it.
    #[error(
        "network {0} was deleted in the engine; what is on this node stays until cleat network leave {0}"
    )]
    Deleted(String),
    /// Something on this node stands in the way.
    #[error("{0}")]
    Node(String),
    /// A block of this node is another's by now.
    #[error(
        "block {block} was given to node {holder} while this node was away: containers that are there go on, and new ones \
         have to wait until the last of them is gone, or until cleat node rm {holder}",
        holder = holder.node
    )]
    Block { block: IpNetwork, holder: Claim },
    /// No block is left.
    #[error("{0}")]
    Full(String),
    /// Another node has what can be one node's only.
    #[error("{0}")]
    Taken(Taken),
}

impl Blocked {
    /// The state that it is shown as.
    pub(super) fn state(&self) -> State {
        match self {
            Self::Block { .. } | Self::Taken(_) => State::Conflict,
            _ => State::Refused,
        }
    }

    /// Whether the engine's records are not this network's, so that none of them is acted on.
    pub(super) fn is_of_the_network(&self) -> bool {
        matches!(self, Self::OtherId { .. } | Self::NoNetwork(_) | Self::Deleted(_))
    }

    /// Whether another claim, or one less, can be the cure.
    pub(super) fn is_of_claims(&self) -> bool {
        matches!(self, Self::Block { .. } | Self::Full(_))
    }

    /// Whether a change of that node's record can be.
    pub(super) fn is_of_node(&self, name: &str, own: &str) -> bool {
        match self {
            Self::Taken(Taken::Name { .. }) => name == own,
            Self::Taken(Taken::Address { node, .. } | Taken::Mac { node } | Taken::Key { node }) => {
                node == name
            }
            _ => false,
        }
    }
}
