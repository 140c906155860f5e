//! The certificate of a development node's QUIC door: self-signed, made at the first start, for the loopback only.
//!
//! Takes the data directory; gives certificate and key, PEM. The certificate lies with what clients need, and the profile
//! names it: a client believes this one and no other. The key is written first, so a process that ended between the two
//! makes both anew.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::{keyfile, layout};

/// What clients connect to by name.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate and its key.
pub(super) struct Certificate {
    /// Where clients find it.
    pub(super) file: PathBuf,
    pub(super) pem: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl Certificate {
    /// Reads both files, or makes them. The folders exist.
    pub(super) fn load_or_create(data: &Path) -> Result<Self, Failure> {
        let file = layout::dev_client(data).join("quic-certificate.pem");
        let key_file = layout::dev_keys(data).join("quic-tls.key");
        if !file.exists() {
            create(&file, &key_file)?;
        }
        let pem = std::fs::read(&file).map_err(|error| Failure::file("read", &file, &error))?;
        let key = keyfile::read_private(&key_file)?;
        Ok(Self { file, pem, key: Zeroizing::new(key.as_bytes().to_vec()) })
    }
}

fn create(file: &Path, key_file: &Path) -> Result<(), Failure> {
    let failed = |error: rcgen::Error| Failure::failed(format!("failed to make a certificate: {error}"));
    match std::fs::remove_file(key_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::file("remove", key_file, &error));
        }
        _ => {}
    }
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "tally dev");
    let certificate = params.self_signed(&key).map_err(failed)?;
    keyfile::create_private(key_file, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    let fresh = file.with_extension("pem.new");
    std::fs::write(&fresh, certificate.pem()).map_err(|error| Failure::file("write", &fresh, &error))?;
    std::fs::rename(&fresh, file).map_err(|error| Failure::file("write", file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_again_when_half_of_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [layout::dev_client(dir.path()), layout::dev_keys(dir.path())] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let first = Certificate::load_or_create(dir.path()).unwrap();
        assert!(tally_gateway::server_config(&first.pem, &first.key).is_ok(), "the two belong together");
        assert_eq!(Certificate::load_or_create(dir.path()).unwrap().pem, first.pem);
        std::fs::remove_file(&first.file).unwrap();
        let second = Certificate::load_or_create(dir.path()).unwrap();
        assert_ne!(second.pem, first.pem);
        assert!(tally_gateway::server_config(&second.pem, &second.key).is_ok());
    }
}
