//! A relay between an agent and the engine, which does something at a chosen piece of what the agent sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sandbox::Namespaced;

type Action = Box<dyn Fn() + Send + Sync>;

/// It listens on port 2379 of a host's loopback, until the test ends.
pub(crate) struct Relay {
    state: Arc<State>,
}

struct State {
    /// Pieces that have come from the agent.
    pieces: AtomicUsize,
    /// At which the action happens: before the piece is passed on, or after.
    at: AtomicUsize,
    after: AtomicUsize,
    action: Action,
}

impl Relay {
    /// Between a host and the engine at an address on another.
    pub(crate) fn start(host: &Namespaced, engine: &Namespaced, address: &str, action: Action) -> Self {
        let listener = host.enter(|| TcpListener::bind("127.0.0.1:2379").unwrap());
        let never = || AtomicUsize::new(usize::MAX);
        let state = Arc::new(State { pieces: AtomicUsize::new(0), at: never(), after: never(), action });
        let (shared, path, address) =
            (Arc::clone(&state), engine.path().to_owned(), format!("{address}:2379"));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let namespace = netlink::Namespace::open(&path).unwrap();
                let Ok(Ok(server)) = namespace.enter(|| TcpStream::connect(&address)) else { continue };
                relay(client, server, &shared);
            }
        });
        Self { state }
    }

    /// The action happens at the piece after so many, before it is passed on or after.
    pub(crate) fn act_at(&self, piece: usize, is_after: bool) {
        let (at, after) = if is_after { (usize::MAX, piece) } else { (piece, usize::MAX) };
        self.state.pieces.store(0, Ordering::SeqCst);
        self.state.at.store(at, Ordering::SeqCst);
        self.state.after.store(after, Ordering::SeqCst);
    }

    /// Whether there were so many pieces that it happened.
    pub(crate) fn has_acted(&self) -> bool {
        let at = self.state.at.load(Ordering::SeqCst).min(self.state.after.load(Ordering::SeqCst));
        self.state.pieces.load(Ordering::SeqCst) > at
    }
}

fn relay(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let shared = Arc::clone(state);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer) {
            let piece = shared.pieces.fetch_add(1, Ordering::SeqCst);
            if piece == shared.at.load(Ordering::SeqCst) {
                (shared.action)();
            }
            if to_server.write_all(&buffer[..count]).is_err() {
                break;
            }
            if piece == shared.after.load(Ordering::SeqCst) {
                (shared.action)();
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
}
