//! A flat proof: one text, one signature, and whose it is; a foreign tool verifies it from its file alone.
//!
//! `{"alg":"ed25519","canonical_message","hash","signature","signer_kid","ts"}`. The signature is Ed25519 (RFC 8032, not
//! prehashed) over the bytes of `canonical_message`, in base64: where a proof has that member, verifiers in use take it as
//! the message, and only without it the raw bytes of `hash`. `hash` is SHA-256 of the message, in hexadecimal.
//! The message is short (under 4,096 bytes, what a KMS signs at once): it commits to what is long by a digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tally_protocol::hash::{flat_proof, hex};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, Signer, SignerError, verify};

/// The longest message: what a KMS takes raw.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlatProof {
    /// `ed25519`; may be absent in a foreign proof, and nothing else is accepted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What is signed: canonical JSON (RFC 8785).
    pub canonical_message: String,
    /// SHA-256 of the message, 64 lower-case hexadecimal digits; may be absent in a foreign proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Base64 of 64 bytes.
    pub signature: String,
    /// Whose key.
    pub signer_kid: String,
    /// When it was signed, RFC 3339; also in the message.
    pub ts: String,
}

/// Why a proof proves nothing. The text says which rule it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A member is missing or of another type.
    #[error("the proof is malformed")]
    Malformed,
    /// Another algorithm.
    #[error("the proof is not Ed25519")]
    Algorithm,
    /// The message is no canonical JSON, or longer than 4,096 bytes.
    #[error("the proof's message is not canonical JSON of at most {MESSAGE_BYTES_MAX} bytes")]
    Message,
    /// `hash` is not the message's.
    #[error("the proof's hash is not that of its message")]
    Hash,
    /// Nobody configured this key.
    #[error("the proof's key is not known")]
    Key,
    /// The signature is not over the message by that key.
    #[error("the proof's signature does not hold")]
    Signature,
    /// The message, or what stands beside it, is not of this settlement.
    #[error("the proof is not of this settlement: {0}")]
    Other(&'static str),
}

impl FlatProof {
    /// Signs a message, which has a member `ts`.
    ///
    /// # Errors
    /// The signer's.
    pub(super) fn sign(message: &jcs::Value, kid: &str, signer: &dyn Signer) -> Result<Self, SignerError> {
        let ts = message.get("ts").and_then(jcs::Value::as_str).unwrap_or_default().to_owned();
        let text = jcs::to_canonical(message);
        let signature = signer.sign(&text)?;
        Ok(Self {
            alg: Some("ed25519".to_owned()),
            hash: Some(hex(&flat_proof(&text))),
            canonical_message: String::from_utf8(text).expect("canonical JSON is UTF-8"),
            signature: STANDARD.encode(signature.as_bytes()),
            signer_kid: kid.to_owned(),
            ts,
        })
    }

    /// Verifies the proof by one of these keys and gives its message.
    ///
    /// # Errors
    /// [`ProofError`], the first rule that it breaks.
    pub fn verified(&self, keys: &[(String, PublicKey)]) -> Result<jcs::Value, ProofError> {
        if self.alg.as_deref().is_some_and(|alg| alg != "ed25519") {
            return Err(ProofError::Algorithm);
        }
        let text = self.canonical_message.as_bytes();
        if text.len() > MESSAGE_BYTES_MAX || jcs::is_canonical(text).is_err() {
            return Err(ProofError::Message);
        }
        if self.hash.as_ref().is_some_and(|hash| *hash != hex(&flat_proof(text))) {
            return Err(ProofError::Hash);
        }
        let signature = STANDARD.decode(&self.signature).ok().and_then(|bytes| bytes.try_into().ok());
        let signature = Signature::from_bytes(signature.ok_or(ProofError::Malformed)?);
        let mut named = keys.iter().filter(|(kid, _)| *kid == self.signer_kid).peekable();
        if named.peek().is_none() {
            return Err(ProofError::Key);
        }
        if !named.any(|(_, key)| verify(key, text, &signature)) {
            return Err(ProofError::Signature);
        }
        let message = jcs::parse(text).map_err(|_| ProofError::Message)?;
        let says = |name, text: &str| message.get(name).and_then(jcs::Value::as_str) == Some(text);
        if !says("ts", &self.ts) || !says("signer_kid", &self.signer_kid) {
            return Err(ProofError::Other("time or signer"));
        }
        Ok(message)
    }
}

/// 1 to 128 visible ASCII characters.
pub(super) fn is_kid(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
