//! A relay between the client and a server, which can swallow what the server answers, and cut a connection anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use etcd::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Server;

/// It listens on a port of its own until the test ends.
pub(crate) struct Relay {
    port: u16,
    state: Arc<State>,
}

struct State {
    swallows: AtomicBool,
    connections: AtomicUsize,
    /// How many bytes a new connection takes in each direction until it is cut.
    requests: AtomicUsize,
    answers: AtomicUsize,
}

impl Relay {
    pub(crate) async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            swallows: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(usize::MAX),
            answers: AtomicUsize::new(usize::MAX),
        });
        let (shared, host) = (state.clone(), server.host().to_owned());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let Ok(server) = TcpStream::connect((host.as_str(), 2379)).await else { continue };
                tokio::spawn(relay(client, server, shared.clone()));
            }
        });
        Self { port, state }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// How many clients have connected.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn swallow_answers(&self) {
        self.state.swallows.store(true, Ordering::Relaxed);
    }

    /// Cuts each new connection after so many bytes of requests or of answers.
    pub(crate) fn cut_after(&self, requests: usize, answers: usize) {
        self.state.requests.store(requests, Ordering::Relaxed);
        self.state.answers.store(answers, Ordering::Relaxed);
    }
}

/// Both directions, until one of them ends: then both do.
async fn relay(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let limits = (state.requests.load(Ordering::Relaxed), state.answers.load(Ordering::Relaxed));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let never = AtomicBool::new(false);
    let requests = std::pin::pin!(copy(from_client, to_server, limits.0, &never));
    let answers = std::pin::pin!(copy(from_server, to_client, limits.1, &state.swallows));
    either(requests, answers).await;
}

/// Waits for the first of two.
async fn either(mut one: impl Future<Output = ()> + Unpin, mut other: impl Future<Output = ()> + Unpin) {
    std::future::poll_fn(|context| {
        let one = std::pin::Pin::new(&mut one).poll(context);
        if one.is_ready() { one } else { std::pin::Pin::new(&mut other).poll(context) }
    })
    .await;
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize, swallows: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let count = count.min(left);
        left -= count;
        if !swallows.load(Ordering::Relaxed) && to.write_all(&buffer[..count]).await.is_err() || left == 0 {
            return;
        }
    }
}
