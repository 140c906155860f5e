//! A client's profile: where the node is, who calls, who signs. `tally dev` writes one; it holds no secrets, only the
//! names of the files that do.
//!
//! Takes a JSON file; gives its fields with paths resolved against the file's folder. Unknown fields are errors.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, KeyId, StoreId, TenantId};

use crate::exit::Failure;

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quic: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quic_certificate_file: Option<PathBuf>,
    ledger_id: String,
    origin: String,
    tenant_id: String,
    store_id: String,
    agent_id: String,
    key_id: u32,
    key_file: PathBuf,
    api_key_file: PathBuf,
    operator_api_key_file: PathBuf,
}

/// Where a node speaks QUIC, and the certificate it must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicDoor {
    /// Address and UDP port.
    pub address: SocketAddr,
    /// The certificate, PEM: no other is believed.
    pub certificate_file: PathBuf,
}

/// Where the node is, who calls, who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The node's address.
    pub url: String,
    /// Its QUIC door, if it has one.
    pub quic: Option<QuicDoor>,
    /// The ledger it serves.
    pub ledger_id: LedgerId,
    /// The origin of its checkpoints.
    pub origin: String,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The store.
    pub store_id: StoreId,
    /// The agent that signs.
    pub agent_id: AgentId,
    /// The number of its key.
    pub key_id: KeyId,
    /// Its key file.
    pub key_file: PathBuf,
    /// The file of the API key that submits and reads.
    pub api_key_file: PathBuf,
    /// The file of the API key that manages tenants and keys.
    pub operator_api_key_file: PathBuf,
}

impl Profile {
    /// Reads a profile; none if there is no such file.
    ///
    /// # Errors
    /// The file cannot be read or is no profile.
    pub fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file("read", path, &error)),
        };
        let wrong = |what: &dyn std::fmt::Display| Failure::usage(format!("{} is no profile: {what}", path.display()));
        let written: Written = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Some(Self {
            ledger_id: LedgerId::from_hex(&written.ledger_id).map_err(|error| wrong(&error))?,
            tenant_id: written.tenant_id.parse().map_err(|error| wrong(&error))?,
            store_id: written.store_id.parse().map_err(|error| wrong(&error))?,
            agent_id: written.agent_id.parse().map_err(|error| wrong(&error))?,
            key_id: KeyId::new(written.key_id),
            key_file: folder.join(written.key_file),
            api_key_file: folder.join(written.api_key_file),
            operator_api_key_file: folder.join(written.operator_api_key_file),
            url: written.url,
            quic: written
                .quic
                .zip(written.quic_certificate_file)
                .map(|(address, file)| QuicDoor { address, certificate_file: folder.join(file) }),
            origin: written.origin,
        }))
    }

    /// Writes the profile; a reader sees the old one or the new one, never a part. Paths are written relative to it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let fail = |error: std::io::Error| Failure::file("write", path, &error);
        let folder = path.parent().unwrap_or(Path::new(""));
        let relative = |file: &Path| file.strip_prefix(folder).unwrap_or(file).to_owned();
        let written = Written {
            url: self.url.clone(),
            quic: self.quic.as_ref().map(|quic| quic.address),
            quic_certificate_file: self.quic.as_ref().map(|quic| relative(&quic.certificate_file)),
            ledger_id: self.ledger_id.to_hex(),
            origin: self.origin.clone(),
            tenant_id: self.tenant_id.to_string(),
            store_id: self.store_id.to_string(),
            agent_id: self.agent_id.to_string(),
            key_id: self.key_id.get(),
            key_file: relative(&self.key_file),
            api_key_file: relative(&self.api_key_file),
            operator_api_key_file: relative(&self.operator_api_key_file),
        };
        let mut text = serde_json::to_string_pretty(&written).map_err(|error| fail(error.into()))?;
        text.push('\n');
        let fresh = path.with_extension("json.new");
        let mut file = std::fs::File::create(&fresh).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        std::fs::rename(&fresh, path).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_back_and_is_relative_to_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let profile = |dir: &Path| Profile {
            url: "http://127.0.0.1:8080".into(),
            quic: Some(QuicDoor {
                address: "127.0.0.1:8080".parse().unwrap(),
                certificate_file: dir.join("quic-certificate.pem"),
            }),
            ledger_id: LedgerId::from_bytes([1; 32]),
            origin: "localhost/dev".into(),
            tenant_id: TenantId::from_bytes([2; 16]),
            store_id: StoreId::from_bytes([3; 16]),
            agent_id: AgentId::from_bytes([4; 16]),
            key_id: KeyId::new(1),
            key_file: dir.join("agent.key"),
            api_key_file: dir.join("api-key"),
            operator_api_key_file: dir.join("operator-api-key"),
        };
        let path = dir.path().join("profile.json");
        profile(dir.path()).save(&path).unwrap();
        assert_eq!(Profile::load(&path).unwrap(), Some(profile(dir.path())));

        let moved = tempfile::tempdir().unwrap();
        std::fs::copy(&path, moved.path().join("profile.json")).unwrap();
        assert_eq!(Profile::load(&moved.path().join("profile.json")).unwrap(), Some(profile(moved.path())));
        assert_eq!(Profile::load(&moved.path().join("other.json")).unwrap(), None);
    }
}
