//! Signed notes: a text and the signatures under it (C2SP signed-note v1.0.0).
//!
//! ```text
//! text, ending in a newline
//!                                                  (an empty line)
//! — <key name> base64(key id[4] | signature)       (U+2014, one line per signature)
//! ```
//! Takes text and signers, gives notes; takes notes and trusted keys, gives the keys that signed. Reading accepts
//! exactly what writing gives: UTF-8, no control characters but newlines, canonical base64. Signatures of unknown keys
//! (witnesses, other types) are carried and ignored, as the format demands. A known key's signature that fails condemns
//! the whole note. This crate makes and checks type 0x01 (Ed25519) only, by the one rule of [`crate::key`].

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::{hex, note_key_id};
use crate::key::{PublicKey, Signature, Signer, SignerError, verify};
use crate::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

/// The signature type of plain Ed25519 (C2SP signed-note, Signature types).
pub const TYPE_ED25519: u8 = 0x01;

const KEY_ID_BYTES: usize = 4;
const SIGNATURE_LINE_START: &str = "\u{2014} ";

/// Why a text is not a note, or a note is not one to rely on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than a note may have.
    #[error("note is longer than {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// A control character (below U+0020) other than a newline.
    #[error("note has a control character")]
    ControlCharacter,
    /// The text is empty or does not end in a newline.
    #[error("note text does not end in a newline")]
    Text,
    /// No empty line, or nothing after the last one.
    #[error("note has no signatures")]
    NoSignatures,
    /// More signatures than a note may have.
    #[error("note has more than {NOTE_SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A line below the text that is not a signature line.
    #[error("malformed signature line {0}")]
    SignatureLine(usize),
    /// A key name is empty or holds a blank, a plus sign or a control character.
    #[error("not a key name")]
    KeyName,
    /// Two trusted keys share name and id, so a signature does not say which one it is of.
    #[error("two trusted keys share name and id")]
    AmbiguousKey,
    /// A trusted key's signature does not verify.
    #[error("a signature of {0} is wrong")]
    WrongSignature(String),
    /// No trusted key signed.
    #[error("no trusted key signed the note")]
    Unsigned,
    /// The signer gave no signature.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Why a text is not a verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not `name+id+key`.
    #[error("malformed verifier key")]
    Malformed,
    /// Not an Ed25519 key.
    #[error("verifier key of unsupported type {0}")]
    Type(u8),
    /// The id is not the one that follows from name and key.
    #[error("verifier key's id does not match its name and key")]
    Id,
}

/// A key's name that may stand in a note: not empty, no Unicode white space, no plus sign, no control character.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// One signature line of a note, checked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_hash: [u8; KEY_ID_BYTES],
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// A signature of any type.
    ///
    /// # Errors
    /// `KeyName`; `SignatureLine(0)` if there are no signature bytes.
    pub fn new(name: &str, key_hash: [u8; KEY_ID_BYTES], bytes: Vec<u8>) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        if bytes.is_empty() {
            return Err(NoteError::SignatureLine(0));
        }
        Ok(Self { name: name.to_owned(), key_hash, bytes })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub const fn key_hash(&self) -> [u8; KEY_ID_BYTES] {
        self.key_hash
    }

    /// What the key's algorithm gave; 64 bytes for Ed25519.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_LINE_START)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (key_hash, bytes) = decoded.split_first_chunk()?;
        Self::new(name, *key_hash, bytes.to_vec()).ok()
    }
}

impl fmt::Display for NoteSignature {
    /// The signature line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.key_hash.as_slice(), &self.bytes].concat();
        write!(f, "{SIGNATURE_LINE_START}{} {}", self.name, STANDARD.encode(blob))
    }
}

