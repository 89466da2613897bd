//! The listeners.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use crate::program::board::Board;
use crate::program::error::Error;
use crate::program::health::answer::{Asker, answer};
use crate::program::log::{Priority, log};

/// Root's socket.
pub(crate) const SOCKET: &str = "/run/cleat/overlay.sock";

/// How many connections one listener has at a time; more wait in its queue.
const CONNECTIONS: usize = 16;
/// How long a connection may last, with its one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const HEAD: usize = 8 << 10;
/// How long to wait before an address is tried again that another program has, or after a failure of accept(2).
const AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// Everything that is listened on.
#[derive(Debug)]
pub(crate) struct Listeners {
    board: Board,
    root: JoinHandle<()>,
    anyone: BTreeMap<SocketAddr, JoinHandle<()>>,
}

impl Listeners {
    /// Listens on root's socket. Only the one agent of a node may call this: it removes the socket of one that was killed.
    pub(crate) fn open(board: &Board) -> Result<Self, Error> {
        let listener = bind().map_err(Error::io("listen on", SOCKET))?;
        let root = spawn_local(serve(board.clone(), Asker::Root, async move || {
            listener.accept().await.map(|(stream, _)| stream)
        }));
        Ok(Self { board: board.clone(), root, anyone: BTreeMap::new() })
    }

    /// Listens on these addresses, and on no others.
    pub(crate) fn set(&mut self, addresses: &BTreeSet<SocketAddr>) {
        self.anyone.retain(|address, task| {
            let stays = addresses.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in addresses {
            self.anyone.entry(*address).or_insert_with(|| spawn_local(listen(self.board.clone(), *address)));
        }
    }

    /// Ends all of it, and removes the socket.
    pub(crate) fn close(self) {
        self.root.abort();
        self.anyone.values().for_each(JoinHandle::abort);
        drop(fs::remove_file(SOCKET));
    }
}

fn bind() -> io::Result<UnixListener> {
    let folder = Path::new(SOCKET).parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match fs::remove_file(SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // From its first moment it is root's alone.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(SOCKET);
    umask(before);
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
    listener
}

/// Listens on an address, as soon as that is free.
async fn listen(board: Board, address: SocketAddr) {
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !is_told {
                    let error = lock::describe(&error);
                    let again = AGAIN.as_secs();
                    log(
                        Priority::Warning,
                        format_args!(
                            "listen on {address} (\"metrics\"): {error}; it is tried again every {again} s"
                        ),
                    );
                }
                is_told = true;
                sleep(AGAIN).await;
            }
        }
    };
    serve(board, Asker::Anyone, async move || listener.accept().await.map(|(stream, _)| stream)).await;
}

/// Serves every connection, each for one request.
async fn serve<S>(board: Board, asker: Asker, accept: impl AsyncFn() -> io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
        match accept().await {
            Ok(stream) => {
                let board = board.clone();
                spawn_local(async move {
                    // What a client does wrong is its own loss.
                    let _ = timeout(PATIENCE, converse(&board, asker, stream)).await;
                    drop(permit);
                });
            }
            // Such as too many open files.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn converse<S>(board: &Board, asker: Asker, stream: S) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let uri = request.uri();
        let answer = answer(board, asker, request.method(), uri.path(), uri.query());
        ready(Ok::<_, Infallible>(answer))
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).max_buf_size(HEAD);
    server.serve_connection(TokioIo::new(stream), service).await
}
