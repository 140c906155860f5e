//! A package: everything about a release in one file, the same bytes from the same inputs.
//!
//! ```text
//! tar (ustar), names in order, each entry mode 0644, owner 0, time 0:
//!   attestation.json    the publisher's signature, once it is signed
//!   fixtures/*.json     the fixtures
//!   manifest.json       what the module describes
//!   plugin.wasm         the module
//!   release.json        what the publisher claims, as `docs/formats/plugin-events.md` draws it
//! ```
//!
//! Takes a plugin with its terms, or bytes; gives a [`Package`] that holds together: the release names this module and this
//! manifest, and says what the manifest says. The signature covers the release, and by it module and manifest; it does not
//! cover the fixtures.

use std::collections::BTreeMap;
use std::path::Path;

use tally_protocol::hash::{self, LifeHash, SchemaHash};
use tally_protocol::id::{AgentId, KeyId};
use tally_protocol::jcs::{self, Value};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::plugin_event::{PluginEvent, Submission};
use tally_protocol::release::{Price, Release, Signed, Version, attestation_holds};
use tally_protocol::time::LogTime;

use crate::engines::Plugin;
use crate::error::AuthorError;

/// Bytes of a package at most.
pub const PACKAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

const ATTESTATION: &str = "attestation.json";
const FIXTURES: &str = "fixtures/";
const MANIFEST: &str = "manifest.json";
const MODULE: &str = "plugin.wasm";
const RELEASE: &str = "release.json";
const BLOCK: usize = 512;

/// What a release says beside its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What it costs.
    pub price: Price,
    /// The schemas of the event types that it declares.
    pub schemas: BTreeMap<String, SchemaHash>,
}

/// A release with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What is claimed.
    pub release: Release,
    /// What the module describes.
    pub manifest: Vec<u8>,
    /// The module.
    pub wasm: Vec<u8>,
    /// Fixtures by file name.
    pub fixtures: BTreeMap<String, Vec<u8>>,
    /// The publisher's signature.
    pub attestation: Option<Signed>,
}

fn wrong(what: impl core::fmt::Display) -> AuthorError {
    AuthorError::Package(what.to_string())
}

impl Package {
    /// Packs a plugin.
    ///
    /// # Errors
    /// The terms break a rule, or a fixture's name does.
    pub fn new(
        plugin: &Plugin,
        wasm: Vec<u8>,
        fixtures: BTreeMap<String, Vec<u8>>,
        terms: Terms,
    ) -> Result<Self, AuthorError> {
        let release = release_of(&plugin.manifest_bytes, &wasm, terms)?;
        let package = Self { release, manifest: plugin.manifest_bytes.to_vec(), wasm, fixtures, attestation: None };
        package.check()?;
        Ok(package)
    }

    /// Packs a release that was sealed elsewhere with its module: no fixtures, and no signature, because who brings it
    /// into a registry here signs it first.
    ///
    /// # Errors
    /// The release breaks a rule, names another module or manifest, or says something else than the manifest.
    pub fn of_release(release: Release, manifest: Vec<u8>, wasm: Vec<u8>) -> Result<Self, AuthorError> {
        let package = Self { release, manifest, wasm, fixtures: BTreeMap::new(), attestation: None };
        package.check()?;
        Ok(package)
    }

    /// Whether it holds together. The signature is not looked at: that takes the publisher's key.
    fn check(&self) -> Result<(), AuthorError> {
        self.release.check().map_err(wrong)?;
        self.release.check_module(&self.wasm).map_err(wrong)?;
        self.release.check_manifest(&self.manifest).map_err(wrong)?;
        match self.fixtures.keys().find(|name| !is_name(name)) {
            Some(name) => Err(wrong(format!("`{}` is no name of a fixture", crate::shown::shown(name.as_bytes())))),
            None => Ok(()),
        }
    }

