//! A minimal HTTP server and client.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// Serves one text on a port until the process is killed. Each answer includes the client's address.
pub(crate) fn serve(port: &str, text: &str) -> ExitCode {
    let listener = TcpListener::bind(format!("[::]:{port}")).expect("listen");
    answer(&listener, text);
    ExitCode::SUCCESS
}

/// Answers every request on a listener.
pub(crate) fn answer(listener: &TcpListener, text: &str) {
    for stream in listener.incoming().flatten() {
        // A failure with one client must not stop the server.
        let _ = answer_one(stream, text);
    }
}

fn answer_one(mut stream: TcpStream, text: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    // The whole request is read, because closing a socket with unread data resets the connection.
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    let body = format!("{text}, you are {}\n", stream.peer_addr()?.ip().to_canonical());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Fetches `http://host[:port]/` and prints the page.
pub(crate) fn fetch(url: &str) -> ExitCode {
    match get(url) {
        Ok(page) => {
            print!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("fetch: {url}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn get(url: &str) -> io::Result<String> {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    // Tries each address of the name in turn, as other clients do.
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match ask(&address, authority) {
            Ok(page) => return Ok(page),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(address: &std::net::SocketAddr, host: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer))
}
