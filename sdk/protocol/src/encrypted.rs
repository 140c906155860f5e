//! Encrypted payloads: VES-ENC-1 as the reference implementation's code does it (its documents disagree with it and
//! with each other).
//!
//! Takes the canonical JSON of a payload slot of kind 1, gives an [`EncryptedPayload`]; checks shape, lengths and
//! algorithm names and computes the cipher hash. It never decrypts: that needs a recipient's key. Because every byte
//! of the JSON follows from what the cipher hash covers (no other fields, one spelling of each), a relay can change
//! nothing without changing the hash.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::hash::{self, CipherHash, PayloadAad, RecipientsHash};
use crate::jcs::{self, JcsError, Value};
use crate::limits::{PAYLOAD_BYTES_MAX, RECIPIENTS_MAX};

/// The one content cipher.
pub const AEAD: &str = "AES-256-GCM";
/// HPKE's mode, KEM, KDF and AEAD, the only ones that work in the reference.
pub const HPKE: [(&str, &str); 4] =
    [("mode", "base"), ("kem", "X25519-HKDF-SHA256"), ("kdf", "HKDF-SHA256"), ("aead", "AES-256-GCM")];
/// The plain text is a salt of 16 bytes and at least one byte of JSON; the cipher keeps the length.
pub const CIPHERTEXT_BYTES_MIN: usize = 17;

/// Writes without padding, reads with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why bytes are not an encrypted payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptedError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] JcsError),
    /// A field is absent or of another type, length or alphabet.
    #[error("{0} is missing or malformed")]
    Field(&'static str),
    /// Another version or algorithm than the one there is.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Recipients must be ascending by key id, each once, 1 to 1024 of them.
    #[error("recipients are not 1 to {RECIPIENTS_MAX} in ascending order")]
    Recipients,
    /// The JSON is not the one spelling of its content (canonical, no other fields, base64url without padding).
    #[error("not in canonical form")]
    Form,
}

/// One who can decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// Number of the recipient's key.
    pub kid: u32,
    /// HPKE's encapsulated key.
    pub enc: [u8; 32],
    /// The content key, wrapped.
    pub ct: [u8; 48],
}

/// A VES-ENC-1 object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncryptedPayload {
    /// AES-GCM nonce.
    pub nonce: [u8; 12],
    /// Salt and payload, encrypted.
    pub ciphertext: Vec<u8>,
    /// AES-GCM tag.
    pub tag: [u8; 16],
    /// Ascending by `kid`, each once.
    pub recipients: Vec<Recipient>,
}

impl EncryptedPayload {
    /// Decodes a payload slot of kind 1.
    ///
    /// # Errors
    /// The bytes are anything but what [`EncryptedPayload::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncryptedError> {
        let payload = Self::read(&jcs::parse(bytes)?)?;
        if payload.encode() == bytes { Ok(payload) } else { Err(EncryptedError::Form) }
    }

    /// Reads a `payload_encrypted` as the reference does: other fields are ignored, base64 padding is tolerated. What
    /// goes into the frame is its [`EncryptedPayload::encode`].
    ///
    /// # Errors
    /// A field is missing or malformed, an algorithm is not supported, recipients are out of order.
    pub fn read(value: &Value) -> Result<Self, EncryptedError> {
        match value.get("enc_version").and_then(Value::as_u64) {
            Some(1) => {}
            Some(_) => return Err(EncryptedError::Unsupported("enc_version")),
            None => return Err(EncryptedError::Field("enc_version")),
        }
        expect_name(value, "aead", AEAD)?;
        let hpke = value.get("hpke").ok_or(EncryptedError::Field("hpke"))?;
        HPKE.into_iter().try_for_each(|(field, name)| expect_name(hpke, field, name))?;
        let ciphertext = read_base64(value, "ciphertext_b64u")?;
        if !(CIPHERTEXT_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&ciphertext.len()) {
            return Err(EncryptedError::Field("ciphertext_b64u"));
        }
        let recipients =
            value.get("recipients").and_then(Value::as_array).ok_or(EncryptedError::Field("recipients"))?;
        if !(1..=RECIPIENTS_MAX).contains(&recipients.len()) {
            return Err(EncryptedError::Recipients);
        }
        let recipients = recipients.iter().map(Recipient::read).collect::<Result<Vec<_>, _>>()?;
        if !recipients.is_sorted_by(|left, right| left.kid < right.kid) {
            return Err(EncryptedError::Recipients);
        }
        Ok(Self {
            nonce: read_array(value, "nonce_b64u")?,
            ciphertext,
            tag: read_array(value, "tag_b64u")?,
            recipients,
        })
    }

    /// The payload slot's bytes: canonical JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |bytes: &[u8]| Value::String(BASE64.encode(bytes));
        let recipients = self.recipients.iter().map(|recipient| {
            Value::object([
                ("ct_b64u", text(&recipient.ct)),
                ("enc_b64u", text(&recipient.enc)),
                ("recipient_kid", Value::from(recipient.kid)),
            ])
        });
        let value = Value::object([
            ("aead", Value::from(AEAD)),
            ("ciphertext_b64u", text(&self.ciphertext)),
            ("enc_version", Value::from(1)),
            ("hpke", Value::object(HPKE.map(|(field, name)| (field, Value::from(name))))),
            ("nonce_b64u", text(&self.nonce)),
            ("recipients", Value::Array(recipients.collect())),
            ("tag_b64u", text(&self.tag)),
        ]);
        jcs::to_canonical(&value)
    }

    /// The recipients' hash.
    #[must_use]
    pub fn recipients_hash(&self) -> RecipientsHash {
        let entries: Vec<_> = self.recipients.iter().map(|r| (r.kid, r.enc, r.ct)).collect();
        hash::recipients(&entries)
    }

    /// `payload_cipher_hash`, under the event's associated data.
    #[must_use]
    pub fn cipher_hash(&self, aad: &PayloadAad) -> CipherHash {
        hash::payload_cipher(&self.nonce, aad, &self.ciphertext, &self.tag, &self.recipients_hash())
    }
}

impl Recipient {
    fn read(value: &Value) -> Result<Self, EncryptedError> {
        let kid = value.get("recipient_kid").and_then(Value::as_u64).and_then(|kid| u32::try_from(kid).ok());
        Ok(Self {
            kid: kid.ok_or(EncryptedError::Field("recipient_kid"))?,
            enc: read_array(value, "enc_b64u")?,
            ct: read_array(value, "ct_b64u")?,
        })
    }
}

fn expect_name(value: &Value, field: &'static str, name: &str) -> Result<(), EncryptedError> {
    match value.get(field).and_then(Value::as_str) {
        Some(found) if found == name => Ok(()),
        Some(_) => Err(EncryptedError::Unsupported(field)),
        None => Err(EncryptedError::Field(field)),
    }
}

fn read_base64(value: &Value, field: &'static str) -> Result<Vec<u8>, EncryptedError> {
    let text = value.get(field).and_then(Value::as_str).ok_or(EncryptedError::Field(field))?;
    BASE64.decode(text).map_err(|_| EncryptedError::Field(field))
}

fn read_array<const N: usize>(value: &Value, field: &'static str) -> Result<[u8; N], EncryptedError> {
    read_base64(value, field)?.try_into().map_err(|_| EncryptedError::Field(field))
}