    /// Whether it is signed by this key.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.attestation.as_ref().is_some_and(|signed| attestation_holds(&self.release.hash(), signed, key))
    }

    /// The file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let release = member(&self.submission(Signed { ..UNSIGNED }), "release");
        files.insert(RELEASE.to_owned(), jcs::to_canonical(&release));
        files.insert(MANIFEST.to_owned(), self.manifest.clone());
        files.insert(MODULE.to_owned(), self.wasm.clone());
        files.extend(self.fixtures.iter().map(|(name, bytes)| (format!("{FIXTURES}{name}"), bytes.clone())));
        if let Some(signed) = self.attestation {
            let payload = self.submission(signed);
            let members = SIGNED.map(|name| (name, member(&payload, name)));
            files.insert(ATTESTATION.to_owned(), jcs::to_canonical(&Value::object(members)));
        }
        tar(&files)
    }

    /// Reads a file, strictly: only what [`Package::encode`] writes is one.
    ///
    /// # Errors
    /// It is none, or does not hold together.
    pub fn decode(bytes: &[u8]) -> Result<Self, AuthorError> {
        if bytes.len() > PACKAGE_BYTES_MAX {
            return Err(wrong(format!("{} bytes, more than {PACKAGE_BYTES_MAX}", bytes.len())));
        }
        let mut files = untar(bytes)?;
        let mut take = |name: &str| files.remove(name);
        let (attestation, release) = (take(ATTESTATION), take(RELEASE).ok_or_else(|| wrong("no release.json"))?);
        let manifest = take(MANIFEST).ok_or_else(|| wrong("no manifest.json"))?;
        let wasm = take(MODULE).ok_or_else(|| wrong("no plugin.wasm"))?;
        let mut fixtures = BTreeMap::new();
        for (name, bytes) in files {
            let name = name.strip_prefix(FIXTURES).ok_or_else(|| wrong("a file that does not belong there"))?;
            fixtures.insert(name.to_owned(), bytes);
        }
        let submission = submission_of(&release, attestation.as_deref())?;
        let attestation = attestation.map(|_| submission.publisher);
        let package = Self { release: submission.release, manifest, wasm, fixtures, attestation };
        package.check()?;
        if package.encode() != bytes {
            return Err(wrong("not written as packages are"));
        }
        Ok(package)
    }

    /// Reads a package's file.
    ///
    /// # Errors
    /// See [`Package::decode`].
    pub fn load(path: &Path) -> Result<Self, AuthorError> {
        let length = std::fs::metadata(path).map_err(AuthorError::file("read", path))?.len();
        if length > PACKAGE_BYTES_MAX as u64 {
            return Err(wrong(format!("{length} bytes, more than {PACKAGE_BYTES_MAX}")));
        }
        Self::decode(&std::fs::read(path).map_err(AuthorError::file("read", path))?)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), AuthorError> {
        std::fs::write(path, self.encode()).map_err(AuthorError::file("write", path))
    }

    /// The payload of a submission with this signature; the one encoder of releases is the protocol's.
    fn submission(&self, publisher: Signed) -> Value {
        let (release_hash, previous) = (self.release.hash(), LifeHash::ZERO);
        let event =
            PluginEvent::Submitted(Submission { release: self.release.clone(), release_hash, publisher, previous });
        jcs::parse(&event.payload()).unwrap_or(Value::Null)
    }
}

/// Stands where no signature is.
const UNSIGNED: Signed = Signed {
    agent_id: AgentId::from_bytes([1; 16]),
    key_id: KeyId::new(1),
    signed_at: LogTime::from_micros(0),
    signature: Signature::from_bytes([0; 64]),
};
const SIGNED: [&str; 4] = ["publisher_id", "publisher_key_id", "signed_at", "signature"];

fn member(value: &Value, name: &str) -> Value {
    value.get(name).cloned().unwrap_or(Value::Null)
}

