//! The load: connections, datagrams and a stream.
//!
//! One thread is both ends of a flow, with sockets of two namespaces. So no time is spent on waking another thread: what is
//! measured is the path of the packets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use sandbox::Namespaced;

/// How long an answer may take. TCP sends a lost packet again after a second, so nothing that works takes longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long connections are counted.
const COUNTED_FOR: Duration = Duration::from_millis(150);
/// How many connections each thread makes at most: the client has a limited number of ports.
const COUNTED_MAX: u32 = 2_000;

/// The server's end of the flows, in a container.
pub(crate) struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Server {
    /// Listens on TCP and UDP.
    pub(crate) fn new(place: &Namespaced, address: &str) -> Self {
        let (tcp, udp) =
            place.enter(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()));
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { tcp, udp }
    }

    /// How long it takes until each of some connections is established, each from a new port.
    pub(crate) fn connects(&self, from: &Namespaced, to: &str, count: usize) -> Vec<Duration> {
        let to = to.parse().unwrap();
        from.enter(|| (0..count).map(|_| self.connect(to)).collect())
    }

    fn connect(&self, to: SocketAddr) -> Duration {
        let (stream, took) = connect(to);
        drop(self.tcp.accept().unwrap());
        // Closed by a reset: otherwise its port on the client stays taken (TIME-WAIT).
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
        took
    }

    /// How long it takes until each of some datagrams is answered, each from a new port.
    pub(crate) fn answers(&self, from: &Namespaced, to: &str, count: usize) -> Vec<Duration> {
        from.enter(|| (0..count).map(|_| self.answer(to)).collect())
    }

    fn answer(&self, to: &str) -> Duration {
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.connect(to).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let start = Instant::now();
        client.send(b"?").unwrap();
        let (_, peer) = self.udp.recv_from(&mut [0]).unwrap_or_else(|error| panic!("{to}: {error}"));
        self.udp.send_to(b"!", peer).unwrap();
        client.recv(&mut [0]).unwrap_or_else(|error| panic!("{to}: {error}"));
        start.elapsed()
    }

    /// Connections a second, made by one thread for each processor.
    pub(crate) fn rate(&self, from: &Namespaced, to: &str) -> f64 {
        let to = to.parse().unwrap();
        // A thread may accept the connection of another one. Each makes one and accepts one, so the numbers match.
        let client = || {
            let start = Instant::now();
            let mut count = 0;
            while count < COUNTED_MAX && start.elapsed() < COUNTED_FOR {
                self.connect(to);
                count += 1;
            }
            f64::from(count) / start.elapsed().as_secs_f64()
        };
        let threads = thread::available_parallelism().unwrap().get();
        from.enter(|| {
            thread::scope(|scope| {
                let clients: Vec<_> = (0..threads).map(|_| scope.spawn(client)).collect();
                clients.into_iter().map(|client| client.join().unwrap()).sum()
            })
        })
    }
}

fn connect(to: SocketAddr) -> (TcpStream, Duration) {
    let start = Instant::now();
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
    (stream, start.elapsed())
}

/// A server that reads each stream to its end and answers with the number of bytes. It serves until the process ends.
pub(crate) fn serve_stream(place: &Namespaced, address: &str) {
    let listener = place.enter(|| TcpListener::bind(address)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut buffer, mut sum) = (vec![0; 1 << 18], 0);
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                sum += length as u64;
            }
            let _ = stream.write_all(&sum.to_be_bytes());
        }
    });
}

/// Bits a second of one stream to a server of [`serve_stream`].
pub(crate) fn stream(from: &Namespaced, to: &str, time: Duration) -> f64 {
    let to = to.parse().unwrap();
    from.enter(|| {
        let mut stream = connect(to).0;
        let chunk = vec![0; 1 << 17];
        let start = Instant::now();
        while start.elapsed() < time {
            stream.write_all(&chunk).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut sum = [0; 8];
        stream.read_exact(&mut sum).unwrap();
        u64::from_be_bytes(sum) as f64 * 8.0 / start.elapsed().as_secs_f64()
    })
}
