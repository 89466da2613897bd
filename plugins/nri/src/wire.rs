//! Frames: ttrpc messages on two connections that share one socket.
//!
//! Outside: connection (u32), length (u32), bytes. A message within a connection: length (u32), stream (u32), type (u8),
//! flags (u8), bytes; it may be spread over several frames. Numbers are big-endian.

use std::collections::BTreeMap;
use std::io::{Read, Write};

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
const MESSAGE_MAX: usize = 4 << 20;
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

/// Reads messages, whichever way they are cut into frames.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    /// By connection, what has come and is no whole message yet.
    pending: BTreeMap<u32, Vec<u8>>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, pending: BTreeMap::new() }
    }

    /// The next message; `None` where the other side has closed the connection between two.
    pub(crate) fn read(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            for (&connection, bytes) in &mut self.pending {
                if let Some(frame) = take(connection, bytes)? {
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
            let pending = self.pending.entry(connection).or_default();
            let before = pending.len();
            pending.resize(before + length, 0);
            self.from.read_exact(&mut pending[before..])?;
        }
    }
}

/// Takes a whole message off the front.
fn take(connection: u32, bytes: &mut Vec<u8>) -> Result<Option<Frame>, Error> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    let length = number(bytes, 0) as usize;
    if length > MESSAGE_MAX {
        return Err(Error::Protocol(format!("a message of {length} bytes, more than ttrpc allows")));
    }
    if bytes.len() < HEADER + length {
        return Ok(None);
    }
    let (stream, kind) = (number(bytes, 4), bytes[8]);
    let rest = bytes.split_off(HEADER + length);
    let payload = std::mem::replace(bytes, rest).split_off(HEADER);
    Ok(Some(Frame { connection, stream, kind, payload }))
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

/// The big-endian number at a place that is there.
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