fn submission_of(release: &[u8], attestation: Option<&[u8]>) -> Result<Submission, AuthorError> {
    let parse = |bytes: &[u8]| jcs::parse(bytes).map_err(|error| wrong(format!("not JSON: {error}")));
    let signed = match attestation {
        Some(bytes) => parse(bytes)?,
        None => Value::object([
            ("publisher_id", Value::from(UNSIGNED.agent_id.to_string())),
            ("publisher_key_id", Value::from(UNSIGNED.key_id.get())),
            ("signed_at", Value::from(UNSIGNED.signed_at.to_rfc3339())),
            ("signature", Value::from(UNSIGNED.signature.to_hex())),
        ]),
    };
    let mut members: Vec<(&str, Value)> = SIGNED.iter().map(|name| (*name, member(&signed, name))).collect();
    members.push(("release", parse(release)?));
    members.push(("release_hash", Value::from(LifeHash::ZERO.to_hex())));
    members.push(("previous", Value::from(LifeHash::ZERO.to_hex())));
    let payload = jcs::to_canonical(&Value::object(members));
    match PluginEvent::decode("tally.plugin.submitted", &payload) {
        Ok(PluginEvent::Submitted(submission)) => Ok(submission),
        Ok(_) => Err(wrong("release.json is no release")),
        Err(error) => Err(wrong(error)),
    }
}

/// The release that a manifest's plugin claims.
///
/// # Errors
/// The manifest lacks something.
pub fn release_of(manifest: &[u8], wasm: &[u8], terms: Terms) -> Result<Release, AuthorError> {
    let value = jcs::parse(manifest).map_err(wrong)?;
    let missing = |name: &str| wrong(format!("the manifest has no {name}"));
    let text = |name: &str| value.get(name).and_then(Value::as_str).ok_or_else(|| missing(name));
    let number = |name: &str| {
        let number = value.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| missing(name))
    };
    let wished = value.get("capabilities").and_then(Value::as_array).ok_or_else(|| missing("capabilities"))?;
    let limits = value.get("limits").and_then(Value::as_object).ok_or_else(|| missing("limits"))?;
    Ok(Release {
        plugin: tally_protocol::id::PluginId::new(text("id")?).map_err(wrong)?,
        version: Version::parse(text("version")?).map_err(wrong)?,
        module: hash::module(wasm),
        manifest: hash::manifest(manifest),
        abi: number("abi")?,
        state_version: number("state_version")?,
        permissions: wished.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        limits: limits.iter().filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect(),
        price: terms.price,
        schemas: terms.schemas,
    })
}

/// A plain file's name that fits a header, and leads nowhere else.
fn is_name(name: &str) -> bool {
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    name.len() + FIXTURES.len() < 100 && name.bytes().all(letter) && !name.starts_with('.') && name.ends_with(".json")
}

fn tar(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend_from_slice(&header(name, bytes.len()));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(place) = header.get_mut(148..156) {
        place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header
}

fn untar(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, AuthorError> {
    let cut = || wrong("cut off, or no package");
    let (mut files, mut rest) = (BTreeMap::new(), bytes);
    loop {
        let (head, after) = rest.split_at_checked(BLOCK).ok_or_else(cut)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(files);
        }
        let name = head.get(..100).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
        let name = core::str::from_utf8(name).map_err(|_| cut())?;
        let length = head.get(124..135).and_then(|digits| core::str::from_utf8(digits).ok());
        let length = length.and_then(|digits| usize::from_str_radix(digits, 8).ok()).ok_or_else(cut)?;
        let padded = length.checked_next_multiple_of(BLOCK).ok_or_else(cut)?;
        let (content, after) = after.split_at_checked(padded).ok_or_else(cut)?;
        let content = content.get(..length).ok_or_else(cut)?;
        if files.insert(name.to_owned(), content.to_vec()).is_some() {
            return Err(wrong("a file is there twice"));
        }
        rest = after;
    }
}
