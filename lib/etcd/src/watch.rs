//! Watches: etcd's service `Watch`, one watch a stream.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use crate::call::Call;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::{Error, Failure, Kind};
use crate::kv::{Header, KeyValue};
use crate::messages::{
    EventType, OneWatchRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::refusal;
use crate::span::Span;
use crate::status::{Refusal, Verdict, refused, verdict};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was made or changed.
    Put(KeyValue),
    /// A key was deleted, or its lease ended.
    Delete {
        /// The key.
        key: Vec<u8>,
        /// At which revision.
        revision: i64,
    },
    /// Everything up to this revision was told, also if nothing happened to the keys that are watched.
    Progress(i64),
}

impl Event {
    /// The revision up to which this tells.
    #[must_use]
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.modified,
            Self::Delete { revision, .. } | Self::Progress(revision) => *revision,
        }
    }
}

/// A watch. It ends when it is dropped, and with its first error.
#[derive(Debug)]
pub struct Watch {
    call: Call,
    endpoint: String,
    client: Client,
    index: usize,
    connection: Connection,
    header: Header,
    responses: Streaming<WatchResponse>,
    requests: mpsc::Sender<WatchRequest>,
    queue: VecDeque<Event>,
    end: Option<Error>,
    /// When the server is asked for a sign of life, or the watch given up if it was.
    due: Instant,
    asked: bool,
    silence: Duration,
    answer: Duration,
}

impl Client {
    /// Watches a span from a revision on (inclusive), or from now on.
    ///
    /// [`Kind::Compacted`] is told by the first [`Watch::next`], not here.
    pub async fn watch(&self, span: &Span, from: Option<i64>) -> Result<Watch, Error> {
        let text = format!("watch {span}");
        let call = Call { text, repeatable: true, cure: span.grant("read") };
        let create = WatchCreateRequest {
            key: span.start(),
            range_end: span.end(),
            start_revision: from.unwrap_or(0),
            progress_notify: true,
            fragment: true,
        };
        let create = WatchRequest { request_union: Some(OneWatchRequest::Create(create)) };
        self.with(&call, |session| {
            let (create, call, client) = (create.clone(), call.clone(), self.clone());
            async move {
                // One for the creation, one for a request for progress.
                let (requests, queue) = mpsc::channel(2);
                let _ = requests.try_send(create);
                let mut grpc = session.grpc().await?;
                let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
                let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
                let request = session.request(ReceiverStream::new(queue));
                let mut responses = grpc.streaming(request, path, codec).await?.into_inner();
                let first = responses.message().await?;
                let first = first.ok_or_else(|| Status::unavailable("the server ended the watch"))?;
                // etcd 3.4 tells a token that has expired as a permission that is missing (etcd#12385).
                if first.canceled && session.may_renew() && first.cancel_reason.contains("permission denied")
                {
                    return Err(Status::unauthenticated("etcdserver: invalid auth token"));
                }
                if first.canceled && first.compact_revision == 0 {
                    return Err(Status::failed_precondition(first.cancel_reason));
                }
                let timing = client.config().timing;
                let due = Instant::now() + timing.silence;
                let mut watch = Watch {
                    call,
                    endpoint: session.endpoint,
                    client,
                    index: session.index,
                    connection: session.connection,
                    header: first.header.clone().into(),
                    responses,
                    requests,
                    queue: VecDeque::new(),
                    end: None,
                    due,
                    asked: false,
                    silence: timing.silence,
                    answer: timing.answer,
                };
                if first.canceled {
                    watch.end = Some(watch.canceled(&first));
                }
                Ok(watch)
            }
        })
        .await
    }
}

impl Watch {
    /// The state when the watch began.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The next event, or why there will be none. If the future is dropped, no event is lost.
    ///
    /// All events of one revision are told one after the other. A watch that broke may have told only the first ones: who
    /// goes on, does so *from* the last revision that it saw, and passes over what it knows.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            match timeout_at(self.due, self.responses.message()).await {
                Ok(Ok(Some(response))) => self.take(response),
                Ok(Ok(None)) => self.end = Some(self.broken("the server ended it".to_owned())),
                Ok(Err(status)) => self.end = Some(self.failed(&status)),
                Err(_) if self.asked => {
                    self.end = Some(self.broken("it is silent, also when asked for progress".to_owned()));
                }
                Err(_) => {
                    // A server that has no watch any more, or hangs, does not answer; one that has nothing to tell does.
                    let request = OneWatchRequest::Progress(WatchProgressRequest {});
                    let _ = self.requests.try_send(WatchRequest { request_union: Some(request) });
                    self.asked = true;
                    self.due = Instant::now() + self.answer;
                }
            }
        }
    }

    fn take(&mut self, response: WatchResponse) {
        self.asked = false;
        self.due = Instant::now() + self.silence;
        if response.canceled {
            self.end = Some(self.canceled(&response));
            return;
        }
        // The answer to a request for progress is for watch -1, and only a sign of life: up to 3.4.24 and 3.5.7 its revision
        // may be ahead of events that are still to come (etcd#15220).
        if response.events.is_empty() && response.watch_id >= 0 {
            self.queue.push_back(Event::Progress(Header::from(response.header).revision));
        }
        for event in response.events {
            let is_delete = event.r#type() == EventType::Delete;
            let kv = event.kv.unwrap_or_default();
            self.queue.push_back(if is_delete {
                Event::Delete { key: kv.key, revision: kv.mod_revision }
            } else {
                Event::Put(kv.into())
            });
        }
    }

    fn canceled(&self, response: &WatchResponse) -> Error {
        if response.compact_revision > 0 {
            let revision = Some(response.compact_revision);
            return self.error(Kind::Compacted { endpoint: self.endpoint.clone(), revision });
        }
        match refused(&response.cancel_reason) {
            Some(Verdict::Refused(refusal)) => self.refused(refusal),
            _ => self.broken(format!("the server canceled it: {}", response.cancel_reason)),
        }
    }

    fn failed(&self, status: &Status) -> Error {
        match verdict(status) {
            Verdict::Refused(refusal) => self.refused(refusal),
            Verdict::Unreachable(why) | Verdict::NotExecuted(why) | Verdict::Lost(why) => {
                self.broken(self.connection.end().unwrap_or(why))
            }
            Verdict::Token => self.broken("its token is no longer valid".to_owned()),
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        self.error(refusal::kind(refusal, self.client.config(), self.endpoint.clone(), &self.call))
    }

    fn broken(&self, why: String) -> Error {
        self.client.leave(self.index);
        self.error(Kind::Broken(Failure { endpoint: self.endpoint.clone(), why }))
    }

    fn error(&self, kind: Kind) -> Error {
        Error { call: self.call.text.clone(), kind }
    }
}
