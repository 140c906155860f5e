//! What the client believes of a certificate, and what it shows of its own.
//!
//! Takes PEM texts; gives the TLS 1.3 configuration of the QUIC door: the platform's roots, or roots of one's own, or
//! one pinned certificate and no other. A pinned certificate is compared whole: names and dates do not matter, which is
//! meant for development and for nodes reached by address. Whoever shows it must prove that it holds its key.

use std::sync::{Arc, Once};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::error::ClientError;

/// Certificates, as PEM.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsConfig {
    /// Believed instead of the platform's roots.
    pub(crate) roots_pem: Vec<Vec<u8>>,
    /// Believed instead of any root.
    pub(crate) pinned_pem: Option<Vec<u8>>,
    /// Shown to servers that ask who calls: chain and key.
    pub(crate) identity_pem: Option<Identity>,
}

/// A certificate chain and its key; the debug text does not show the key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain_pem: Vec<u8>,
    pub(crate) key_pem: Vec<u8>,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// rustls wants one cryptographic provider per process; a program that has installed its own keeps it.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
}

impl TlsConfig {
    /// TLS 1.3 alone, with this application protocol, without early data.
    pub(crate) fn client(&self, alpn: &[u8]) -> Result<ClientConfig, ClientError> {
        let wrong = |what: &str| ClientError::Config(what.to_owned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| ClientError::Config(error.to_string()))?;
        let builder = match &self.pinned_pem {
            Some(pem) => {
                let pinned = CertificateDer::from_pem_slice(pem);
                let pinned = pinned.map_err(|_| wrong("the pinned certificate is not PEM"))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
            }
            None if self.roots_pem.is_empty() => {
                builder.with_platform_verifier().map_err(|error| ClientError::Config(error.to_string()))?
            }
            None => builder.with_root_certificates(roots(&self.roots_pem)?),
        };
        let mut config = match &self.identity_pem {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read().ok_or_else(|| wrong("the client certificate or key is not PEM"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| ClientError::Config(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_early_data = false;
        Ok(config)
    }
}

impl Identity {
    fn read(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_slice_iter(&self.chain_pem).collect::<Result<Vec<_>, _>>().ok()?;
        Some((chain, PrivateKeyDer::from_pem_slice(&self.key_pem).ok()?))
    }
}

fn roots(pems: &[Vec<u8>]) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in pems.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem)) {
        let added = certificate.map_err(|_| ()).and_then(|certificate| roots.add(certificate).map_err(|_| ()));
        added.map_err(|()| ClientError::Config("a root certificate is not PEM".to_owned()))?;
    }
    Ok(roots)
}

/// Believes one certificate.
#[derive(Debug)]
struct Pinned {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.pinned {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let no = |config: TlsConfig| assert!(matches!(config.client(b"x"), Err(ClientError::Config(_))));
        no(TlsConfig { pinned_pem: Some(b"none".to_vec()), ..TlsConfig::default() });
        no(TlsConfig {
            roots_pem: vec![b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()],
            ..TlsConfig::default()
        });
    }

    #[test]
    fn a_private_key_is_in_no_debug_text() {
        let identity = Identity { chain_pem: b"chain".to_vec(), key_pem: b"secret".to_vec() };
        assert_eq!(format!("{identity:?}"), "Identity(..)");
    }
}
