//! Who may do what over QUIC: the same refusals, under the same codes, as over HTTP.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_gateway::{ClientCertificates, CredentialStore as _, Environment, Scope};
use tally_protocol::id::{Index, Stream};
use tally_protocol::quic::{CloseCode, Follow, FollowFrom, ToClient};

use crate::common::{START, scope};
use crate::door::{Door, DoorSetup, Session};

/// The code of a feed's refusal, or none if it is given.
async fn follow(session: &Session, filter: Option<Stream>) -> Option<u32> {
    let mut lane = session.stream().await;
    let mut out = Vec::new();
    let filter = filter.map(|stream| (stream.tenant, Some(stream.store)));
    Follow { from: FollowFrom::Index(Index::new(1)), filter }.write(&mut out);
    lane.send.write_all(&out).await.unwrap();
    match lane.mail.next().await {
        Some(ToClient::Refused(refused)) => Some(refused.code),
        Some(ToClient::Events(_) | ToClient::Heartbeat(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_unknown_revoked_expired_or_foreign_key_is_refused_as_over_http() {
    let door = Door::new().await;
    let server = &door.server;
    let good = server.operator();
    let unknown = tally_gateway::ApiKey::generate(Environment::Live).unwrap().reveal();
    let revoked = server.key_with(Scope::operator(), Environment::Live, |key| key.revoked_at = Some(START));
    let expired = server.key_with(Scope::operator(), Environment::Live, |key| key.expires_at = Some(START));
    let foreign = server.key_with(Scope::operator(), Environment::Test, |_| {});
    let cases = [
        ("nonsense".to_owned(), ErrorCode::InvalidApiKey),
        (format!("{good}x"), ErrorCode::InvalidApiKey),
        (good[..50].to_owned(), ErrorCode::InvalidApiKey),
        (unknown, ErrorCode::InvalidApiKey),
        (revoked, ErrorCode::ApiKeyRevoked),
        (expired, ErrorCode::TokenExpired),
        (foreign, ErrorCode::WrongEnvironment),
        (String::new(), ErrorCode::AuthRequired),
    ];
    for (key, code) in cases {
        let refused = door.connect().await.hello(&key).await.err().unwrap();
        assert_eq!((refused.number, refused.code), (0, code.numeric_code()), "{code:?}");
        assert!(!refused.message().contains(&good[16..]));
        assert_eq!(server.get(&key, "/v1/ledger").await.error(), code.as_str(), "HTTP says the same");
    }
    assert_eq!(door.metric("quic_refused_total").await, 8);
    assert!(door.connect().await.hello(&good).await.is_ok());
}

/// The role table holds here too.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_submit_and_follow_exactly_as_over_http() {
    let door = Door::new().await;
    for role in Role::ALL {
        let key = door.server.key(scope(None, None, None, &[role]));
        let session = door.session(&key).await;
        let frame = [door.server.event("{}")];
        let submitted = session.submit(&frame).await.map(|_| ()).map_err(|refused| refused.code);
        let denied = ErrorCode::InsufficientPermissions.numeric_code();
        let may_submit = matches!(role, Role::Admin | Role::Agent);
        assert_eq!(submitted, if may_submit { Ok(()) } else { Err(denied) }, "{role:?}");
        let may_follow = matches!(role, Role::Admin | Role::Agent | Role::Reader);
        assert_eq!(follow(&session, None).await, (!may_follow).then_some(denied), "{role:?}");
    }
}

/// S-009 over QUIC: another tenant, store or agent refuses the whole submission, and nothing of it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_another_tenant_store_or_agent() {
    let door = Door::new().await;
    let server = &door.server;
    let [mine, other] = &server.tenants;
    let store = mine.stream(1).store;
    let key = server.key(scope(Some(mine.id), Some(vec![store]), Some(mine.agent(1).id), &[Role::Agent]));
    let session = door.session(&key).await;
    let good = server.event("{\"n\":1}");
    let before = server.gateway_size();
    for bad in [
        server.event_of(other, 1, 1, "{}"),
        server.event_of(mine, 2, 1, "{}"),
        server.event_of(mine, 1, 2, "{}"),
        mine.register(&mine.agent(5), server.event_id(), START),
    ] {
        for batch in [vec![bad.clone()], vec![good.clone(), bad.clone()], vec![bad.clone(), good.clone()]] {
            let refused = session.submit(&batch).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::OutOfScope.numeric_code());
        }
    }
    assert_eq!(server.gateway_size(), before);
    assert!(session.submit(std::slice::from_ref(&good)).await.is_ok());
    let out = Some(ErrorCode::OutOfScope.numeric_code());
    assert_eq!(follow(&session, Some(other.stream(1))).await, out);
    assert_eq!(follow(&session, Some(mine.stream(2))).await, out);
    assert_eq!(follow(&session, Some(mine.stream(1))).await, None);
}

/// A session does not outlive its credential: the next submission is refused, then the connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_or_expired_credential_ends_its_sessions() {
    let door = Door::new().await;
    let server = &door.server;
    let admin = server.tenant_key(&[Role::Admin]);
    let request = serde_json::json!({"tenant_id": server.tenants[0].id.to_string(), "roles": ["agent"]});
    let created = server.post(&admin, "/v1/api-keys", &request).await;
    let session = door.session(created.json["api_key"].as_str().unwrap()).await;
    assert!(session.submit(&[server.event("{}")]).await.is_ok());
    let path = format!("/v1/api-keys/{}", created.json["info"]["id"].as_str().unwrap());
    assert_eq!(server.send(reqwest::Method::DELETE, &admin, &path, None).await.status, 200);
    // Either this submission hears it, or the connection is gone before.
    let mut lane = session.stream().await;
    lane.submit(&[server.event("{}")]).await;
    if let Some(answer) = lane.try_answer().await {
        assert_eq!(answer.unwrap_err().code, ErrorCode::ApiKeyRevoked.numeric_code());
    }
    assert_eq!(session.line.closed().await, Some(CloseCode::Unauthorized));

    let expiring = server.key_with(Scope::operator(), Environment::Live, |key| {
        key.expires_at = Some(START.saturating_add(Duration::from_secs(60)));
    });
    let mut session = door.session(&expiring).await;
    server.clock.0.advance(Duration::from_secs(60));
    let Some(ToClient::Refused(refused)) = session.control.next().await else { panic!("a refusal") };
    assert_eq!(refused.code, ErrorCode::TokenExpired.numeric_code());
    assert_eq!(session.line.closed().await, Some(CloseCode::Unauthorized));
}

