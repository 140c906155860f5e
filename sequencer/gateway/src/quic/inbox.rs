//! Messages off a stream. Takes a stream's bytes, gives heads and bodies, each checked against its bound before a byte
//! of it is kept. A message that has begun must arrive whole in time; between messages a client may be silent.
//!
//! At most one packet's bytes are read ahead of what is asked for; the rest waits in QUIC's windows and pushes back.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use quinn::{ReadError, RecvStream};
use tally_protocol::quic::{CloseCode, HEAD_BYTES, Head, MessageError};
use tokio::time::{Instant, timeout_at};

use super::connection::Over;

/// Bytes taken off the stream in one step, at most.
const STEP_BYTES: usize = 64 << 10;

/// The receiving side of a stream.
pub(super) struct Inbox {
    stream: RecvStream,
    ahead: Bytes,
    message_timeout: Duration,
}

impl Inbox {
    pub(super) fn new(stream: RecvStream, message_timeout: Duration) -> Self {
        Self { stream, ahead: Bytes::new(), message_timeout }
    }

    /// The next message's head; `None` when the client has ended the stream between messages.
    pub(super) async fn head(&mut self) -> Result<Option<Head>, Over> {
        if self.ahead.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        if let Some(whole) = self.ahead.first_chunk::<HEAD_BYTES>() {
            head = *whole;
            self.ahead.advance(HEAD_BYTES);
        } else {
            let deadline = Instant::now() + self.message_timeout;
            let mut have = 0;
            while have < HEAD_BYTES {
                self.fill_by(deadline).await?;
                let taken = self.ahead.len().min(HEAD_BYTES - have);
                self.ahead.copy_to_slice(&mut head[have..have + taken]);
                have += taken;
            }
        }
        Ok(Some(Head::decode(&head)?))
    }

    /// The next `count` bytes, in a buffer of their own: a slice of a packet would keep the whole packet alive.
    pub(super) async fn body(&mut self, count: usize) -> Result<Bytes, Over> {
        let mut body = Vec::with_capacity(count);
        let deadline = Instant::now() + self.message_timeout;
        loop {
            let taken = self.ahead.len().min(count - body.len());
            body.extend_from_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
            if body.len() == count {
                return Ok(body.into());
            }
            self.fill_by(deadline).await?;
        }
    }

    /// Tells the client that nothing more of this stream will be read.
    pub(super) fn stop(&mut self, code: CloseCode) {
        let _ = self.stream.stop(code.number().into());
    }

    /// Bytes for an empty `ahead`; false at the stream's end.
    async fn fill(&mut self) -> Result<bool, Over> {
        match self.stream.read_chunk(STEP_BYTES, true).await {
            Ok(Some(chunk)) => {
                self.ahead = chunk.bytes;
                Ok(true)
            }
            Ok(None) => Ok(false),
            // A reset is the client's way to give a stream up; the rest is the connection's end.
            Err(ReadError::Reset(_) | ReadError::ConnectionLost(_) | ReadError::ClosedStream) => Err(Over::Gone),
            Err(ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected) => Err(Over::Gone),
        }
    }

    async fn fill_by(&mut self, deadline: Instant) -> Result<(), Over> {
        while self.ahead.is_empty() {
            match timeout_at(deadline, self.fill()).await {
                Err(_) => return Err(Over::TooSlow),
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Err(Over::Malformed(MessageError::Truncated)),
                Ok(Err(over)) => return Err(over),
            }
        }
        Ok(())
    }
}
