//! TLS for both doors: TLS 1.3 only, ring provider. Takes PEM bytes, gives a configuration: ALPN h2 and http/1.1 for
//! HTTPS; ALPN `tally/1` and, where the operator names authorities, client certificates for QUIC.
//!
//! A TLS session lives as long as its connection: there are no tickets, so nothing is resumed, and early data (0-RTT)
//! has nothing to start from and is off besides (S-098).

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tally_protocol::quic;

/// PEM bytes that make no TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl TlsError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl core::fmt::Display for TlsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "failed to set up TLS: {}", self.0)
    }
}

impl core::error::Error for TlsError {}

/// A configuration for HTTPS from a certificate chain and its key, both PEM. Messages never hold key material.
///
/// # Errors
/// No certificate, no key, or a key that is not the certificate's.
pub fn server_config(certificates: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    configure(certificates, key, None, &[b"h2", b"http/1.1"]).map(Arc::new)
}

/// A configuration for QUIC; `authorities` (PEM) sign the certificates that clients may show.
pub(crate) fn quic_config(
    certificates: &[u8],
    key: &[u8],
    authorities: Option<&[u8]>,
) -> Result<ServerConfig, TlsError> {
    configure(certificates, key, authorities, &[quic::ALPN])
}

fn configure(
    certificates: &[u8],
    key: &[u8],
    authorities: Option<&[u8]>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let said = |error: &dyn core::fmt::Display| TlsError(error.to_string());
    let chain = read_certificates(certificates, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError("the key file holds no private key".into()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| said(&error))?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(authorities, "authorities'")? {
                roots.add(certificate).map_err(|error| said(&error))?;
            }
            // A client may come without one; then it must have an API key.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().map_err(|error| said(&error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| said(&error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn read_certificates(pem: &[u8], which: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError(format!("the {which} file is not PEM")))?;
    if chain.is_empty() {
        return Err(TlsError(format!("the {which} file holds no certificate")));
    }
    Ok(chain)
}
