//! The socket and QUIC's own settings; who may connect; the drain.
//!
//! Takes an address and a configuration, gives an endpoint; serves it until `shutdown` resolves, then drains: no new
//! connections, each open one is told to go, answers what it has read, and is closed.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AckFrequencyConfig, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tally_protocol::hash::ApiKeyHash;
use tally_protocol::quic::CloseCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::config::{QuicConfig, QuicError, QuicLimits, SMALL_WINDOW};
use super::connection::{Door, serve};
use super::session::Callers;
use crate::Gateway;
use crate::limits::ByteBudget;
use crate::tls::{TlsError, quic_config};

/// Packets that ask for an acknowledgement which may arrive before one is sent. Fewer acknowledgements cost less; at
/// this many a lost packet is still noticed within a round trip.
const ACK_EVERY: u32 = 8;
/// The window with which a connection starts to send, before it knows the path.
const INITIAL_WINDOW_BYTES: u64 = 256 << 10;

/// A bound QUIC socket that does not serve yet.
pub struct QuicEndpoint {
    endpoint: Endpoint,
    limits: QuicLimits,
    subjects: Vec<(ServerName<'static>, ApiKeyHash)>,
}

impl QuicEndpoint {
    /// Binds an address. Port 0 takes a free one; [`QuicEndpoint::local_addr`] says which. To be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// Bounds that contradict each other, certificates that are not any, an address that is taken.
    pub fn bind(address: SocketAddr, config: &QuicConfig) -> Result<Self, QuicError> {
        let limits = config.limits.clone();
        limits.check()?;
        let subjects = config.clients.iter().flat_map(|clients| &clients.callers).map(|(subject, hash)| {
            let name = ServerName::try_from(subject.clone());
            let name = name.map_err(|_| TlsError::new(format!("{subject} is no DNS name a certificate can be for")))?;
            Ok((name, *hash))
        });
        let subjects = subjects.collect::<Result<_, TlsError>>()?;
        let authorities = config.clients.as_ref().map(|clients| clients.authorities.as_slice());
        let tls = quic_config(&config.certificate, &config.key, authorities)?;
        let tls = QuicServerConfig::try_from(tls).map_err(|error| TlsError::new(error.to_string()))?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(transport(&limits)?));
        // Handshakes that wait for their turn hold at most a packet or two each.
        server.max_incoming(limits.handshakes_max);
        server.incoming_buffer_size(64 << 10);
        server.incoming_buffer_size_total(8 << 20);
        let mut endpoint = EndpointConfig::default();
        endpoint
            .max_udp_payload_size(limits.datagram_bytes_max)
            .map_err(|_| QuicError::Limits("datagram_bytes_max must be 1200 to 65527"))?;
        let endpoint = Endpoint::new(endpoint, Some(server), socket(address, &limits)?, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, limits, subjects })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }
}

/// A socket with room for bursts: a full buffer loses packets, and every lost packet is sent twice.
fn socket(address: SocketAddr, limits: &QuicLimits) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // The system gives what it allows; less costs speed, not correctness.
    let _ = socket.set_recv_buffer_size(limits.socket_buffer_bytes);
    let _ = socket.set_send_buffer_size(limits.socket_buffer_bytes);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// QUIC's own settings. Windows are small until a caller is known (`connection`).
fn transport(limits: &QuicLimits) -> Result<TransportConfig, QuicError> {
    let idle = IdleTimeout::try_from(limits.idle_timeout).map_err(|_| QuicError::Limits("idle_timeout is too long"))?;
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(limits.datagram_bytes_max);
    let mut ack = AckFrequencyConfig::default();
    ack.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(u32::from(limits.streams_max) + 1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits.keep_alive))
        .stream_receive_window(VarInt::from_u32(limits.receive_window_bytes))
        .receive_window(VarInt::from_u32(SMALL_WINDOW))
        .send_window(SMALL_WINDOW.into())
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(ack))
        .congestion_controller_factory(Arc::new(cubic));
    Ok(transport)
}

/// Serves until `shutdown` resolves and what was read is answered.
pub async fn serve_quic(endpoint: QuicEndpoint, gateway: Arc<Gateway>, shutdown: impl Future<Output = ()>) {
    let QuicEndpoint { endpoint, limits, subjects } = endpoint;
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let door = Arc::new(Door {
        callers: Callers::new(limits.connections_per_caller_max, limits.window_bytes),
        subjects,
        handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
        buffers: ByteBudget::new(limits.buffers_bytes_max),
        limits,
        gateway,
    });
    let metrics = &door.gateway.metrics.quic;
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let incoming = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        let is_crowded = door.handshakes.available_permits() < door.limits.handshakes_max / 2;
        if is_crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            metrics.connections_refused.add(1);
            incoming.refuse();
            continue;
        };
        metrics.connections_total.add(1);
        let door = Arc::clone(&door);
        connections.spawn(async move {
            serve(door, incoming).await;
            drop(permit);
        });
    }
    door.gateway.drain();
    let drain_timeout = door.gateway.config.limits.drain_timeout;
    // Who comes now hears no at once, and can go elsewhere.
    let turn_away = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    let all = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        _ = tokio::time::timeout(drain_timeout, all) => {}
        () = turn_away => {}
    }
    connections.shutdown().await;
    endpoint.close(CloseCode::Draining.number().into(), b"");
    // Lets the last packets go out; a client that is gone is not waited for.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), endpoint.wait_idle()).await;
}
