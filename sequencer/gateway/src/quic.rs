//! The QUIC door: agents stream frames in and get proven outcomes back as they commit; followers read the log.
//!
//! | file | what |
//! |---|---|
//! | `config` | what an operator sets: certificate, clients' certificates, bounds |
//! | `endpoint` | the socket, QUIC's own settings, who may connect, the drain |
//! | `connection` | one connection: who calls, its streams, its end |
//! | `session` | the caller of a connection, its window, its rights now |
//! | `inbox` | messages off a stream, bounded in size and time |
//! | `submissions` | a stream of submissions and their outcomes |
//! | `feed` | a stream of the log's events |
//!
//! The messages are `tally_protocol::quic` (`docs/formats/quic.md`). Who may do what, and the codes of what is refused,
//! are those of HTTP (`auth`, `error`). Nothing is queued without a bound: a submission is read only when its bytes fit
//! the caller's window and the gateway's budget, and leaves both when its outcome is written.

mod config;
mod connection;
mod endpoint;
mod feed;
mod inbox;
mod metrics;
mod session;
mod submissions;

pub use config::{ClientCertificates, QuicConfig, QuicError, QuicLimits};
pub use endpoint::{QuicEndpoint, serve_quic};

pub(crate) use metrics::QuicMetrics;
