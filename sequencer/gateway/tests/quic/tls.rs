//! S-095, S-098: TLS 1.3 and nothing older on either door, no early data, no session that outlives its connection.

use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ProtocolVersion, RootCertStore};
use tally_api::api_key::Role;
use tally_protocol::quic::{ALPN, Hello};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::{Setup, TestServer};
use crate::door::{Door, certificate};

async fn https() -> (TestServer, Vec<u8>, Vec<u8>) {
    let (certificate, key) = certificate();
    let mut setup = Setup::new();
    setup.tls = Some(tally_gateway::server_config(&certificate, &key).unwrap());
    (setup.start().await, certificate, key)
}

fn client(certificate: &[u8], version: &'static rustls::SupportedProtocolVersion) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

/// S-095, with two clients of different make: rustls, and openssl where it is installed.
#[tokio::test(flavor = "multi_thread")]
async fn the_https_door_speaks_tls_1_3_and_refuses_everything_older() {
    let (server, certificate, _) = https().await;
    let name = ServerName::try_from("localhost").unwrap();
    let old = TlsConnector::from(Arc::new(client(&certificate, &rustls::version::TLS12)));
    let refused = old.connect(name.clone(), server.connect().await).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let new = TlsConnector::from(Arc::new(client(&certificate, &rustls::version::TLS13)));
    let stream = new.connect(name, server.connect().await).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for (flag, taken) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", false), ("-tls1_3", true)] {
        let address = server.address.to_string();
        let run = tokio::task::spawn_blocking(move || {
            let mut openssl = Command::new("openssl");
            openssl.args(["s_client", "-connect", &address, flag]).stdin(Stdio::null());
            openssl.output()
        });
        // Without openssl, rustls alone has to do.
        let Ok(output) = run.await.unwrap() else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_taken = output.status.success() && said.contains("TLSv1.3");
        assert_eq!(is_taken, taken, "{flag}: {said}");
    }
}

/// QUIC is TLS 1.3 by definition (RFC 9001 section 4.2); what is left to refuse is another protocol inside it.
#[tokio::test(flavor = "multi_thread")]
async fn the_quic_door_speaks_tls_1_3_and_its_own_protocol_only() {
    let door = Door::new().await;
    let line = door.connect().await;
    let data = line.connection.handshake_data().unwrap().downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
    assert_eq!(data.protocol.as_deref(), Some(ALPN));
    for protocols in [Vec::new(), vec![b"h3".to_vec()], vec![b"tally/2".to_vec()]] {
        let mut tls = door.tls();
        tls.alpn_protocols = protocols;
        // A client that offers nothing hears of it in the handshake or right after.
        if let Ok(line) = door.connect_with(tls).await {
            line.connection.closed().await;
        }
    }
    assert_eq!(door.metric("quic_connections").await, 0);
}

/// A server that hands out tickets with early data, so that a client has something to try ours with.
async fn generous(certificate: &[u8], key: &[u8]) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let mut tls = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).unwrap())
        .unwrap();
    tls.max_early_data_size = u32::MAX;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let serving = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = serving.accept().await {
            tokio::spawn(async move {
                // A client that only looked for a ticket is gone again.
                if let Ok(connection) = incoming.await {
                    connection.closed().await;
                }
            });
        }
    });
    endpoint
}

/// S-098: what a client sends before the handshake is done is thrown away unread, whatever ticket it has, and our own
/// server gives none.
#[tokio::test(flavor = "multi_thread")]
async fn early_data_is_refused_and_nothing_of_it_is_read() {
    let door = Door::new().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    let mut tls = door.tls();
    tls.enable_early_data = true;
    tls.resumption = Resumption::in_memory_sessions(16);
    // Our door gives no ticket: a second connection has nothing to send early data with.
    for _ in 0..2 {
        let session = door.connect_with(tls.clone()).await.unwrap().hello(&key).await.unwrap();
        assert!(session.submit(&[door.server.event("{}")]).await.is_ok());
    }
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = || {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls.clone()).unwrap();
        quinn::ClientConfig::new(Arc::new(crypto))
    };
    let connecting = endpoint.connect_with(config(), door.address, "localhost").unwrap();
    assert!(connecting.into_0rtt().is_err(), "no ticket, so no early data");
    // A ticket of another server of the same name.
    let generous = generous(&door.certificate, &door.key).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&door.certificate).unwrap()).unwrap();
    let first = endpoint.connect_with(config(), generous.local_addr().unwrap(), "localhost").unwrap().await.unwrap();
    let connections = door.metric("quic_connections_total").await;
    let mut tries = 0;
    let (early, accepted) = loop {
        tries += 1;
        await_ticket(&endpoint, config(), generous.local_addr().unwrap()).await;
        let connecting = endpoint.connect_with(config(), door.address, "localhost").unwrap();
        let (connection, accepted) =
            connecting.into_0rtt().unwrap_or_else(|_| panic!("the client has a ticket to try"));
        let stream = connection.open_bi().await.unwrap();
        // On a busy machine the handshake may be over by now, and then this is a lawful stream.
        if connection.handshake_data().is_none() {
            break ((connection, stream), accepted);
        }
        accepted.await;
        assert!(tries < 100, "the handshake is always faster than the first stream");
    };
    first.close(0u32.into(), b"");
    let (_connection, (mut send, mut receive)) = early;
    let mut hello = Vec::new();
    Hello::new(&key).unwrap().write(&mut hello);
    let _ = send.write_all(&hello).await;
    assert!(!accepted.await, "the server takes no early data");
    // What was sent early is gone: the stream does not exist for the server, and nothing answers it.
    assert!(receive.read_chunk(100, true).await.is_err());
    assert_eq!(door.metric("quic_connections_total").await, connections + tries);
    assert_eq!(door.metric("quic_connections").await, 0, "nobody was welcomed");
}

/// Until the client holds a ticket that it would send early data with.
async fn await_ticket(client: &quinn::Endpoint, config: quinn::ClientConfig, server: std::net::SocketAddr) {
    let ticket = async {
        loop {
            // Tickets come right after the handshake; a second look finds them.
            let connecting = client.connect_with(config.clone(), server, "localhost").unwrap();
            if connecting.into_0rtt().is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), ticket).await.expect("the generous server's ticket works");
}

/// The same over HTTPS: no ticket, no early data, a full handshake each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_https_door_resumes_nothing() {
    let (server, certificate, _) = https().await;
    let mut tls = client(&certificate, &rustls::version::TLS13);
    tls.enable_early_data = true;
    tls.resumption = Resumption::in_memory_sessions(16);
    let connector = TlsConnector::from(Arc::new(tls));
    for _ in 0..3 {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(server.address).await.unwrap();
        let mut stream = connector.connect(name, socket).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let session = stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}
