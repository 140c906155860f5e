//! A connection that slow and half-closed clients cannot hold.
//!
//! Wraps a socket. Three clocks: the first bytes of a connection must arrive within `first` (before that no HTTP timer
//! runs), a connection without a byte in either direction for `idle` is closed, and a client that takes no bytes of an
//! answer for `write` is closed. Closing is lingering: after our end is shut, what the client still sends is read and
//! thrown away for a moment, because closing with unread bytes resets the connection and the client would lose the
//! answer that says why (413 to an endless body).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::metrics::GatewayMetrics;

/// Enough to tell HTTP/1 from HTTP/2: the length of the latter's preface.
const FIRST_BYTES: usize = 24;
/// How long and how much a closing connection still listens.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// The three clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) first: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// A socket with clocks.
pub(crate) struct Timed<T> {
    inner: T,
    timeouts: Timeouts,
    metrics: Arc<GatewayMetrics>,
    bytes_read: usize,
    opened: Instant,
    active: Instant,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<T> Timed<T> {
    pub(crate) fn new(inner: T, timeouts: Timeouts, metrics: Arc<GatewayMetrics>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            timeouts,
            metrics,
            bytes_read: 0,
            opened: now,
            active: now,
            read_timer: Box::pin(tokio::time::sleep_until(now + timeouts.first)),
            write_timer: None,
            linger: None,
        }
    }

    fn timed_out(&self) -> io::Error {
        self.metrics.connections_timed_out.add(1);
        io::Error::from(io::ErrorKind::TimedOut)
    }

    fn read_deadline(&self) -> Instant {
        if self.bytes_read < FIRST_BYTES { self.opened + self.timeouts.first } else { self.active + self.timeouts.idle }
    }

    /// Nothing to read: pending until the deadline, which moves with every byte.
    fn poll_read_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let deadline = self.read_deadline();
            if self.read_timer.deadline() != deadline {
                self.read_timer.as_mut().reset(deadline);
            }
            ready!(self.read_timer.as_mut().poll(context));
            if Instant::now() >= self.read_deadline() {
                return Poll::Ready(self.timed_out());
            }
        }
    }

    fn after_write<R>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.write_timer = None;
            self.active = Instant::now();
            return result;
        }
        let after = self.timeouts.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(self.timed_out()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(context, buf) {
            self.bytes_read = self.bytes_read.saturating_add(buf.filled().len() - before);
            self.active = Instant::now();
            return Poll::Ready(result);
        }
        self.poll_read_deadline(context).map(Err)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, buf);
        self.after_write(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, bufs);
        self.after_write(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        self.after_write(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let result = Pin::new(&mut this.inner).poll_shutdown(context);
            ready!(this.after_write(context, result))?;
            this.linger = Some((Box::pin(tokio::time::sleep(LINGER)), 0));
        }
        let Some((timer, discarded)) = &mut this.linger else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 4096];
        while *discarded < LINGER_BYTES_MAX && timer.as_mut().poll(context).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.inner).poll_read(context, &mut buf)) {
                Ok(()) if buf.filled().is_empty() => break,
                Ok(()) => *discarded += buf.filled().len(),
                // The client is gone; there is nobody left to be polite to.
                Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn timed<T>(inner: T) -> Timed<T> {
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { first: seconds(10), idle: seconds(60), write: seconds(30) };
        Timed::new(inner, timeouts, Arc::new(GatewayMetrics::new(0)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_closed_and_a_trickle_does_not_hold_the_door() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = timed(server);
        let start = Instant::now();
        let trickle = async {
            loop {
                if client.write_all(b"P").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let read = async {
            let mut one = [0; 1];
            loop {
                if let Err(error) = server.read(&mut one).await {
                    return error.kind();
                }
            }
        };
        let kind = tokio::select! { () = trickle => unreachable!("the server holds its end"), kind = read => kind };
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn writing_keeps_a_connection_alive_and_silence_does_not() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = timed(server);
        client.write_all(&[b'x'; FIRST_BYTES]).await.unwrap();
        let mut buf = [0; FIRST_BYTES];
        server.read_exact(&mut buf).await.unwrap();
        let start = Instant::now();
        for _ in 0..3 {
            let waited = tokio::time::timeout(Duration::from_secs(50), server.read(&mut buf)).await;
            assert!(waited.is_err());
            server.write_all(b"heartbeat").await.unwrap();
        }
        let kind = server.read(&mut buf).await.unwrap_err().kind();
        assert_eq!((kind, start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 3 * 50 + 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_closed() {
        let (_client, server) = tokio::io::duplex(8);
        let mut server = timed(server);
        let start = Instant::now();
        let kind = server.write_all(&[0; 64]).await.unwrap_err().kind();
        assert_eq!((kind, start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_listens_a_while_and_not_for_ever() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = timed(server);
        let start = Instant::now();
        let endless = async {
            while client.write_all(&[0; 32]).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { () = endless => {}, result = server.shutdown() => result.unwrap() }
        assert!(start.elapsed() <= LINGER);
        let (_silent, server) = tokio::io::duplex(64);
        let start = Instant::now();
        timed(server).shutdown().await.unwrap();
        assert_eq!(start.elapsed(), LINGER);
    }
}
