//! Questions to the running agent, over its socket: HTTP/1.0, in which the answer ends with the connection and is in one piece.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cni::NetworkName;

use super::health::Health;
use crate::error::Error;

/// Where the agent listens.
const SOCKET: &str = "/run/cleat/overlay.sock";

/// How long the agent may take for an answer. It does nothing that takes longer than some netlink messages.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than an agent with many thousand peers says, in bytes.
const LONGEST: u64 = 64 << 20;

/// What is known of the agent's part for a network.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// No agent runs.
    NotRunning,
    /// It runs, and has no such network.
    Unknown,
    /// What it says.
    Health(Box<Health>),
}

/// Asks for the state of a network.
///
/// # Errors
/// An agent that cannot be asked, or that does not answer as it should.
pub(crate) fn health(network: &NetworkName) -> Result<Answer, Error> {
    let Some((status, body)) = ask("GET", &format!("/networks/{network}"))? else {
        return Ok(Answer::NotRunning);
    };
    match status {
        404 => Ok(Answer::Unknown),
        200 => {
            let health = serde_json::from_slice(&body);
            health
                .map(|health| Answer::Health(Box::new(health)))
                .map_err(|error| failed(io::Error::other(error)))
        }
        status => Err(refused(status, &body)),
    }
}

/// Has the agent compare a network's engine and kernel at once, and put right what differs; with `force`, also remove nodes whose
/// removal it holds back. Returns `false` where no agent runs.
///
/// # Errors
/// As [`health`], and a network that the agent does not know.
pub(crate) fn sync(network: &NetworkName, force: bool) -> Result<bool, Error> {
    let path = format!("/networks/{network}/sync{}", if force { "?force=true" } else { "" });
    match ask("POST", &path)? {
        None => Ok(false),
        Some((200..=299, _)) => Ok(true),
        Some((status, body)) => Err(refused(status, &body)),
    }
}

/// The status and the body of an answer; `None` where nobody listens.
fn ask(method: &str, path: &str) -> Result<Option<(u16, Vec<u8>)>, Error> {
    let stream = match UnixStream::connect(SOCKET) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    exchange(stream, method, path).map(Some).map_err(failed)
}

fn exchange(mut stream: UnixStream, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = Vec::new();
    (&stream).take(LONGEST).read_to_end(&mut answer)?;
    let _ = stream.shutdown(Shutdown::Both);
    parse(&answer).ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|bytes| bytes == END)?;
    let line = std::str::from_utf8(answer.get(..head)?).ok()?.lines().next()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.get(head + END.len()..)?.to_owned()))
}

fn failed(error: io::Error) -> Error {
    // What the timeout of a socket is called is of no help.
    let error = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::other(format!("no answer within {} seconds", PATIENCE.as_secs()))
        }
        _ => error,
    };
    Error::io(format!("ask the agent at {SOCKET}"), error)
}

fn refused(status: u16, body: &[u8]) -> Error {
    let said = String::from_utf8_lossy(body);
    failed(io::Error::other(format!("it answers {status}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What is read of an answer that comes in two pieces.
    fn told(answer: &'static [u8]) -> io::Result<(u16, Vec<u8>)> {
        let (here, mut there) = UnixStream::pair().unwrap();
        let agent = thread::spawn(move || {
            let mut request = [0; 256];
            let read = there.read(&mut request).unwrap();
            let middle = answer.len() / 2;
            there.write_all(&answer[..middle]).unwrap();
            there.write_all(&answer[middle..]).unwrap();
            String::from_utf8(request[..read].to_vec()).unwrap()
        });
        let outcome = exchange(here, "GET", "/networks/shop");
        assert!(agent.join().unwrap().starts_with("GET /networks/shop HTTP/1.0\r\n"));
        outcome
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let (status, body) = told(b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\n{\r\n}").unwrap();
        assert_eq!((status, body.as_slice()), (200, &b"{\r\n}"[..]));
        assert_eq!(told(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap().0, 404);
        for answer in [&b""[..], b"HTTP/1.0 200 OK\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 x\r\n\r\n"] {
            assert!(told(answer).unwrap_err().to_string().contains("no HTTP"));
        }
    }
}
