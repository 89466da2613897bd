//! The sockets: requests that are answered one by one though they are sent many at a time, dumps, and a stream of events.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ipnetwork::IpNetwork;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::proto::{ConnectionHandle, new_connection};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr};

use socket2::SockFilter;

use super::error::Error;

/// The kernel answers while it takes the request; only a lost answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests in one datagram. The kernel puts an answer of up to 1 kB for each into the receive buffer before any is read,
/// and that is 208 kB by default.
pub(super) const BATCH: usize = 64;

/// A dump during which the kernel's list changed is asked for again, this often at most.
const DUMPS: usize = 5;

/// A request to change something, and the words for it in an error.
pub(super) struct Request<T = RouteNetlinkMessage> {
    pub(super) message: T,
    /// `NLM_F_CREATE` and the like.
    pub(super) flags: u16,
    pub(super) what: String,
    /// Where a new route leads to, so that one that is in its way can be named.
    pub(super) route: Option<IpNetwork>,
}

/// What can be sent to the kernel, and comes from it.
pub(super) trait Message:
    NetlinkSerializable + NetlinkDeserializable + Clone + std::fmt::Debug + Send + Unpin + 'static
{
}

impl<T> Message for T where
    T: NetlinkSerializable + NetlinkDeserializable + Clone + std::fmt::Debug + Send + Unpin + 'static
{
}

/// A socket for requests.
pub(super) struct Requests<T: Message = RouteNetlinkMessage> {
    handle: ConnectionHandle<T>,
}

impl Requests {
    pub(super) fn open() -> Result<Self, Error> {
        Self::open_protocol(NETLINK_ROUTE)
    }
}

impl<T: Message> Requests<T> {
    pub(super) fn open_protocol(protocol: isize) -> Result<Self, Error> {
        let (mut connection, handle, _) = new_connection(protocol).map_err(Error::Open)?;
        connection.set_forward_ack(true);
        let socket = connection.socket_mut().socket_mut();
        // Without it (before Linux 4.20) the kernel dumps more than what was asked for; readers of dumps look again.
        let _ = socket.set_netlink_get_strict_chk(true);
        // The answer to a refused request need not repeat it.
        let _ = socket.set_cap_ack(true);
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Sends requests in order. The answers have their order; one that is refused does not stop those after it.
    pub(super) async fn send(&self, requests: Vec<Request<T>>) -> Result<Vec<Result<(), Error>>, Error> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let mut whats = Vec::with_capacity(BATCH);
            let batch: Vec<_> = requests
                .by_ref()
                .take(BATCH)
                .map(|request| {
                    whats.push(request.what);
                    let mut message = inner(request.message);
                    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
                    message
                })
                .collect();
            let first = whats.first().cloned().unwrap_or_default();
            let sent = self.handle.request_batch(batch, SocketAddr::new(0, 0));
            let mut stream = sent.map_err(|_| closed(&first))?;
            for what in whats {
                let answer = within(&first, stream.next()).await?.ok_or_else(|| closed(&first))?;
                answers.push(match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        Err(Error::Refused { what, source: error.to_io() })
                    }
                    _ => Ok(()),
                });
            }
        }
        Ok(answers)
    }

    /// Sends one request.
    pub(super) async fn send_one(&self, request: Request<T>) -> Result<(), Error> {
        self.send(vec![request]).await?.pop().unwrap_or(Ok(()))
    }

    /// Asks for one object.
    pub(super) async fn get(&self, message: T, what: &str) -> Result<Option<T>, Error> {
        Ok(self.ask(message, NLM_F_ACK, what, Some).await?.0.pop())
    }

    /// Asks for all objects of a kind, and keeps what `read` makes of each: the messages themselves take many times as much.
    pub(super) async fn dump<Found>(
        &self,
        message: T,
        what: &str,
        read: impl Fn(T) -> Option<Found>,
    ) -> Result<Vec<Found>, Error> {
        let mut tries = 1;
        loop {
            let (found, interrupted) = self.ask(message.clone(), NLM_F_DUMP, what, &read).await?;
            if !interrupted || tries == DUMPS {
                return Ok(found);
            }
            tries += 1;
        }
    }

    async fn ask<Found>(
        &self,
        message: T,
        flags: u16,
        what: &str,
        read: impl Fn(T) -> Option<Found>,
    ) -> Result<(Vec<Found>, bool), Error> {
        let mut message = inner(message);
        message.header.flags = NLM_F_REQUEST | flags;
        let sent = self.handle.request(message, SocketAddr::new(0, 0));
        let mut stream = sent.map_err(|_| closed(what))?;
        let (mut found, mut interrupted) = (Vec::new(), false);
        while let Some(answer) = within(what, stream.next()).await? {
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => found.extend(read(message)),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Error::Refused { what: what.to_owned(), source: error.to_io() });
                }
                _ => {}
            }
        }
        Ok((found, interrupted))
    }
}

