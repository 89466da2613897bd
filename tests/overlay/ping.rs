//! Packets from container to container, at a steady pace, each of which is answered or lost.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sandbox::Namespaced;

/// From packet to packet.
pub(crate) const PACE: Duration = Duration::from_millis(50);
/// How long an answer may take.
const LATE: Duration = Duration::from_millis(500);

/// Sends every datagram back, until the process ends.
pub(crate) fn echo(place: &Namespaced, port: u16) {
    let socket = place.enter(|| UdpSocket::bind(("::", port)).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// A sender that goes on until it is asked.
pub(crate) struct Ping {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<(u32, BTreeSet<u32>)>>,
    what: String,
}

impl Ping {
    /// From a container to an [`echo`]. The first packet must be answered.
    pub(crate) fn start(from: &Namespaced, to: &str) -> Self {
        Self::at_pace(from, to, PACE)
    }

    /// The same with another time from packet to packet.
    pub(crate) fn at_pace(from: &Namespaced, to: &str, pace: Duration) -> Self {
        let socket = from.enter(|| {
            let socket = UdpSocket::bind(if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
            socket.connect(to).unwrap();
            socket
        });
        let what = format!("from {} to {to}", from.name());
        assert!(answers(&socket), "{what}: no answer at the beginning");
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let thread = Some(thread::spawn(move || run(&socket, &asked, pace)));
        Self { ends, thread, what }
    }

    /// Ends it, and says how many packets it sent, and which were lost.
    pub(crate) fn stop(&mut self) -> (u32, BTreeSet<u32>) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Ends senders, and fails if a packet of theirs was lost, or if there were hardly any.
pub(crate) fn none_is_lost(pings: impl IntoIterator<Item = Ping>) {
    // Also where what was to be survived was over in no time.
    thread::sleep(PACE * 4);
    for mut ping in pings {
        let (sent, lost) = ping.stop();
        assert!(lost.is_empty(), "lost {} of {sent} {}: {lost:?}", lost.len(), ping.what);
        assert!(sent > 3, "only {sent} packets {}", ping.what);
    }
}

fn run(socket: &UdpSocket, ends: &AtomicBool, pace: Duration) -> (u32, BTreeSet<u32>) {
    let (mut sent, mut lost, mut next) = (0, BTreeSet::new(), Instant::now());
    let mut end = None;
    loop {
        let now = Instant::now();
        if end.is_none() && now >= next {
            // An error is that of an earlier packet, or that there is no way at all: either way it is lost.
            let _ = socket.send(&u32::to_be_bytes(sent)).or_else(|_| socket.send(&u32::to_be_bytes(sent)));
            lost.insert(sent);
            sent += 1;
            next += pace;
            if ends.load(Ordering::Relaxed) {
                end = Some(now + LATE);
            }
        }
        let until = end.unwrap_or(next);
        let wait = until.saturating_duration_since(Instant::now());
        if end.is_some() && (wait.is_zero() || lost.is_empty()) {
            return (sent, lost);
        }
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = [0; 4];
        if matches!(socket.recv(&mut buffer), Ok(4)) {
            lost.remove(&u32::from_be_bytes(buffer));
        }
    }
}

fn answers(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(LATE)).unwrap();
    // The first packet may find a bridge whose neighbours are still learned.
    (0..3).any(|_| socket.send(b"?").is_ok() && socket.recv(&mut [0; 4]).is_ok())
}

/// Whether a datagram is answered now.
pub(crate) fn reaches(from: &Namespaced, to: &str) -> bool {
    let socket = from.enter(|| {
        let socket = UdpSocket::bind(if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" }).unwrap();
        socket.connect(to).map(|()| socket)
    });
    socket.is_ok_and(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket.send(b"?").is_ok() && socket.recv(&mut [0; 4]).is_ok()
    })
}
