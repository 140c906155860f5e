//! TLS for the HTTP door: TLS 1.3 only, ring provider, ALPN h2 and http/1.1. Takes PEM bytes, gives a configuration.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// PEM bytes that make no TLS configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl core::fmt::Display for TlsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "failed to set up TLS: {}", self.0)
    }
}

impl core::error::Error for TlsError {}

/// A server configuration from a certificate chain and its key, both PEM. Messages never hold key material.
///
/// # Errors
/// No certificate, no key, or a key that is not the certificate's.
pub fn server_config(certificates: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsError("the certificate file is not PEM".into()))?;
    if chain.is_empty() {
        return Err(TlsError("the certificate file holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError("the key file holds no private key".into()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // 0-RTT stays off (max_early_data_size is 0): a replayed request must not reach a handler (S-098).
    Ok(Arc::new(config))
}
