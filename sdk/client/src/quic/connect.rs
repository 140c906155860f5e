//! How a QUIC connection comes about: endpoints, addresses, certificates, bounds.
//!
//! Takes `host:port`; gives a connection to the first of its addresses that answers. All addresses are tried at once:
//! a UDP port where nobody listens says nothing, so waiting for one after the other would cost the whole wait each.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig, VarInt};
use tally_protocol::quic::ALPN;
use tokio::task::JoinSet;

use crate::error::ClientError;
use crate::tls::TlsConfig;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// A client that waits for receipts sends pings, so that neither side nor a router in between forgets the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Without a packet for this long a connection is gone.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// Bytes that the server may send ahead: one message of the feed and the next.
const RECEIVE_BYTES: u32 = 8 << 20;
/// Bytes that wait for the server's acknowledgement.
const SEND_BYTES: u64 = 16 << 20;

/// The sockets, one for each family of addresses, made when first needed.
pub(crate) struct Endpoints {
    config: ClientConfig,
    sockets: Mutex<[Option<Endpoint>; 2]>,
}

impl Endpoints {
    pub(crate) fn new(tls: &TlsConfig) -> Result<Self, ClientError> {
        let tls = tls.client(ALPN)?;
        let tls = QuicClientConfig::try_from(tls).map_err(|error| ClientError::Config(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport()));
        Ok(Self { config, sockets: Mutex::new([None, None]) })
    }

    /// A connection to whoever answers first at one of the name's addresses.
    pub(crate) async fn connect(&self, address: &str) -> Result<Connection, ClientError> {
        let no_answer = |why: &dyn core::fmt::Display| no_answer(address, why);
        let host = host_of(address).ok_or_else(|| bad_address(address))?;
        let found = tokio::net::lookup_host(address).await.map_err(|error| no_answer(&error))?;
        let mut attempts = JoinSet::new();
        for found in found.take(ADDRESSES_MAX) {
            let endpoint = self.endpoint(found).map_err(|error| no_answer(&error))?;
            let connecting = endpoint.connect_with(self.config.clone(), found, host);
            let connecting = connecting.map_err(|error| no_answer(&error))?;
            attempts.spawn(connecting);
        }
        let mut last = no_answer(&"the name has no address");
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = failed(address, &error),
                Err(error) => last = no_answer(&error),
            }
        }
        Err(last)
    }

    fn endpoint(&self, to: SocketAddr) -> std::io::Result<Endpoint> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let [v4, v6] = &mut *sockets;
        let (socket, any) = match to {
            SocketAddr::V4(_) => (v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        match socket {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(socket.insert(Endpoint::client(any)?).clone()),
        }
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_BYTES))
        .receive_window(VarInt::from_u32(2 * RECEIVE_BYTES))
        .send_window(SEND_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IDLE_MAX.try_into().ok());
    transport
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some(bare).filter(|host| !host.is_empty())
}

/// Whether this can be an address of a QUIC door at all.
pub(crate) fn check_address(address: &str) -> Result<(), ClientError> {
    host_of(address).map(|_| ()).ok_or_else(|| bad_address(address))
}

fn bad_address(address: &str) -> ClientError {
    ClientError::Config(format!("{address} is not host:port"))
}

/// No connection, for a reason of the network.
pub(crate) fn no_answer(address: &str, why: impl core::fmt::Display) -> ClientError {
    ClientError::NoConnection { address: address.to_owned(), why: why.to_string() }
}

/// What the end of a connection, or of an attempt at one, means.
pub(crate) fn failed(address: &str, error: &ConnectionError) -> ClientError {
    // TLS alerts are QUIC errors 0x100 to 0x1ff (RFC 9001 section 4.8); 42 to 49 are about the certificate, 51 about a signature.
    let alert = match error {
        ConnectionError::TransportError(error) => u64::from(error.code).checked_sub(0x100),
        _ => None,
    };
    if alert.is_some_and(|alert| (42..=49).contains(&alert) || alert == 51) {
        return ClientError::Certificate { address: address.to_owned(), why: error.to_string() };
    }
    no_answer(address, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(host_of("log.example:443"), Some("log.example"));
        assert_eq!(host_of("127.0.0.1:4433"), Some("127.0.0.1"));
        assert_eq!(host_of("[::1]:4433"), Some("::1"));
        for bad in ["log.example", "log.example:", ":443", "log.example:70000", "[]:1"] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
