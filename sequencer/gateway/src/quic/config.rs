//! What an operator may set about the QUIC door, and its bounds with their reasons.

use std::time::Duration;

use tally_protocol::hash::ApiKeyHash;
use tally_protocol::limits::BODY_BYTES_MAX;

use crate::tls::TlsError;

/// Why there is no QUIC door.
#[derive(Debug)]
pub enum QuicError {
    /// Certificate, key or authorities.
    Tls(TlsError),
    /// A bound makes no sense.
    Limits(&'static str),
    /// The socket.
    Socket(std::io::Error),
}

impl core::fmt::Display for QuicError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Limits(rule) => write!(f, "quic: {rule}"),
            Self::Socket(error) => write!(f, "failed to open the QUIC socket: {error}"),
        }
    }
}

impl core::error::Error for QuicError {}

impl From<TlsError> for QuicError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<std::io::Error> for QuicError {
    fn from(error: std::io::Error) -> Self {
        Self::Socket(error)
    }
}

/// Clients that may show a certificate instead of an API key.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// The authorities that sign them, PEM.
    pub authorities: Vec<u8>,
    /// A certificate's subject (a DNS name it is valid for) and the credential it stands for. A subject that is not here is
    /// refused, whoever signed the certificate.
    pub callers: Vec<(String, ApiKeyHash)>,
}

/// The QUIC door's configuration.
pub struct QuicConfig {
    /// The certificate chain, PEM.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key: Vec<u8>,
    /// Client certificates, if they are taken.
    pub clients: Option<ClientCertificates>,
    /// Bounds.
    pub limits: QuicLimits,
}

impl core::fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("QuicConfig").field("clients", &self.clients.is_some()).field("limits", &self.limits).finish()
    }
}

/// Bounds of the QUIC door. There is no `Default`: the node states each choice.
#[derive(Debug, Clone)]
pub struct QuicLimits {
    /// Connections at once, over all callers.
    pub connections_max: usize,
    /// Connections of one caller, so that none takes the door for itself.
    pub connections_per_caller_max: usize,
    /// Connections that have not said who they are; over half of it, addresses must prove themselves first.
    pub handshakes_max: usize,
    /// Streams of a connection beside its control stream.
    pub streams_max: u16,
    /// Feeds among them.
    pub feeds_max: u16,
    /// Bytes of submissions one caller may have without an outcome, over all its connections.
    pub window_bytes: u32,
    /// Bytes of frames one submission may hold; at most the window.
    pub submit_bytes_max: usize,
    /// Bytes of a connection that wait to be read: QUIC's flow control towards us.
    pub receive_window_bytes: u32,
    /// Bytes of a connection that are written and not acknowledged.
    pub send_window_bytes: u32,
    /// Both windows over all connections; one that no longer fits keeps the small windows it began with.
    pub buffers_bytes_max: usize,
    /// The largest datagram we send or take. A path that carries less is found out and respected.
    pub datagram_bytes_max: u16,
    /// Bytes the system's socket buffers should hold.
    pub socket_buffer_bytes: usize,
    /// Time for a handshake and `Hello`.
    pub hello_timeout: Duration,
    /// Time for a message that has begun to arrive whole.
    pub message_timeout: Duration,
    /// How long a client may refuse to take bytes of an answer.
    pub write_timeout: Duration,
    /// How long a connection may stay without a packet.
    pub idle_timeout: Duration,
    /// How often we ask a quiet connection whether it lives.
    pub keep_alive: Duration,
    /// How long a session lasts; then the client connects again (and its certificate is checked again).
    pub session_max: Duration,
}

impl QuicLimits {
    /// The choices `tally dev` makes; enough for a small production node too.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            connections_max: 1024,
            connections_per_caller_max: 64,
            handshakes_max: 256,
            streams_max: 64,
            feeds_max: 8,
            window_bytes: 16 << 20,
            submit_bytes_max: BODY_BYTES_MAX,
            receive_window_bytes: 4 << 20,
            send_window_bytes: 4 << 20,
            buffers_bytes_max: 512 << 20,
            datagram_bytes_max: 16 << 10,
            socket_buffer_bytes: 4 << 20,
            hello_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            session_max: Duration::from_secs(24 * 3600),
        }
    }

    /// Refuses bounds that contradict each other.
    pub(super) fn check(&self) -> Result<(), QuicError> {
        let rules = [
            (self.streams_max > 0, "streams_max must be at least 1"),
            (self.feeds_max <= self.streams_max, "feeds_max must be at most streams_max"),
            (
                (1..=BODY_BYTES_MAX).contains(&self.submit_bytes_max),
                "submit_bytes_max must be 1 to what a submission may hold (10 MiB)",
            ),
            (self.submit_bytes_max <= self.window_bytes as usize, "window_bytes must hold one submission"),
            (self.datagram_bytes_max >= 1200, "datagram_bytes_max must be at least 1200"),
            (self.idle_timeout > Duration::ZERO, "idle_timeout must not be zero"),
            (self.keep_alive < self.idle_timeout, "keep_alive must be shorter than idle_timeout"),
            (self.receive_window_bytes >= SMALL_WINDOW, "receive_window_bytes must be at least 64 KiB"),
            (self.send_window_bytes >= SMALL_WINDOW, "send_window_bytes must be at least 64 KiB"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(QuicError::Limits(rule)),
        }
    }
}

/// The windows of a connection whose caller is not known yet, or for which there is no budget.
pub(super) const SMALL_WINDOW: u32 = 64 << 10;
