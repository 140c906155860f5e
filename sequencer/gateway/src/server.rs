//! Connections: from a listener to the router, over plain TCP or TLS, HTTP/1.1 and HTTP/2.
//!
//! Takes a bound listener, gives answers until `shutdown` resolves, then drains: no new connections, feeds are told to
//! end, requests in flight are finished within `drain_timeout`. Connections over the bound are answered 503 at once
//! and closed. Each connection's buffers are bounded, so memory is bounded by their number.

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::Gateway;
use crate::http::Secure;
use crate::io::{Timed, Timeouts};
use crate::limits::Limits;

/// Bytes of header one HTTP/1 request may have, and of buffer one connection.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
const HTTP1_HEADERS_MAX: usize = 64;
const HTTP2_HEADER_BYTES: u32 = 16 << 10;
/// Flow control windows: what one HTTP/2 stream and one connection may have in flight towards us.
const HTTP2_STREAM_BYTES: u32 = 256 << 10;
const HTTP2_CONNECTION_BYTES: u32 = 1 << 20;
const HTTP2_SEND_BYTES: usize = 256 << 10;

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
content-type: application/json\r\ncontent-length: 120\r\n\r\n\
{\"error\":{\"code\":\"SERVICE_UNAVAILABLE\",\"numeric_code\":8002,\"message\":\"too many connections\",\"request_id\":\"\"}}         ";

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES)
        .max_headers(HTTP1_HEADERS_MAX)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .initial_stream_window_size(HTTP2_STREAM_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_BYTES)
        .max_send_buf_size(HTTP2_SEND_BYTES)
        .max_header_list_size(HTTP2_HEADER_BYTES)
        .keep_alive_interval(limits.idle_timeout / 3)
        .keep_alive_timeout(limits.idle_timeout / 3);
    builder
}

/// Serves until `shutdown` resolves and what was in flight is answered.
///
/// # Errors
/// The listener failed for good.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    gateway: Arc<Gateway>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = gateway.config.limits.clone();
    let server = Server {
        router: crate::http::router(Arc::clone(&gateway)),
        builder: builder(&limits),
        acceptor: tls.map(TlsAcceptor::from),
        gateway,
    };
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let socket = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                // Out of descriptors, or a client that left early: the listener itself is fine.
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let metrics = &server.gateway.metrics;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            metrics.connections_refused.add(1);
            refuse(&socket, server.acceptor.is_some());
            continue;
        };
        metrics.connections_total.add(1);
        let server = server.clone();
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let open = limits_open(&server.gateway);
            server.connection(socket, watcher).await;
            drop((permit, open));
        });
    }
    drop(listener);
    server.gateway.drain();
    let _ = tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await;
    connections.shutdown().await;
    Ok(())
}

/// Best effort: whoever connects when there is no room learns it without costing us a task.
fn refuse(socket: &TcpStream, tls: bool) {
    if !tls {
        let _ = socket.try_write(FULL);
    }
}

/// Keeps the gauge of open connections.
struct OpenConnection(Arc<Gateway>);

fn limits_open(gateway: &Arc<Gateway>) -> OpenConnection {
    gateway.count_connection(true);
    OpenConnection(Arc::clone(gateway))
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.count_connection(false);
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    acceptor: Option<TlsAcceptor>,
    gateway: Arc<Gateway>,
}

impl Server {
    async fn connection(&self, socket: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        let limits = &self.gateway.config.limits;
        let timeouts =
            Timeouts { first: limits.header_timeout, idle: limits.idle_timeout, write: limits.write_timeout };
        // Receipts are small and waited for.
        let _ = socket.set_nodelay(true);
        let socket = Timed::new(socket, timeouts, Arc::clone(&self.gateway.metrics));
        match &self.acceptor {
            None => self.http(socket, false, watcher).await,
            Some(acceptor) => match tokio::time::timeout(limits.header_timeout, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => self.http(stream, true, watcher).await,
                Ok(Err(error)) => {
                    self.gateway.metrics.tls_failures.add(1);
                    tracing::debug!(%error, "a TLS handshake failed");
                }
                Err(_) => self.gateway.metrics.connections_timed_out.add(1),
            },
        }
    }

    async fn http<T>(&self, stream: T, secure: bool, watcher: hyper_util::server::graceful::Watcher)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut router = router.clone();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Secure(secure));
            async move { router.call(request).await }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
