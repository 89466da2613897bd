//! Frames: ttrpc messages on two connections that share one socket.
//!
//! Outside: connection (u32), length (u32), bytes. A message within a connection: length (u32), stream (u32), type (u8),
//! flags (u8), bytes; it may be spread over several frames. Numbers are big-endian.

use std::io::{self, ErrorKind, Read, Write};

use crate::error::Error;

/// The connection on which the runtime calls the plugin.
pub(crate) const TO_PLUGIN: u32 = 1;
/// The connection on which the plugin calls the runtime.
pub(crate) const TO_RUNTIME: u32 = 2;
/// A message's type.
pub(crate) const REQUEST: u8 = 1;
/// A message's type.
pub(crate) const RESPONSE: u8 = 2;

/// ttrpc's limit for a message.
pub(crate) const MESSAGE_MAX: usize = 4 << 20;
const HEADER: usize = 10;
/// The runtime reads a frame into a buffer of this size, and drops the connection where a frame is longer.
const CHUNK: usize = 4096;

/// One ttrpc message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub connection: u32,
    pub stream: u32,
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// Reads messages, which may be cut into frames at any byte.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    /// What was received on each connection and is not read yet.
    pending: [(u32, Pending); 2],
}

/// Received bytes, of which the first `read` are read already.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    read: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        let pending = [TO_PLUGIN, TO_RUNTIME].map(|connection| (connection, Pending::default()));
        Self { from, pending }
    }

    /// The next message; `None` where the other side has closed the connection after a whole message. Unknown connections
    /// are skipped.
    pub(crate) fn read(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            for (connection, pending) in &mut self.pending {
                if let Some(frame) = pending.take(*connection)? {
                    return Ok(Some(frame));
                }
            }
            let mut header = [0; 8];
            let first = self.from.read(&mut header)?;
            if first == 0 {
                return Ok(None);
            }
            self.from.read_exact(&mut header[first..])?;
            let (connection, length) = (number(&header, 0), number(&header, 4) as usize);
            if length > MESSAGE_MAX + HEADER {
                return Err(Error::Protocol(format!("a frame of {length} bytes, more than ttrpc allows")));
            }
            let known = self.pending.iter_mut().find(|(known, _)| *known == connection);
            let mut skipped = Pending::default();
            let bytes = &mut known.map_or(&mut skipped, |(_, pending)| pending).bytes;
            // No room is made in advance: the length may be wrong.
            let received = (&mut self.from).take(length as u64).read_to_end(bytes)?;
            if received < length {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

impl Pending {
    /// Takes a whole message off the front.
    fn take(&mut self, connection: u32) -> Result<Option<Frame>, Error> {
        let bytes = &self.bytes[self.read..];
        if bytes.len() >= HEADER {
            let length = number(bytes, 0) as usize;
            if length > MESSAGE_MAX {
                return Err(Error::Protocol(format!("a message of {length} bytes, more than ttrpc allows")));
            }
            if let Some(payload) = bytes.get(HEADER..HEADER + length) {
                let (stream, kind, payload) = (number(bytes, 4), bytes[8], payload.to_vec());
                self.read += HEADER + length;
                return Ok(Some(Frame { connection, stream, kind, payload }));
            }
        }
        // Only where no whole message is left: moving the rest after each of many messages would take too long.
        self.bytes.drain(..self.read);
        self.read = 0;
        Ok(None)
    }
}

/// Writes a message.
pub(crate) fn write(mut to: impl Write, frame: &Frame) -> Result<(), Error> {
    let Frame { connection, stream, kind, payload } = frame;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MESSAGE_MAX);
    let Some(length) = length else {
        return Err(Error::Protocol(format!("a call whose answer takes {} bytes", payload.len())));
    };
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(length.to_be_bytes());
    message.extend(stream.to_be_bytes());
    message.extend([*kind, 0]);
    message.extend_from_slice(payload);
    let mut bytes = Vec::with_capacity(message.len() + 8);
    for chunk in message.chunks(CHUNK) {
        bytes.extend(connection.to_be_bytes());
        // A chunk is no longer than CHUNK.
        bytes.extend(u32::try_from(chunk.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(chunk);
    }
    Ok(to.write_all(&bytes)?)
}

/// The big-endian number at a place within the bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(connection: u32, payload: &[u8]) -> Frame {
        Frame { connection, stream: 7, kind: REQUEST, payload: payload.to_vec() }
    }

    #[test]
    fn messages_come_back_whatever_their_length() {
        for length in [0, 1, CHUNK - HEADER, CHUNK, 100_000, MESSAGE_MAX] {
            let sent = frame(TO_PLUGIN, &vec![7; length]);
            let mut bytes = Vec::new();
            write(&mut bytes, &sent).unwrap();
            let mut reader = Reader::new(bytes.as_slice());
            assert_eq!(reader.read().unwrap(), Some(sent));
            assert_eq!(reader.read().unwrap(), None);
        }
    }

    #[test]
    fn messages_of_both_connections_may_be_interleaved_and_share_frames() {
        let mut parts = Vec::new();
        for sent in [frame(TO_PLUGIN, b"one"), frame(TO_PLUGIN, b"two")] {
            let mut bytes = Vec::new();
            write(&mut bytes, &sent).unwrap();
            parts.extend_from_slice(&bytes[8..]);
        }
        let mut bytes = Vec::new();
        let mut put = |connection: u32, part: &[u8]| {
            bytes.extend(connection.to_be_bytes());
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(part);
        };
        put(TO_PLUGIN, &parts[..5]);
        put(TO_RUNTIME, &[0, 0, 0, 0, 0, 0, 0, 1, RESPONSE, 0]);
        put(TO_PLUGIN, &parts[5..]);
        let mut reader = Reader::new(bytes.as_slice());
        let answer = Frame { connection: TO_RUNTIME, stream: 1, kind: RESPONSE, payload: vec![] };
        assert_eq!(reader.read().unwrap(), Some(answer));
        assert_eq!(reader.read().unwrap(), Some(frame(TO_PLUGIN, b"one")));
        assert_eq!(reader.read().unwrap(), Some(frame(TO_PLUGIN, b"two")));
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn many_small_messages_in_one_frame_take_no_longer_than_they_are_and_strangers_keep_no_memory() {
        let empty = [0, 0, 0, 0, 0, 0, 0, 7, REQUEST, 0];
        let mut bytes = [TO_PLUGIN.to_be_bytes(), 4_000_000_u32.to_be_bytes()].concat();
        bytes.extend(empty.repeat(400_000));
        for connection in 3..300_u32 {
            bytes.extend([connection.to_be_bytes(), 10_u32.to_be_bytes()].concat());
            bytes.extend([0; 10]);
        }
        let mut reader = Reader::new(bytes.as_slice());
        for _ in 0..400_000 {
            assert_eq!(reader.read().unwrap(), Some(frame(TO_PLUGIN, b"")));
        }
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_refused() {
        let too_long = [&1_u32.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
        assert!(matches!(Reader::new(too_long.as_slice()).read(), Err(Error::Protocol(_))));
        let message =
            [&1_u32.to_be_bytes()[..], &10_u32.to_be_bytes(), &u32::MAX.to_be_bytes(), &[0; 6]].concat();
        assert!(matches!(Reader::new(message.as_slice()).read(), Err(Error::Protocol(_))));
        assert!(matches!(Reader::new(&message[..12]).read(), Err(Error::Io(_))));
        assert!(matches!(Reader::new(&message[..3]).read(), Err(Error::Io(_))));
        assert!(write(Vec::new(), &frame(1, &vec![0; MESSAGE_MAX + 1])).is_err());
    }
}