fn inner<T>(message: T) -> NetlinkMessage<T> {
    NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message))
}

/// Waits for an answer.
async fn within<T>(what: &str, answer: impl Future<Output = T>) -> Result<T, Error> {
    let late = |_| Error::NoAnswer { what: what.to_owned(), seconds: PATIENCE.as_secs() };
    tokio::time::timeout(PATIENCE, answer).await.map_err(late)
}

fn closed(what: &str) -> Error {
    Error::Refused { what: what.to_owned(), source: io::Error::from(io::ErrorKind::NotConnected) }
}

/// What others, and we, change.
pub(super) struct Events {
    stream: Pin<Box<dyn Stream<Item = NetlinkPayload<RouteNetlinkMessage>> + Send>>,
    /// The socket that the stream is of.
    socket: socket2::Socket,
}

impl Events {
    /// Opens the socket. It tells nothing of neighbours before [`Events::of_neighbours_at`].
    pub(super) fn open() -> Result<Self, Error> {
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ])
        .map_err(Error::Open)?;
        let socket =
            connection.socket_mut().socket_mut().as_fd().try_clone_to_owned().map_err(Error::Open)?;
        tokio::spawn(connection);
        let events =
            Self { stream: Box::pin(messages.map(|(message, _)| message.payload)), socket: socket.into() };
        events.of_neighbours_at(0)?;
        Ok(events)
    }

    /// From now on tells of the neighbours and forwarding entries at an interface alone. The neighbours at all others change
    /// whenever packets begin or end, and each would wake this program up.
    pub(super) fn of_neighbours_at(&self, interface: u32) -> Result<(), Error> {
        self.socket.attach_filter(&neighbours_at(interface)).map_err(Error::Open)
    }

    /// The next one; `None` if the socket is of no use any more.
    pub(super) async fn next(&mut self) -> Option<NetlinkPayload<RouteNetlinkMessage>> {
        self.stream.next().await
    }
}

/// A classic BPF program that takes all messages but those of neighbours at other interfaces. It loads numbers as those of the
/// network, and the kernel writes them as those of this machine.
fn neighbours_at(interface: u32) -> [SockFilter; 7] {
    use nix::libc::{
        BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, RTM_DELNEIGH, RTM_NEWNEIGH,
    };
    /// Where they are: `nlmsg_type` in `nlmsghdr`, and `ndm_ifindex` in the `ndmsg` behind it.
    const TYPE: u32 = 4;
    const INTERFACE: u32 = 16 + 4;
    let code = |code: u32| u16::try_from(code).unwrap_or(0);
    let load = |size, offset| SockFilter::new(code(BPF_LD | size | BPF_ABS), 0, 0, offset);
    let equals = |value, yes, no| SockFilter::new(code(BPF_JMP | BPF_JEQ | BPF_K), yes, no, value);
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        load(BPF_H, TYPE),
        equals(kind(RTM_NEWNEIGH), 1, 0),
        equals(kind(RTM_DELNEIGH), 0, 2),
        load(BPF_W, INTERFACE),
        equals(interface.to_be(), 0, 1),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, u32::MAX),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, 0),
    ]
}
