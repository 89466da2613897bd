//! The errors of this plugin, and their codes in the CNI specification.

use std::io;

use cni::Code;

/// A failure of the link-env plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is invalid.
    #[error("{problem}")]
    Config {
        /// What is wrong, with the value.
        problem: String,
        /// The rule that it violates, or what to write instead.
        cure: &'static str,
    },
    /// Another container of the network has the name.
    #[error("name {name:?} on network {network} is in use by container {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// The network.
        network: String,
        /// The ID of the container that has it.
        holder: String,
    },
    /// A link's source is no member of the network.
    #[error("cannot link to a non running container: {source_name} AS /{recipient}/{alias}")]
    NotRunning {
        /// The source as it was given.
        source_name: String,
        /// The name of the container that wants the link.
        recipient: String,
        /// The alias.
        alias: String,
        /// The network on which the source was looked for.
        network: String,
    },
    /// A link's source is a member of other networks only.
    #[error("cannot link to {source_name}, as it does not belong to network {network}")]
    ElsewhereOnly {
        /// The source as it was given.
        source_name: String,
        /// The network on which it was looked for.
        network: String,
        /// The network that it is on.
        other: String,
    },
    /// A member says more, or is given more, than it may (see `bounds`).
    #[error("{whose}: {found} {what}, more than {most}")]
    TooMuch {
        /// The key that says it, or the link that gives it.
        whose: String,
        /// How many there are.
        found: usize,
        /// What was counted.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A link leads to another namespace, where no member of that name allows it; perhaps there is none.
    #[error(
        "cannot link to {source_name}: nobody of that name on network {network} allows namespace {namespace}"
    )]
    NotAllowed {
        /// The source as it was given.
        source_name: String,
        /// The network on which it was looked for.
        network: String,
        /// The namespace of the container that wants the link.
        namespace: String,
    },
    /// A variable is longer than exec(2) takes.
    #[error("variable {name} of the link to {source_name} takes {length} bytes, more than {limit}")]
    VariableTooLong {
        /// The variable's name.
        name: String,
        /// The name of the source.
        source_name: String,
        /// The length of `name=value`.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// CHECK found a difference.
    #[error("{0}")]
    Differs(String),
    /// The registry could not be read or written.
    #[error("{0}")]
    Registry(#[from] registry::Error),
    /// The state folder cannot be used now.
    #[error("{0}")]
    NotAvailable(#[source] registry::Error),
    /// Other processes changed the same elements at every attempt.
    #[error("{0}")]
    Contended(#[from] nftables::ledger::Contended),
    /// A transaction of packet filter elements failed.
    #[error("{0}")]
    Nftables(#[from] nftables::Error),
    /// An error of the library for the CNI contract.
    #[error("{0}")]
    Contract(#[from] cni::Error),
    /// An ADD failed, and so did undoing it.
    #[error("{failure}; undo it: {undo}")]
    Undo {
        /// Why ADD failed.
        #[source]
        failure: Box<Self>,
        /// What could not be undone.
        undo: Box<Self>,
    },
}

impl Error {
    /// All failures of a removal, which goes on past each of them, as one.
    pub(crate) fn all(outcomes: impl IntoIterator<Item = Result<(), Self>>) -> Result<(), Self> {
        let failures = outcomes.into_iter().filter_map(Result::err).map(cni::Error::from);
        Ok(cni::Error::all(failures.collect())?)
    }

    /// Whether there was no room on a file system.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Registry(registry::Error::Io { source, .. }) => source.kind() == io::ErrorKind::StorageFull,
            Self::Undo { failure, .. } => failure.is_full(),
            _ => false,
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Contract(error) => error,
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, message).details(cure),
            Error::NameTaken { .. } => {
                Self::new(Code::InUse, message).details("choose another name, or remove that container first")
            }
            Error::NotRunning { network, .. } => Self::new(Code::InvalidConfig, message)
                .details(format!("start it on network {network} first, or set \"waitForLinks\": true")),
            Error::ElsewhereOnly { other, network, .. } => Self::new(Code::InvalidConfig, message)
                .details(format!("it is on network {other}: connect both to {network}")),
            Error::TooMuch { .. } => Self::new(Code::InvalidConfig, message)
                .details("a container has bounds, which README lists under Limits: say less there"),
            Error::NotAllowed { namespace, .. } => Self::new(Code::InvalidConfig, message).details(format!(
                "its pod has to run with the annotation link-env.cni/allow-from: \"{namespace}\", or set \"waitForLinks\": true"
            )),
            Error::VariableTooLong { .. } => {
                Self::new(Code::InvalidConfig, message).details("shorten the variable of the source")
            }
            Error::Differs(_) => Self::new(Code::CheckFailed, message),
            Error::Contended(_) => Self::new(Code::TryAgain, message).details("try again"),
            Error::Nftables(error) if error.is_restart() => {
                Self::new(Code::TryAgain, message).details("the ruleset kept changing: try again")
            }
            Error::Nftables(_) => Self::new(Code::Kernel, message),
            Error::Registry(error) => Self::new(code(&error), message).details(cure(&error)),
            Error::NotAvailable(error) => Self::new(Code::NotAvailable, message).details(cure(&error)),
            Error::Undo { failure, undo } => {
                let both = vec![Self::from(*failure), Self::from(*undo).within("undo it")];
                Self::all(both).err().unwrap_or_else(|| Self::new(Code::Internal, message))
            }
        }
    }
}

fn code(error: &registry::Error) -> Code {
    match error {
        registry::Error::Untrusted { .. } => Code::InvalidConfig,
        registry::Error::Io { source, .. } if is_busy(source) => Code::TryAgain,
        registry::Error::Lock(lock::Error::Busy(_)) => Code::TryAgain,
        _ => Code::Io,
    }
}

/// Whether a retry may succeed.
fn is_busy(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, ResourceBusy, WouldBlock};
    matches!(error.kind(), Interrupted | ResourceBusy | WouldBlock)
}

fn cure(error: &registry::Error) -> String {
    let cure = match error {
        registry::Error::Lock(lock::Error::Busy(busy)) => return busy.cure(),
        registry::Error::Io { source, .. } if is_busy(source) => "try again",
        registry::Error::Decode { .. } => {
            "the file is damaged: the same ADD again writes it anew, as cleat repair does"
        }
        _ => "",
    };
    cure.to_owned()
}
