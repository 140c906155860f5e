//! `trust.toml`: whose seals count when something is imported.
//!
//! ```toml
//! [[agent]]
//! id = "01890000-0000-7000-8000-0000000000f0"
//! key_id = 1
//! ed25519 = "<64 hex digits>"                       # or: hmac_sha256 = { secret_file = "shared.secret" }
//! ```
//! Takes a path; gives a [`Trust`] that names somebody. A shared secret is in a file of its own (`tally-shared-secret-v1`,
//! `secret: <hex>`), which only its owner can read. Nothing has a default. Unknown keys are errors. What is refused is told
//! by its line or its number, never by its text: a secret may stand where it does not belong.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tally_protocol::id::{AgentId, KeyId};
use tally_protocol::import::{ImportError, MAC_SECRET_BYTES_MAX, MAC_SECRET_BYTES_MIN, SealProfile, Trust, TrustedKey};
use tally_protocol::key::PublicKey;
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::keyfile::{Kept, read_kept};

/// Longer than any trust file; nothing is read past it.
const TRUST_BYTES_MAX: u64 = 64 << 10;
const SECRET_HEADER: &str = "tally-shared-secret-v1";
/// Two digits for each byte, and the words around them.
const SECRET_FILE_BYTES_MAX: u64 = 2 * MAC_SECRET_BYTES_MAX as u64 + 64;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    agent: Vec<Entry>,
}

/// One key of an agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    key_id: u32,
    ed25519: Option<String>,
    hmac_sha256: Option<Shared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    secret_file: PathBuf,
}

/// Reads whose seals count, with every secret that it names.
///
/// # Errors
/// The file is not there, strictly one, or names nobody; others may change it, or read it though it names secrets; a key is
/// none, or there twice; a secret is missing, none, or readable by others.
pub fn load(path: &Path) -> Result<Trust, Failure> {
    let (text, metadata) = read_kept(path, Kept::Trust, TRUST_BYTES_MAX)?;
    let written: Written = toml::from_str(&text).map_err(|error| strict(path, &text, &error))?;
    if written.agent.iter().any(|entry| entry.hmac_sha256.is_some()) {
        Kept::PlaceOfSecrets.check(path, &metadata)?;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut trust = Trust::nobody();
    for (at, entry) in written.agent.iter().enumerate() {
        let here = |why: &str| Failure::usage(format!("{}: [[agent]] {}: {why}", path.display(), at + 1));
        let id: AgentId = entry.id.parse().map_err(|_| here("the id is no agent's"))?;
        let key = entry.key(folder, &here)?;
        trust.add(id, KeyId::new(entry.key_id), key).map_err(|error| here(&ruled(&error)))?;
    }
    if trust.is_empty() {
        return Err(Failure::usage(format!("{} trusts nobody, and nobody is trusted by default", path.display()))
            .hint("name an agent: [[agent]] with id, key_id, and ed25519 or hmac_sha256"));
    }
    Ok(trust)
}

/// A refusal with the rule's name.
#[must_use]
pub fn ruled(error: &ImportError) -> String {
    format!("refused by the rule `{}`: {error}", error.rule())
}

/// Where the file is not one. The library's own words repeat what stands there.
fn strict(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let said = error.message();
    let what = if said.starts_with("unknown field") {
        "a key that is not known here"
    } else if said.starts_with("missing field") {
        "a key is missing"
    } else {
        "not what belongs there"
    };
    Failure::usage(format!("{} is no trust file: line {line}: {what}", path.display()))
        .hint("an [[agent]] has id, key_id, and ed25519 = \"HEX\" or hmac_sha256 = { secret_file = \"PATH\" }")
}

impl Entry {
    fn key(&self, folder: &Path, here: &impl Fn(&str) -> Failure) -> Result<TrustedKey, Failure> {
        match (&self.ed25519, &self.hmac_sha256) {
            (Some(_), Some(_)) => Err(here("a key is of one profile, not of both")),
            (None, None) => Err(here(&ruled(&ImportError::NoKey))),
            (Some(hex), None) => {
                let public = PublicKey::from_hex(hex).map_err(|_| here("ed25519 is no public key in hex"))?;
                TrustedKey::new(SealProfile::Ed25519, Some(public.as_bytes())).map_err(|error| here(&ruled(&error)))
            }
            (None, Some(shared)) => {
                let file = folder.join(&shared.secret_file);
                let secret = read_secret(&file)?;
                TrustedKey::new(SealProfile::HmacSha256, Some(&secret)).map_err(|error| {
                    here(&format!("{}: {}", file.display(), ruled(&error))).hint(format!(
                        "a shared secret has {MAC_SECRET_BYTES_MIN} to {MAC_SECRET_BYTES_MAX} bytes, not all the same"
                    ))
                })
            }
        }
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (text, _) = read_kept(path, Kept::Secret, SECRET_FILE_BYTES_MAX)?;
    decode(&text).ok_or_else(|| {
        Failure::usage(format!("{} holds no shared secret", path.display()))
            .hint(format!("two lines: {SECRET_HEADER}, and `secret: ` with the secret's bytes in hex"))
    })
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let hex = text.strip_prefix(SECRET_HEADER)?.strip_prefix("\nsecret: ")?.strip_suffix('\n')?.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut secret = Zeroizing::new(Vec::with_capacity(hex.len() / 2));
    for pair in hex.chunks(2) {
        let [high, low] = pair else { return None };
        secret.push((digit(*high)? << 4) | digit(*low)?);
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_has_two_lines_and_nothing_else() {
        let good = format!("{SECRET_HEADER}\nsecret: 00fFa1\n");
        assert_eq!(decode(&good).unwrap().as_slice(), [0, 0xff, 0xa1]);
        for bad in [
            "",
            "00ffa1\n",
            &good[..good.len() - 1],
            &good[1..],
            &format!("{good}\n"),
            &good.replace("a1", "a"),
            &good.replace("a1", "g1"),
            &good.replace("secret", "seed"),
            &good.replace("00", " 0"),
        ] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
    }
}