/// A text with at least no malformed signature; whose text it is says [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A text that nobody has signed yet.
    ///
    /// # Errors
    /// `Text`, `ControlCharacter` or `TooLong`.
    pub fn unsigned(text: &str) -> Result<Self, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        Ok(Self { text: text.to_owned(), signatures: Vec::new() })
    }

    /// Reads a signed note.
    ///
    /// # Errors
    /// The bytes are anything but what [`Note::format`] writes for a note with signatures.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        check_characters(note)?;
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (at, line) in lines.split('\n').enumerate() {
            if at == NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::SignatureLine(at))?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The note's bytes. A note without signatures gives its bare text, which no reader takes for a note.
    #[must_use]
    pub fn format(&self) -> String {
        let mut out = self.text.clone();
        if !self.signatures.is_empty() {
            out.push('\n');
        }
        for signature in &self.signatures {
            out.push_str(&signature.to_string());
            out.push('\n');
        }
        out
    }

    /// The signed text, its final newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature below the others; one that is there already is not added twice.
    ///
    /// # Errors
    /// `TooManySignatures` or `TooLong`.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        if self.format().len() + signature.to_string().len() + 2 > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Signs the text with an Ed25519 key under a name.
    ///
    /// # Errors
    /// `KeyName`, `Signer`, or as [`Note::add`].
    pub fn sign(&mut self, name: &str, signer: &dyn Signer) -> Result<(), NoteError> {
        let key = VerifierKey::new(name, signer.public_key())?;
        let signature = signer.sign(self.text.as_bytes())?;
        self.add(NoteSignature::new(name, key.key_hash, signature.as_bytes().to_vec())?)
    }

    /// Which of the trusted keys signed, in the order of `known`; at least one did.
    ///
    /// # Errors
    /// `Unsigned`, `WrongSignature` (by a trusted key, whatever else is there) or `AmbiguousKey`.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signed = Vec::new();
        for key in known {
            let twin = |other: &&VerifierKey| other.name == key.name && other.key_hash == key.key_hash;
            if known.iter().filter(twin).any(|other| other != key) {
                return Err(NoteError::AmbiguousKey);
            }
            let mut of_key = self.signatures.iter().filter(|line| key.is_named_by(line)).peekable();
            if of_key.peek().is_none() {
                continue;
            }
            if !of_key.all(|line| key.verifies(&self.text, line)) {
                return Err(NoteError::WrongSignature(key.name.clone()));
            }
            signed.push(key);
        }
        if signed.is_empty() { Err(NoteError::Unsigned) } else { Ok(signed) }
    }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong);
    }
    if text.bytes().any(|c| c < b' ' && c != b'\n') {
        return Err(NoteError::ControlCharacter);
    }
    Ok(())
}

/// An Ed25519 key that notes are checked with. As text ("vkey"): `name+hex(key id)+base64(0x01 | public key)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    key_hash: [u8; KEY_ID_BYTES],
    public_key: PublicKey,
}

impl VerifierKey {
    /// The key under a name; a log's name is its origin.
    ///
    /// # Errors
    /// `KeyName`.
    pub fn new(name: &str, public_key: PublicKey) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        let key_hash = note_key_id(name, TYPE_ED25519, &public_key);
        Ok(Self { name: name.to_owned(), key_hash, public_key })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, which follows from name and key.
    #[must_use]
    pub const fn key_hash(&self) -> [u8; KEY_ID_BYTES] {
        self.key_hash
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    fn is_named_by(&self, line: &NoteSignature) -> bool {
        line.key_hash == self.key_hash && line.name == self.name
    }

    fn verifies(&self, text: &str, line: &NoteSignature) -> bool {
        <[u8; 64]>::try_from(line.bytes.as_slice())
            .is_ok_and(|bytes| verify(&self.public_key, text.as_bytes(), &Signature::from_bytes(bytes)))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![TYPE_ED25519];
        material.extend_from_slice(self.public_key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex(&self.key_hash), STANDARD.encode(material))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    /// Reads exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        // The name has no plus sign, but base64 may.
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(VerifierKeyError::Malformed);
        let (name, id, material) = (part()?, part()?, part()?);
        let material = STANDARD.decode(material).map_err(|_| VerifierKeyError::Malformed)?;
        let (&kind, public_key) = material.split_first().ok_or(VerifierKeyError::Malformed)?;
        if kind != TYPE_ED25519 {
            return Err(VerifierKeyError::Type(kind));
        }
        let public_key = public_key.try_into().map_err(|_| VerifierKeyError::Malformed)?;
        let key = Self::new(name, PublicKey::from_bytes(public_key)).map_err(|_| VerifierKeyError::Malformed)?;
        if hex(&key.key_hash) == id { Ok(key) } else { Err(VerifierKeyError::Id) }
    }
}

#[cfg(test)]
mod tests;
