//! A relay between the engine and etcd that cuts its first connection after a number of bytes, and then no more.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Starts one, and returns the address. `requests` and `answers`: how many bytes pass in each direction of the first
/// connection.
pub(super) fn start(host: &str, requests: usize, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = format!("{host}:2379");
    thread::spawn(move || {
        let (mut requests, mut answers) = (requests, answers);
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let limits = (requests, answers);
            thread::spawn(move || copy(client, server, limits.0));
            thread::spawn(move || copy(back.0, back.1, limits.1));
            (requests, answers) = (usize::MAX, usize::MAX);
        }
    });
    url
}

/// Copies until the limit or the end, and then closes both.
fn copy(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        let count = count.min(left);
        left -= count;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        // The other direction may have closed it.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
