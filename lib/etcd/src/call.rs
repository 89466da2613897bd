//! A call, and what it has at one endpoint: a connection, and who asks.

use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::connection::Connection;

/// More than one page of any list that this crate asks for, unless values are huge.
const LARGEST_ANSWER: usize = 16 << 20;

/// A call: what it is in errors, and whether it may be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) text: String,
    /// Sending it twice does the same as sending it once.
    pub(crate) repeatable: bool,
    /// What gives a role the right to it.
    pub(crate) cure: String,
}

/// What a call uses at one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// Which endpoint it is.
    pub(crate) index: usize,
    pub(crate) endpoint: String,
    /// How long it may take.
    pub(crate) bound: Duration,
    pub(crate) token: Option<MetadataValue<Ascii>>,
    /// Whether the token was asked for within this call.
    pub(crate) renewed: bool,
}

impl Session {
    /// The client of gRPC, once the connection takes a request.
    pub(crate) async fn grpc(&self) -> Result<Grpc<Connection>, Status> {
        let grpc = Grpc::with_origin(self.connection.clone(), self.connection.origin.clone());
        let mut grpc = grpc.max_decoding_message_size(LARGEST_ANSWER);
        grpc.ready().await.map_err(|ended| Status::from_error(Box::new(ended)))?;
        Ok(grpc)
    }

    /// A request with what etcd reads from its head: who asks, and that a member without leader is to refuse at once.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// One request and one answer.
    pub(crate) async fn unary<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = self.request(message);
        // The server gives up as well.
        request.set_timeout(self.bound);
        let codec = ProstCodec::<Q, A>::default();
        let answer = self.grpc().await?.unary(request, PathAndQuery::from_static(path), codec).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Whether a refusal may be due to a token that has expired.
    pub(crate) fn may_renew(&self) -> bool {
        self.token.is_some() && !self.renewed
    }
}
