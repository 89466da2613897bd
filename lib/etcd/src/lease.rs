//! Leases: etcd's service `Lease`. The keys that were put with a lease go when it does.

use std::fmt;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::messages::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRequest, LeaseRevokeResponse,
};

/// The name of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    /// As `etcdctl lease list` writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives if it is not kept alive. The server may make it longer than it was asked for.
    pub ttl: Duration,
}

impl Client {
    /// Gets a lease. The server counts in whole seconds, and has a least time of about two.
    ///
    /// If an answer is lost this is tried again: a lease that nobody knows of expires.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let call = lease_call(format!("grant a lease of {} s", ttl.as_secs()));
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let request = LeaseGrantRequest { ttl };
        let answer: LeaseGrantResponse = self.unary(&call, "/etcdserverpb.Lease/LeaseGrant", request).await?;
        Ok(Lease { id: LeaseId(answer.id), ttl: seconds(answer.ttl) })
    }

    /// Begins a lease's time again, and returns how long it lives now. [`Kind::LeaseGone`] if there is none.
    ///
    /// Calling this three times within [`Lease::ttl`] survives the loss of a member.
    pub async fn keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        let call = lease_call(format!("keep lease {id} alive"));
        let (endpoint, answer) = self
            .with(&call, |session| async move {
                let requests = tokio_stream::once(LeaseRequest { id: id.0 });
                let mut grpc = session.grpc().await?;
                let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
                let codec = ProstCodec::<LeaseRequest, LeaseKeepAliveResponse>::default();
                let answer = grpc.client_streaming(session.request(requests), path, codec).await?;
                Ok((session.endpoint, answer.into_inner()))
            })
            .await?;
        if answer.ttl <= 0 {
            return Err(Error { call: call.text, kind: Kind::LeaseGone(endpoint) });
        }
        Ok(seconds(answer.ttl))
    }

    /// Ends a lease, and with it its keys. One that is gone already is no error.
    pub async fn revoke(&self, id: LeaseId) -> Result<(), Error> {
        let call = lease_call(format!("revoke lease {id}"));
        let request = LeaseRequest { id: id.0 };
        match self.unary(&call, "/etcdserverpb.Lease/LeaseRevoke", request).await {
            Ok(LeaseRevokeResponse {}) | Err(Error { kind: Kind::LeaseGone(_), .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn lease_call(text: String) -> Call {
    let cure = "etcdctl role grant-permission ROLE write on every key that has this lease".to_owned();
    Call { text, repeatable: true, cure }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