fn signed(name: &str, issuer: &Issuer<'_, KeyPair>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    (certificate.der().clone(), PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap())
}

fn authority() -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem().into_bytes();
    (Issuer::new(params, key), pem)
}

/// A certificate stands for the credential its subject is mapped to, with that credential's roles and scope; a subject
/// that is not mapped, an authority that is not named, and a revoked credential are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_its_subjects_credential_and_unknown_ones_are_refused() {
    let mut setup = DoorSetup::new();
    let (issuer, authorities) = authority();
    let server = std::mem::replace(&mut setup.http, crate::common::Setup::new()).start().await;
    let key = server.tenant_key(&[Role::Agent]);
    let agents = server.credentials.list().unwrap();
    let credential = agents.iter().find(|credential| key.starts_with(&credential.prefix)).unwrap().hash;
    let clients = ClientCertificates { authorities, callers: vec![("agent.test".to_owned(), credential)] };
    let door = Door::open(server, setup.limits, Some(clients));
    let with = |certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&door.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_root_certificates(roots);
        let mut config = builder.with_client_auth_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = door.tls().alpn_protocols;
        config
    };
    let (certificate, secret) = signed("agent.test", &issuer);
    let session = door.connect_with(with(certificate, secret)).await.unwrap().hello("").await.unwrap();
    assert!(session.submit(&[door.server.event("{}")]).await.is_ok());
    let foreign = door.server.event_of(&door.server.tenants[1], 1, 1, "{}");
    let refused = session.submit(&[foreign]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OutOfScope.numeric_code());
    // Another subject of the same authority.
    let (certificate, secret) = signed("stranger.test", &issuer);
    let refused = door.connect_with(with(certificate, secret)).await.unwrap().hello("").await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::InvalidApiKey.numeric_code());
    // The same subject, signed by somebody else: the handshake fails (over QUIC the client hears it a little later).
    let (certificate, secret) = signed("agent.test", &authority().0);
    if let Ok(line) = door.connect_with(with(certificate, secret)).await {
        line.connection.closed().await;
    }
    // No certificate: an API key will do, and nothing will not.
    assert!(door.connect().await.hello(&key).await.is_ok());
    let refused = door.connect().await.hello("").await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::AuthRequired.numeric_code());
    door.server.credentials.revoke(&credential, START).unwrap();
    assert_eq!(session.line.closed().await, Some(CloseCode::Unauthorized));
}
