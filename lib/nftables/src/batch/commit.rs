//! Sends a batch between its markers, and finds the operation that an answer is about.

use std::io;

use wire::message::{NLM_F_ACK, set_sequence};
use wire::{Message, Writer};

use super::{BEGIN, Batch};
use crate::message::{self, NFTABLES};
use crate::{Error, Result, Socket, operation};

impl Batch {
    /// Carries out all operations, or none: the error names the first that the kernel refused. A batch without
    /// operations succeeds without a system call.
    ///
    /// The batch may be committed again afterwards. Its size is bounded by the send buffer: in the initial user
    /// namespace by memory alone, elsewhere by twice `net.core.wmem_max` (by default some 4,000 elements).
    pub fn commit(&mut self, socket: &mut Socket) -> Result<()> {
        self.commit_at(socket, None)
    }

    /// Like [`Batch::commit`], provided that the ruleset is still of `generation` ([`Socket::generation`]), where that is given;
    /// otherwise it fails with [`Error::is_restart`].
    pub fn commit_at(&mut self, socket: &mut Socket, generation: Option<u32>) -> Result<()> {
        if let Some((index, reason)) = self.fault {
            return Err(Error::Encode { index, operation: self.describe(index), reason });
        }
        let Ok(count) = u32::try_from(self.operations.len()) else {
            return Err(self.failed(io::ErrorKind::InvalidInput.into()));
        };
        if count == 0 {
            return Ok(());
        }
        let first = socket.wire.take_sequences(count + 2);
        self.number(first);
        let from = self.write_begin(first, generation);
        let end = self.writer.buffer.len();
        self.writer.raw(&marker(NFNL_MSG_BATCH_END, first + count + 1, None));
        let sent = socket.wire.send(&self.writer.buffer[from..]);
        self.writer.buffer.truncate(end);
        sent.map_err(|source| self.failed(source))?;
        match socket.batch_outcome(first, count) {
            Ok(()) => {
                socket.deleted |= self.deletes;
                socket.opened_at = None;
                Ok(())
            }
            Err((0, source)) => Err(self.failed(source)),
            Err((at, source)) => {
                let index = at as usize - 1;
                Err(Error::Operation { index, operation: self.describe(index), source })
            }
        }
    }

    /// Gives operation `i` the sequence `first + 1 + i`, and asks for an acknowledgement of the last: errors are
    /// answered anyway, and `NLM_F_ACK` on the end marker means something from Linux 6.10 on only.
    fn number(&mut self, first: u32) {
        let last = self.operations.last().map(|operation| operation.start);
        let bytes = &mut self.writer.buffer;
        for (operation, sequence) in self.operations.iter().zip(first + 1..) {
            set_sequence(&mut bytes[operation.start..], sequence);
        }
        if let Some(start) = last {
            let flags = &mut bytes[start + 6..start + 8];
            let acknowledged = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
            flags.copy_from_slice(&acknowledged.to_ne_bytes());
        }
    }

    /// Writes the begin marker right before the first operation, and says where it begins.
    fn write_begin(&mut self, sequence: u32, generation: Option<u32>) -> usize {
        let begin = marker(NFNL_MSG_BATCH_BEGIN, sequence, generation);
        let from = BEGIN - begin.len();
        self.writer.buffer[from..BEGIN].copy_from_slice(&begin);
        from
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Commit { operations: self.operations.len(), source }
    }

    fn describe(&self, index: usize) -> String {
        let operation = self.operations.get(index);
        let message = operation.and_then(|at| Message::split(&mut &self.writer.buffer[at.start..]));
        match (operation, message) {
            (Some(operation), Some(message)) => operation::describe(&message, operation.key_type),
            _ => format!("operation {index}"),
        }
    }
}

/// A marker for the subsystem that the batch is for, with the generation that the ruleset must be of.
fn marker(kind: u16, sequence: u32, generation: Option<u32>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(kind, 0, |marker| {
        marker.raw(&message::header(0, 0, NFTABLES >> 8));
        if let Some(generation) = generation {
            marker.be32(NFNL_BATCH_GENID, generation);
        }
    });
    set_sequence(&mut writer.buffer, sequence);
    writer.buffer
}

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;
