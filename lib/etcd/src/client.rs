//! The client: which endpoint serves a call, how long, as whom, and what may be tried again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::call::{Call, Session};
use crate::config::{Config, Timing};
use crate::connection::{Connection, connect};
use crate::error::{Error, Failure, Kind};
use crate::refusal;
use crate::status::{Verdict, verdict};
use crate::token::Tokens;

/// The pause before all endpoints are tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// A client of one cluster. Clones share its connections.
///
/// Nothing is connected before the first call. A call goes to the endpoint that served the last one; if that fails, to the
/// next, until [`Timing::call`](crate::Timing::call) has passed. What may have been executed is repeated only if this does
/// no harm.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    /// The endpoint that serves calls.
    current: AtomicUsize,
    connections: Vec<Mutex<Option<Connection>>>,
    tokens: Tokens,
}

/// How long an attempt at one endpoint may take, from its begin.
#[derive(Clone, Copy)]
struct Bounds {
    /// Until there is a connection and a token.
    ready: Duration,
    /// Until the answer is there.
    answer: Duration,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects at its first call.
    pub fn new(config: Config) -> Result<Self, Error> {
        let wrong = |text: &str| Error { call: "configuration".into(), kind: Kind::Config(text.into()) };
        if config.endpoints.is_empty() {
            return Err(wrong("no endpoints"));
        }
        let secure = config.endpoints.iter().filter(|endpoint| endpoint.secure).count();
        if secure > 0 && config.tls.is_none() {
            return Err(wrong("an https endpoint needs the CA's certificate"));
        }
        if secure < config.endpoints.len() && config.tls.is_some() {
            return Err(wrong(
                "there are certificates, but an endpoint is http, where they would not be used",
            ));
        }
        let Timing { call, connect, answer, ping, pong, silence } = config.timing;
        if [call, connect, answer, ping, pong, silence].contains(&Duration::ZERO) {
            return Err(wrong("no bound may be zero"));
        }
        let connections = config.endpoints.iter().map(|_| Mutex::default()).collect();
        let tokens = Tokens::of(config.user.clone());
        let inner = Inner { config, current: AtomicUsize::new(0), connections, tokens };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Gives up the connections that are there, and connects anew: for who knows that no answer will come on them, as after
    /// the host's address has changed. Calls under way fail as when the server ends them, and watches go on by a
    /// [`Mirror`](crate::Mirror).
    pub fn reconnect(&self) {
        for slot in &self.inner.connections {
            // Who holds the lock makes a new one already.
            if let Some(connection) = slot.try_lock().ok().and_then(|mut slot| slot.take()) {
                connection.give_up("the connection was given up".to_owned());
            }
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// A call with one request and one answer.
    pub(crate) async fn unary<Q, A>(&self, call: &Call, path: &'static str, request: Q) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.with(call, |session| {
            let request = request.clone();
            async move { session.unary(path, request).await }
        })
        .await
    }

    /// Makes an attempt at one endpoint after the other.
    pub(crate) async fn with<T, F>(&self, call: &Call, attempt: impl Fn(Session) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let fail = |kind| Error { call: call.text.clone(), kind };
        let timing = self.inner.config.timing;
        let deadline = Instant::now() + timing.call;
        let count = self.inner.config.endpoints.len();
        let mut failures: Vec<Failure> = Vec::new();
        let mut renewed = false;
        let mut answer = timing.answer;
        loop {
            let mut reached = false;
            let mut left = count;
            while left > 0 {
                let index = self.inner.current.load(Ordering::Relaxed);
                let endpoint = self.inner.config.endpoints[index].to_string();
                let remaining = deadline.saturating_duration_since(Instant::now());
                if remaining.is_zero() {
                    break;
                }
                let share = if count > 1 { remaining.min(answer) } else { remaining };
                // Who may not repeat a call waits for its answer as long as there is hope.
                let bounds = Bounds { ready: share, answer: if call.repeatable { share } else { remaining } };
                let connection = self.open_connection(index);
                // Boxed: the future of a call lies in those of all its callers.
                let verdict = match Box::pin(self.attempt(index, call, bounds, renewed, &attempt)).await {
                    Ok(value) => return Ok(value),
                    Err(verdict) => verdict,
                };
                let why = match verdict {
                    Verdict::Token if renewed || self.inner.config.user.is_none() => {
                        return Err(fail(refusal::token(&self.inner.config, endpoint)));
                    }
                    Verdict::Token => {
                        renewed = true;
                        continue;
                    }
                    Verdict::Refused(refusal) => {
                        return Err(fail(refusal::kind(refusal, &self.inner.config, endpoint, call)));
                    }
                    Verdict::Lost(why) if !call.repeatable => {
                        self.leave(index);
                        return Err(fail(Kind::Unknown(Failure { endpoint, why })));
                    }
                    Verdict::Lost(why) | Verdict::NotExecuted(why) => {
                        reached = true;
                        why
                    }
                    // It ended while nobody looked, so the next attempt makes a new one.
                    Verdict::Unreachable(_) if connection.is_some_and(|old| old.is_closed()) => continue,
                    Verdict::Unreachable(why) => why,
                };
                self.leave(index);
                left -= 1;
                failures.retain(|failure| failure.endpoint != endpoint);
                failures.push(Failure { endpoint, why });
            }
            // Endpoints that nobody can connect to will not be there in a moment; members without a leader may find one.
            if !reached || Instant::now() + PAUSE >= deadline {
                // In a fixed order, so that the same trouble is the same error.
                failures.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
                return Err(fail(Kind::Unreachable(failures)));
            }
            sleep(PAUSE).await;
            answer *= 2;
        }
    }

    async fn attempt<T, F>(
        &self,
        index: usize,
        call: &Call,
        bounds: Bounds,
        renewed: bool,
        attempt: impl Fn(Session) -> F,
    ) -> Result<T, Verdict>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let start = Instant::now();
        let connection = timeout_at(start + bounds.ready, self.connection(index)).await;
        let late = || Verdict::Unreachable(silent(bounds.ready));
        let connection = connection.map_err(|_| late())?.map_err(Verdict::Unreachable)?;
        let endpoint = self.inner.config.endpoints[index].to_string();
        let bound = bounds.ready.saturating_sub(start.elapsed());
        let mut session =
            Session { connection: connection.clone(), index, endpoint, bound, token: None, renewed };
        let token = timeout_at(start + bounds.ready, self.inner.tokens.get(&session)).await;
        session.token = token.map_err(|_| late())??;
        session.bound = bounds.answer.saturating_sub(start.elapsed());
        if session.bound.is_zero() {
            return Err(late());
        }
        let used = session.token.clone();
        let verdict = match timeout_at(start + bounds.answer, attempt(session)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => match verdict(&status) {
                // The connection knows more than the answer that did not come.
                Verdict::Lost(why) => {
                    let why = connection.end().unwrap_or(why);
                    // Who closes without a word will not have more to say in a moment.
                    let is_given_up = call.repeatable && connection.is_mute();
                    if is_given_up { Verdict::Unreachable(why) } else { Verdict::Lost(why) }
                }
                verdict => verdict,
            },
            Err(_) => {
                // A watch on this connection is told nothing either, and goes on elsewhere.
                self.forget(index, &connection);
                connection.give_up(silent(bounds.answer));
                Verdict::Lost(silent(bounds.answer))
            }
        };
        if matches!(verdict, Verdict::Token) {
            self.inner.tokens.forget(used.as_ref()).await;
        }
        Err(verdict)
    }

    /// The connection to an endpoint, made if there is none. Calls that come meanwhile wait for it.
    async fn connection(&self, index: usize) -> Result<Connection, String> {
        let mut slot = self.inner.connections[index].lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        *slot = None;
        let connection = connect(&self.inner.config.endpoints[index], &self.inner.config).await?;
        Ok(slot.insert(connection).clone())
    }

    /// The connection that a call would use, if there is one and nobody is making a new one.
    fn open_connection(&self, index: usize) -> Option<Connection> {
        let slot = self.inner.connections[index].try_lock().ok()?;
        slot.clone().filter(|connection| !connection.is_closed())
    }

    fn forget(&self, index: usize, used: &Connection) {
        // Who holds the lock makes a new one already.
        if let Ok(mut slot) = self.inner.connections[index].try_lock()
            && slot.as_ref().is_some_and(|connection| connection.is_same(used))
        {
            *slot = None;
        }
    }

    /// The next call goes to the endpoint after this one, unless another call has moved on already.
    pub(crate) fn leave(&self, index: usize) {
        let next = (index + 1) % self.inner.connections.len();
        let _ = self.inner.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn silent(bound: Duration) -> String {
    format!("no answer within {} s", bound.as_secs_f32().round().max(1.0))
}
