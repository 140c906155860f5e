//! One connection: its greeting, its messages, its end.
//!
//! Takes a connection; says who calls and hears who answers; then gives streams that carry whole messages. Reading
//! checks a message's bound on its head, before a byte of the body is waited for. The control stream is listened to
//! for as long as the connection lives: after a farewell nothing new is started on it.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use tally_api::error::ErrorCode;
use tally_protocol::quic::{CloseCode, HEAD_BYTES, Head, Hello, Kind, MessageError, Refused, ToClient, Welcome};
use tokio::task::AbortHandle;

use super::QuicConfig;
use super::connect::{Endpoints, failed, no_answer};
use crate::error::{ClientError, Refusal};

/// As much as is taken off a stream at once.
const READ_BYTES: usize = 256 << 10;

/// A connection to a server that said welcome.
pub(crate) struct Link {
    connection: Connection,
    welcome: Box<Welcome>,
    address: String,
    /// The server said that it will end this.
    leaving: Arc<AtomicBool>,
    listener: AbortHandle,
    /// The client's half of the control stream; its end would be the end of the connection.
    _control: SendStream,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) async fn open(endpoints: &Endpoints, config: &QuicConfig) -> Result<Self, ClientError> {
        let address = &config.address;
        let key = config.api_key.as_ref().map_or("", |key| key.text());
        let hello = Hello::new(key);
        let hello =
            hello.map_err(|_| ClientError::Config("the API key has characters that none may have".to_owned()))?;
        let connection = endpoints.connect(address).await?;
        let (mut control, recv) = connection.open_bi().await.map_err(|error| failed(address, &error))?;
        let mut bytes = Vec::new();
        hello.write(&mut bytes);
        control.write_all(&bytes).await.map_err(|error| no_answer(address, error))?;
        let mut messages = Messages::new(recv, address);
        let welcome = match messages.next().await? {
            Some(ToClient::Welcome(welcome)) => welcome,
            Some(ToClient::Refused(refused)) => return Err(refusal(&refused).into()),
            Some(_) => return Err(ClientError::malformed(address, "another message than a welcome")),
            None => return Err(no_answer(address, "the greeting was not answered")),
        };
        let leaving = Arc::new(AtomicBool::new(false));
        let listener = tokio::spawn(listen(messages, Arc::clone(&leaving))).abort_handle();
        Ok(Self { connection, welcome, address: address.clone(), leaving, listener, _control: control })
    }

    pub(crate) const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether something new may be started on it.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none() && !self.leaving.load(Ordering::Acquire)
    }

    /// A stream for submissions or a feed.
    pub(crate) async fn stream(&self) -> Result<(SendStream, Messages), ClientError> {
        let (send, recv) = self.connection.open_bi().await.map_err(|error| failed(&self.address, &error))?;
        Ok((send, Messages::new(recv, &self.address)))
    }

    /// Ends it in good order.
    pub(crate) fn close(&self) {
        self.close_with(CloseCode::Done);
    }

    /// Ends it because the server broke the protocol.
    pub(crate) fn close_malformed(&self) {
        self.close_with(CloseCode::Malformed);
    }

    fn close_with(&self, code: CloseCode) {
        self.connection.close(VarInt::from_u32(code.number()), b"");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listener.abort();
        self.close();
    }
}

async fn listen(mut messages: Messages, leaving: Arc<AtomicBool>) {
    // Anything else than a farewell has no meaning here: the connection is not for new things either.
    let _ = messages.next().await;
    leaving.store(true, Ordering::Release);
}

/// The messages of one stream.
#[derive(Debug)]
pub(crate) struct Messages {
    recv: RecvStream,
    buffer: BytesMut,
    address: String,
}

impl Messages {
    fn new(recv: RecvStream, address: &str) -> Self {
        Self { recv, buffer: BytesMut::new(), address: address.to_owned() }
    }

    /// The next message; none when the server has ended the stream between two. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<ToClient>, ClientError> {
        loop {
            if let Some((kind, body)) = self.take().map_err(|error| ClientError::malformed(&self.address, error))? {
                let message = ToClient::decode(kind, body);
                return message.map(Some).map_err(|error| ClientError::malformed(&self.address, error));
            }
            match self.recv.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => return Err(no_answer(&self.address, "a message is cut short")),
                Err(ReadError::ConnectionLost(error)) => return Err(failed(&self.address, &error)),
                Err(error) => return Err(no_answer(&self.address, error)),
            }
        }
    }

    fn take(&mut self) -> Result<Option<(Kind, Bytes)>, MessageError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = Head::decode(head)?;
        let whole = HEAD_BYTES + head.body_bytes;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut message = self.buffer.split_to(whole);
        message.advance(HEAD_BYTES);
        Ok(Some((head.kind, message.freeze())))
    }
}

/// A refusal of the QUIC door in the words of HTTP's.
pub(crate) fn refusal(refused: &Refused) -> Refusal {
    let code = ErrorCode::ALL.iter().copied().find(|code| code.numeric_code() == refused.code);
    // A code of a later version: its family says whether it may pass.
    let unknown = if matches!(refused.code / 1000, 2 | 8) { 503 } else { 400 };
    Refusal {
        status: code.map_or(unknown, ErrorCode::status),
        code,
        message: refused.message().to_owned(),
        retry_after: Some(u64::from(refused.retry_after_ms)).filter(|ms| *ms > 0).map(Duration::from_millis),
        details: None,
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_means_the_same_over_both_doors() {
        for code in ErrorCode::ALL {
            let told = refusal(&Refused::new(1, code.numeric_code(), 250, "why"));
            assert_eq!((told.code, told.status), (Some(*code), code.status()));
            assert_eq!(told.is_retryable(), code.is_retryable());
            assert_eq!(told.retry_after, Some(Duration::from_millis(250)));
        }
        assert!(refusal(&Refused::new(1, 8999, 0, "")).is_retryable());
        assert!(!refusal(&Refused::new(1, 3999, 0, "")).is_retryable());
        assert_eq!(refusal(&Refused::new(1, 8999, 0, "")).retry_after, None);
    }
}
