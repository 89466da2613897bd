//! What a gRPC status means: etcd tells its errors by their texts (`api/v3rpc/rpctypes/error.go`), which are the same in
//! all of 3.x.

use tonic::{Code, Status};

use crate::connection::Ended;
use crate::error::with_causes;

/// What a failed attempt at one endpoint means for the call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// There is no connection over which it could have been sent.
    Unreachable(String),
    /// The server did not execute it, and another endpoint may do it.
    NotExecuted(String),
    /// It may have been executed.
    Lost(String),
    /// The token is no longer valid; it was not executed.
    Token,
    /// It was refused, here and everywhere.
    Refused(Refusal),
}

/// Why etcd refuses a call.
#[derive(Debug)]
pub(crate) enum Refusal {
    Denied,
    Credentials,
    Compacted,
    NoSpace,
    TooLarge,
    AnswerTooLarge,
    LeaseGone,
    Other(String),
}

pub(crate) fn verdict(status: &Status) -> Verdict {
    if let Some(ended) = ended(status) {
        let why = ended.why.clone();
        return if ended.sent { Verdict::Lost(why) } else { Verdict::Unreachable(why) };
    }
    let text = status.message();
    refused(text).unwrap_or_else(|| match status.code() {
        // tonic's own, of a message beyond its limit.
        Code::OutOfRange if text.contains("decoded message length too large") => {
            Verdict::Refused(Refusal::AnswerTooLarge)
        }
        // Everything else that is not etcd's comes from a connection that broke, or a proxy.
        _ if !text.starts_with("etcdserver: ") => Verdict::Lost(broken(status)),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
            Verdict::Lost(words(text))
        }
        _ => Verdict::Refused(Refusal::Other(words(text))),
    })
}

/// The texts that have a meaning of their own. Also the reason for which a watch was canceled is one of them.
pub(crate) fn refused(text: &str) -> Option<Verdict> {
    let has = |part: &str| text.contains(part);
    Some(if has("invalid auth token") || has("auth store is old") || has("revision in header is old") {
        Verdict::Token
    } else if has("user name is empty") {
        // Nobody said who they are: with a user in the configuration, authentication was turned on since.
        Verdict::Token
    } else if has("permission denied") {
        Verdict::Refused(Refusal::Denied)
    } else if has("authentication failed") || has("user name not found") {
        Verdict::Refused(Refusal::Credentials)
    } else if has("required revision has been compacted") {
        Verdict::Refused(Refusal::Compacted)
    } else if has("database space exceeded") {
        Verdict::Refused(Refusal::NoSpace)
    } else if has("request is too large") || has("received message larger than max") {
        Verdict::Refused(Refusal::TooLarge)
    } else if has("requested lease not found") {
        Verdict::Refused(Refusal::LeaseGone)
    } else if has("no leader") {
        Verdict::NotExecuted("it has no leader: most of its peers are down, or out of its reach".to_owned())
    } else if has("proposal dropped") || has("too many requests") || has("not capable") || has("for learner")
    {
        // Refused before it was handed to the others.
        Verdict::NotExecuted(words(text))
    } else {
        return None;
    })
}

/// What is not from etcd, without tonic's form of it.
fn broken(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => with_causes(cause),
        None if status.message().is_empty() => status.code().description().to_lowercase(),
        None => status.message().to_owned(),
    }
}

fn words(text: &str) -> String {
    text.trim_start_matches("etcdserver: ").to_owned()
}

/// The end of the connection, if that is what the status is about.
fn ended(status: &Status) -> Option<&Ended> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(ended) = error.downcast_ref::<Ended>() {
            return Some(ended);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::{Refusal, Verdict, verdict};

    #[test]
    fn what_may_have_been_executed_is_lost() {
        for (code, text) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Internal, "h2 protocol error: stream reset"),
            (Code::Unknown, "what no etcd says"),
        ] {
            let verdict = verdict(&Status::new(code, text));
            assert!(matches!(verdict, Verdict::Lost(_)), "{text}: {verdict:?}");
        }
    }

    #[test]
    fn what_was_refused_before_it_was_proposed_is_not_executed() {
        for text in ["etcdserver: no leader", "raft proposal dropped", "etcdserver: too many requests"] {
            let verdict = verdict(&Status::new(Code::Unavailable, text));
            assert!(matches!(verdict, Verdict::NotExecuted(_)), "{text}: {verdict:?}");
        }
    }

    #[test]
    fn what_etcd_refuses_is_not_tried_elsewhere() {
        let verdict =
            verdict(&Status::new(Code::InvalidArgument, "etcdserver: duplicate key given in txn request"));
        assert!(matches!(&verdict, Verdict::Refused(Refusal::Other(text)) if text.starts_with("duplicate")));
    }
}
