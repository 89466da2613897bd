//! One HTTP/2 connection to one endpoint. It is never renewed behind the caller's back, and tells whether a request that
//! failed had been sent: what was not may be given to another endpoint.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream as Socket};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::http::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls;
use tonic::body::Body;
use tonic::client::GrpcService;

use crate::config::{Config, Endpoint, Timing, Tls};
use crate::error::with_causes;
use crate::last_words::LastWords;
use crate::tls;

/// What a frame of HTTP/2 has at least. Who says less does not speak it.
const FRAME: usize = 9;

/// A connection; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Body>,
    pub(crate) origin: Uri,
    /// Why it ended, as the task that drives it found.
    end: Arc<OnceLock<Ended>>,
    heard: Arc<AtomicUsize>,
    socket: Arc<Socket>,
}

/// A request that got no answer, because the connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Ended {
    /// Whether the server may have got the request.
    pub(crate) sent: bool,
    pub(crate) why: String,
}

/// Connects, within the time that the configuration allows.
pub(crate) async fn connect(endpoint: &Endpoint, config: &Config) -> Result<Connection, String> {
    let Timing { connect, .. } = config.timing;
    let late = |_| format!("no connection within {connect:?}: it is down, or a firewall drops the packets");
    timeout(connect, establish(endpoint, config)).await.map_err(late)?
}

async fn establish(endpoint: &Endpoint, config: &Config) -> Result<Connection, String> {
    let stream = tcp(endpoint, config.timing.connect).await?;
    let socket = Arc::new(stream.socket().map_err(|error| plain(&error))?);
    let way = Way { endpoint: endpoint.clone(), tls: config.tls.clone(), heard: stream.heard(), socket };
    let Some(tls) = config.tls.as_ref().filter(|_| endpoint.secure) else {
        return http2(stream, way, config.timing).await;
    };
    let name =
        rustls::pki_types::ServerName::try_from(endpoint.host.clone()).map_err(|error| error.to_string())?;
    let stream = tls::connector(tls)?.connect(name, stream).await.map_err(|error| way.end(&error).why)?;
    http2(stream, way, config.timing).await
}

/// Tries all addresses of a name; each gets an even share of the time, for one may drop what it is sent.
async fn tcp(endpoint: &Endpoint, bound: Duration) -> Result<LastWords, String> {
    let host = endpoint.host.as_str();
    let found = tokio::net::lookup_host((host, endpoint.port)).await;
    let found = found.map_err(|error| format!("look up {host}: {error}"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let share = bound / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = format!("{host} has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one small write that waits for its answer.
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(LastWords::of(stream));
            }
            Ok(Err(error)) => last = plain(&error),
            Err(_) => last = "no answer to a connection: it is down, or a firewall drops the packets".into(),
        }
    }
    Err(last)
}

async fn http2<S>(stream: S, way: Way, timing: Timing) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(timing.ping)
        .keep_alive_timeout(timing.pong)
        // etcd ends a connection that pings while it has no call (PermitWithoutStream).
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| way.end(&error).why)?;
    let end = Arc::new(OnceLock::new());
    let noted = end.clone();
    let (origin, heard, socket) = (way.endpoint.origin.clone(), way.heard.clone(), way.socket.clone());
    // It ends when the connection does, or when the last clone of the sender is dropped.
    tokio::spawn(async move {
        let ended = match driver.await {
            Ok(()) => Ended { sent: true, why: "the server closed the connection".to_owned() },
            Err(error) => way.end(&error),
        };
        let _ = noted.set(ended);
    });
    Ok(Connection { sender, origin, end, heard, socket })
}

impl Connection {
    /// Whether a new request would fail at once.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the other side has not said as much as a frame of HTTP/2.
    pub(crate) fn is_mute(&self) -> bool {
        self.heard.load(Ordering::Relaxed) < FRAME
    }

    /// Why it ended, if it did.
    pub(crate) fn end(&self) -> Option<String> {
        self.end.get().map(|ended| ended.why.clone())
    }

    /// Ends it for that reason, and with it all that waits for an answer.
    pub(crate) fn give_up(&self, why: String) {
        let _ = self.end.set(Ended { sent: true, why });
        // Requests that wait for an answer outlive all but this.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Whether both are clones of one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.end, &other.end)
    }
}

impl GrpcService<Body> for Connection {
    type ResponseBody = Incoming;
    type Error = Ended;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Ended>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let end = &self.end;
        self.sender.poll_ready(context).map_err(|error| Ended { sent: false, why: why(end, &error) })
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.sender.try_send_request(request);
        let end = self.end.clone();
        Box::pin(async move {
            answer.await.map_err(|mut error| {
                // hyper gives the request back if nothing of it was sent.
                let returned = error.take_message().is_some();
                let refused = end.get().is_some_and(|end| !end.sent);
                Ended { sent: !returned && !refused, why: why(&end, error.error()) }
            })
        })
    }
}

/// Of the reason for which the connection ended and the request's own error, the first says more.
fn why(end: &OnceLock<Ended>, error: &hyper::Error) -> String {
    end.get().map_or_else(|| with_causes(error), |end| end.why.clone())
}

/// What is known of a connection when it ends.
struct Way {
    endpoint: Endpoint,
    tls: Option<Tls>,
    heard: Arc<AtomicUsize>,
    socket: Arc<Socket>,
}

impl Way {
    /// What an error that ended the connection means.
    fn end(&self, error: &(dyn std::error::Error + 'static)) -> Ended {
        let sent = |why: &str| Ended { sent: true, why: why.to_owned() };
        let text = with_causes(error);
        let has = |part: &str| text.contains(part);
        if let Some(tls) = &self.tls {
            if let Some(error) = tls_error(error) {
                return Ended { sent: false, why: tls::explain(error, tls, &self.endpoint.host) };
            }
            // With TLS 1.3 a server refuses a client's certificate only after the client has sent its first request, which
            // it then does not read. HTTP/2 hands on the text of the error alone.
            if let Some((_, alert)) = text.split_once("received fatal alert: ") {
                return Ended { sent: false, why: tls::refused_by_server(alert, tls) };
            }
        }
        if self.heard.load(Ordering::Relaxed) < FRAME {
            return sent(if self.tls.is_some() {
                "it ended the TLS handshake without a word: write http:// if it has no certificate"
            } else {
                "it does not speak HTTP/2 here: write https:// if it has a certificate"
            });
        }
        if has("keep-alive timed out") {
            sent("it does not answer a ping: it is stopped, overloaded, or cut off")
        } else if has("too_many_pings") {
            sent("it takes a ping less often: its --grpc-keepalive-min-time is longer than this client's")
        } else if has("broken pipe") {
            sent("the server closed the connection")
        } else {
            sent(&format!("the connection broke: {text}"))
        }
    }
}

/// The TLS error among the causes of an error.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        // An io::Error tells the cause of its inner error, not the inner error.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map_or_else(|| error.source(), |inner| Some(inner));
    }
    None
}

/// Without the number that the standard library adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
