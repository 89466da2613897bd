//! A socket that is read to its end, also after the other side has closed it.
//!
//! A server that refuses a certificate says so and closes. What the client still writes then fails, and whoever gives up at
//! that learns only of a broken pipe. So a write that fails because of the other side counts as done, and the reader finds
//! what was said last, or the end.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub(crate) struct LastWords {
    stream: TcpStream,
    heard: Arc<AtomicUsize>,
}

impl LastWords {
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, heard: Arc::default() }
    }

    /// The same socket, by which its end can be brought about while somebody waits for it.
    pub(crate) fn socket(&self) -> io::Result<std::net::TcpStream> {
        self.stream.as_fd().try_clone_to_owned().map(Into::into)
    }

    /// How many bytes the other side has said, counted on while the socket is read.
    pub(crate) fn heard(&self) -> Arc<AtomicUsize> {
        self.heard.clone()
    }
}

/// The result of a write, or another one if the other side closed.
fn unless_closed<T>(result: io::Result<T>, otherwise: T) -> io::Result<T> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            Ok(otherwise)
        }
        result => result,
    }
}

impl AsyncRead for LastWords {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.heard.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(result)
    }
}

impl AsyncWrite for LastWords {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(unless_closed(result, bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(unless_closed(result, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
