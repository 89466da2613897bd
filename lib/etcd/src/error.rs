//! What can go wrong, each with the call, the endpoint, and what to do about it.

use std::fmt;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcd: {call}: {kind}")]
pub struct Error {
    /// What was asked for, as `put /a/b`.
    pub call: String,
    /// Why it failed.
    pub kind: Kind,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    /// The client cannot be used as it was configured.
    #[error("{0}")]
    Config(String),
    /// No endpoint could serve the call; it was not executed.
    #[error("no endpoint could serve it: {}", list(.0))]
    Unreachable(Vec<Failure>),
    /// A write was sent, and its answer was lost: whether it was executed is not known.
    #[error(
        "it is unknown whether this was executed, for the answer was lost: {0}; read it back before writing again"
    )]
    Unknown(Failure),
    /// A watch ended. The one who watches goes on from the last revision, or leaves that to a [`Mirror`](crate::Mirror).
    #[error("the watch broke: {0}")]
    Broken(Failure),
    /// The role does not suffice.
    #[error("{endpoint}: permission denied for {user}; as root: {cure}")]
    Denied {
        /// The endpoint that refused.
        endpoint: String,
        /// The user, or whose certificate it was.
        user: String,
        /// The command that would allow it.
        cure: String,
    },
    /// The user or the password is wrong, or missing.
    #[error("{endpoint}: {why}")]
    Credentials {
        /// The endpoint that refused.
        endpoint: String,
        /// What was refused, and the cure.
        why: String,
    },
    /// The revision is gone: list again, and watch from there.
    #[error("{endpoint}: the revision was compacted{}; list again", at(.revision.as_ref()))]
    Compacted {
        /// The endpoint that refused.
        endpoint: String,
        /// The oldest revision that can be watched; a range does not tell it.
        revision: Option<i64>,
    },
    /// The database has reached its quota, and takes only deletions.
    #[error(
        "{0}: the database is full (NOSPACE); compact and defragment it (etcdctl compaction, etcdctl defrag), \
         then etcdctl alarm disarm"
    )]
    NoSpace(String),
    /// More bytes than the server takes in one request.
    #[error("{0}: the request is larger than the server takes (--max-request-bytes, 1.5 MiB unless set)")]
    TooLarge(String),
    /// The answer has more bytes than this client takes.
    #[error("{0}: the answer is too large; ask for fewer keys at once")]
    AnswerTooLarge(String),
    /// The lease has expired or was revoked; its keys are gone.
    #[error("{0}: the lease is gone, and its keys with it; grant a new one")]
    LeaseGone(String),
    /// Anything else that etcd refuses, in its own words.
    #[error("{0}: refused: {1}")]
    Refused(String, String),
}

/// What one endpoint did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The endpoint.
    pub endpoint: String,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.endpoint, self.why)
    }
}

fn list(failures: &[Failure]) -> String {
    failures.iter().map(Failure::to_string).collect::<Vec<_>>().join("; ")
}

fn at(revision: Option<&i64>) -> String {
    revision.map(|revision| format!(", and the oldest one left is {revision}")).unwrap_or_default()
}

/// An error with all its causes. Those that repeat what the one above says are left out.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
