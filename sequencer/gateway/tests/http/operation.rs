//! Health, readiness, metrics, OpenAPI, HTTP/2, TLS, drain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::common::{Setup, TestServer};
use serde_json::Value;
use tally_api::api_key::Role;
use tally_gateway::Public;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Every route is in the document and every operation of the document is a route; every reference leads somewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_served_openapi_document_equals_the_routes() {
    let mut setup = Setup::new();
    setup.config.public = Public { docs: true, ..Public::NONE };
    let server = setup.start().await;
    let document = server.get("", "/openapi.json").await.json;
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            documented.insert((method.to_uppercase(), path.clone()));
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let declared: BTreeSet<_> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect();
            let in_path: BTreeSet<_> = path
                .split('/')
                .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned()))
                .collect();
            assert_eq!(declared, in_path, "{path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty());
        }
    }
    let routed: BTreeSet<_> = tally_gateway::route_list()
        .into_iter()
        .map(|(method, path, _)| (method.to_owned(), path.replace("{*", "{")))
        .collect();
    assert_eq!(documented, routed);
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 80);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let docs = server.get("", "/docs").await.text();
    for (_, path, _) in tally_gateway::route_list() {
        assert!(docs.contains(path), "{path}");
    }
}

fn collect_references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(reference) if name == "$ref" => out.push(reference.clone()),
                    other => collect_references(other, out),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, out)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_state_of_the_core() {
    let server = Setup::new().without_publishing().start().await;
    let key = server.tenant_key(&[Role::Agent]);
    let ready = server.get("", "/ready").await;
    assert_eq!((ready.status.as_u16(), &ready.json["status"]), (200, &Value::from("running")));
    assert_eq!(server.get("", "/health").await.json, serde_json::json!({"status": "ok"}));
    // A failed durable write poisons the core: in flight becomes unknown, new writes are refused, reads go on.
    let index = server.submit_ok(&key, &server.event("{}")).await;
    server.engine.faults().fail_sync(1);
    let lost = server.submit(&key, &[server.event("{}")]).await;
    assert_eq!((lost.status.as_u16(), lost.error()), (503, "OUTCOME_UNKNOWN"), "{lost:?}");
    assert!(lost.headers.contains_key("retry-after"));
    let refused = server.submit(&key, &[server.event("{}")]).await;
    assert_eq!((refused.status.as_u16(), refused.error()), (503, "POISONED"));
    let ready = server.get("", "/ready").await;
    assert_eq!((ready.status.as_u16(), &ready.json["status"]), (503, &Value::from("poisoned")));
    assert_eq!(server.get("", "/health").await.status, 200);
    assert_eq!(server.get(&key, &format!("/v1/events/{index}")).await.status, 200);
    let metrics = server.get(&server.operator(), "/metrics").await.text();
    assert!(metrics.contains("tally_state{state=\"poisoned\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_prometheus_text_and_show_the_ladder_and_the_requests() {
    let server = TestServer::new().await;
    let key = server.operator();
    server.submit_ok(&key, &server.event("{}")).await;
    server.get(&key, "/v1/nowhere").await;
    let answer = server.get(&key, "/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for expected in [
        "tally_ladder_size{rung=\"ordered\"} 8",
        "tally_ladder_size{rung=\"acknowledged\"} 8",
        "tally_state{state=\"running\"} 1",
        "tally_events_accepted_total 7",
        "tally_http_requests_total{method=\"POST\",path=\"/v1/events\",status=\"2xx\"} 1",
        "tally_http_errors_total{code=\"RESOURCE_NOT_FOUND\"} 1",
        "tally_http_event_rejections_total{code=\"invalid_signature\"} 0",
        "tally_receipt_micros_bucket{le=\"+Inf\"} 7",
    ] {
        assert!(text.contains(&format!("\n{expected}\n")), "{expected}\n{text}");
    }
    // Every line is a comment or a sample whose series was announced.
    let mut announced = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(announced.insert(rest.split(' ').next().unwrap().to_owned()), "{line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<u64>().unwrap();
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|base| announced.contains(*base)));
            assert!(announced.contains(name) || base.is_some(), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_http1_speak_alike() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let frame = server.event(&format!("{{\"n\":{n}}}"));
        let request = http2.post(server.url("/v1/events")).bearer_auth(&key);
        let request = request.header("content-type", tally_api::submit::FRAMES).body(frame.bytes().to_vec());
        tasks.spawn(async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.version(), reqwest::Version::HTTP_2);
            let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            assert_eq!(answer["results"][0]["status"], "accepted");
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    let over = http2.post(server.url("/v1/events")).bearer_auth(&key).body(vec![b' '; 11 << 20]).send().await;
    // The answer may overtake the body; a client that insists on sending may see the stream reset instead.
    if let Ok(response) = over {
        assert_eq!(response.status(), 413);
    }
    assert_eq!(http2.get(server.url("/v1/ledger")).bearer_auth(&key).send().await.unwrap().status(), 200);
}

fn certificate() -> (Vec<u8>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
}

/// A TLS connection that offers one protocol.
async fn tls_connect(server: &TestServer, certificate: &[u8], protocol: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    stream
}

const HSTS: &str = "strict-transport-security: max-age=63072000";

/// TLS 1.3 with both protocols; HSTS there, on errors too, and never without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_both_protocols_and_hsts_goes_with_it() {
    let (certificate, key_pem) = certificate();
    let mut setup = Setup::new();
    setup.tls = Some(tally_gateway::server_config(&certificate, &key_pem).unwrap());
    let server = setup.start().await;
    let (mut http2, connection) = hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        TokioIo::new(tls_connect(&server, &certificate, "h2").await),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    for path in ["/health", "/v1/ledger", "/nowhere"] {
        let mut stream = tls_connect(&server, &certificate, "http/1.1").await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.starts_with("HTTP/1.1 ") && text.contains(HSTS), "{path} {text}");
        let request = hyper::Request::get(format!("https://localhost{path}")).body(String::new()).unwrap();
        let response = http2.send_request(request).await.unwrap();
        assert_eq!(response.headers()["strict-transport-security"], "max-age=63072000", "{path}");
    }
    // Plain HTTP on a TLS port gets nothing, and neither does TLS 1.2.
    assert!(!server.raw(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await.contains("200"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = old.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    assert!(TlsConnector::from(Arc::new(old)).connect(name, server.connect().await).await.is_err());
    let plain = TestServer::new().await;
    assert!(!plain.get("", "/health").await.headers.contains_key("strict-transport-security"));
    let (other, _) = self::certificate();
    for (certificate, key) in
        [(b"".as_slice(), key_pem.as_slice()), (&certificate, b""), (&certificate, b"nonsense"), (&other, &key_pem)]
    {
        let error = tally_gateway::server_config(certificate, key).unwrap_err().to_string();
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}

/// A drain answers what is in flight, takes nothing new, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_is_in_flight() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    server.engine.faults().hold_syncs();
    let frames = [server.event("{}")];
    let (answer, serving) = tokio::join!(server.submit(&key, &frames), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let serving = server.stop_serving();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.engine.faults().release_syncs();
        Some(serving)
    });
    assert_eq!(answer.json["results"][0]["status"], "accepted");
    tokio::time::timeout(Duration::from_secs(15), serving.unwrap()).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_told_apart_and_sniffed_by_nobody() {
    let server = TestServer::new().await;
    let mut ids = BTreeSet::new();
    for path in ["/health", "/ready", "/nowhere", "/v1/ledger"] {
        let answer = server.get("", path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(ids.insert(answer.headers["x-request-id"].to_str().unwrap().to_owned()));
    }
}
