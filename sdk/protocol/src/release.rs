//! A release of a plugin: what its publisher claims and signs, and what a reviewer signs about it.
//!
//! ```text
//! release hash = SHA-256("TALLY_RELEASE_V1" | str plugin | u32 major | u32 minor | u32 patch | module hash[32]
//!     | manifest hash[32] | u32 abi | u32 state version | u32 count, of each permission str
//!     | u32 count, of each limit str name, u64 value | u64 amount | str currency | u8 per
//!     | u32 count, of each schema str event type, schema hash[32])
//! attestation  = Ed25519(publisher, SHA-256("TALLY_ATTEST_V1" | release hash | agent[16] | u32 key id | u64 signed at))
//! review       = Ed25519(reviewer, SHA-256("TALLY_REVIEW_V1" | previous[32] | release hash[32] | u8 decision
//!     | u8 override | report[32] | u32 blocking | str reason | agent[16] | u32 key id | u64 signed at))
//! ```
//! Lists are in the order of their bytes, each entry once, so a release has one hash; every variable part has its
//! length, so no two releases share one (S-172). Takes claims and keys, says whether they hold; who may publish or
//! review is decided by [`crate::plugin_life`]. The HMAC profile (S-171) is for packages of foreign registries and
//! never enters the log: who can verify a MAC can also make one, and no auditor has the secret.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::hash::{
    self, AttestationHash, LifeHash, ManifestHash, ModuleHash, ReleaseHash, ReportHash, ReviewHash, SchemaHash,
};
use crate::id::{AgentId, KeyId, PluginId};
use crate::jcs::{self, INTEGER_MAX, Value};
use crate::key::{PublicKey, Signature, Signer, SignerError, ct_eq, verify};
use crate::limits::{
    EVENT_TYPE_BYTES_MAX, MANIFEST_BYTES_MAX, PERMISSION_BYTES_MAX, PERMISSIONS_MAX, PLUGIN_LIMITS_MAX,
    REASON_BYTES_MAX, SCHEMAS_MAX,
};
use crate::outcome::{is_limit_name, put_str};
use crate::time::LogTime;

/// A permission that starts with this lets its plugin bring the entity type that follows to a store (S-003).
pub const ENTITY_PERMISSION: &str = "entity:";

/// Why a release is not one, or is not the manifest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Not `MAJOR.MINOR.PATCH`.
    #[error("version is not three numbers without leading zeros")]
    Version,
    /// A permission is not 1 to 128 visible ASCII characters, or there are too many.
    #[error("permissions are malformed")]
    Permissions,
    /// The name or value of a limit is malformed, or there are too many.
    #[error("limits are malformed")]
    Limits,
    /// The amount is beyond 2^53-1, or the currency is not three capitals.
    #[error("price is malformed")]
    Price,
    /// An event type is malformed, or there are too many.
    #[error("schemas are malformed")]
    Schemas,
    /// A version number that counts from 1 is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// The manifest is too long, no canonical JSON object, or not the one that the release names.
    #[error("manifest is not the one that the release names")]
    ManifestHash,
    /// A member of the manifest says something else than the release.
    #[error("manifest and release differ in {0}")]
    Manifest(&'static str),
    /// The module is not the one that the release names.
    #[error("module is not the one that the release names")]
    Module,
}

/// `MAJOR.MINOR.PATCH`; the order is that of the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Rises with a change that breaks.
    pub major: u32,
    /// Rises with an addition.
    pub minor: u32,
    /// Rises with a repair.
    pub patch: u32,
}

impl Version {
    /// From its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the one spelling of a version.
    ///
    /// # Errors
    /// Anything else: labels, leading zeros, signs, numbers beyond 32 bits.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).ok_or(ReleaseError::Version);
        let mut parts = text.split('.');
        let version = Self::new(number(parts.next())?, number(parts.next())?, number(parts.next())?);
        // Refuses a fourth part, a sign, a leading zero.
        if version.to_string() == text { Ok(version) } else { Err(ReleaseError::Version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a price is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PricePer {
    /// Once, at installation.
    Install,
    /// Each month while installed.
    Month,
    /// Each event that it runs on.
    Event,
    /// Each million of gas charged.
    MillionGas,
}

impl PricePer {
    /// Every unit, in the order of its numbers.
    pub const ALL: [Self; 4] = [Self::Install, Self::Month, Self::Event, Self::MillionGas];

    const fn number(self) -> u8 {
        match self {
            Self::Install => 0,
            Self::Month => 1,
            Self::Event => 2,
            Self::MillionGas => 3,
        }
    }

    /// The unit as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Month => "month",
            Self::Event => "event",
            Self::MillionGas => "million_gas",
        }
    }
}

/// What a plugin costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price {
    /// Integer minor units (cents); zero for a free plugin.
    pub amount: u64,
    /// Three capitals (ISO 4217).
    pub currency: [u8; 3],
    /// What it is paid for.
    pub per: PricePer,
}

impl Price {
    /// The currency as text.
    #[must_use]
    pub fn currency(&self) -> &str {
        core::str::from_utf8(&self.currency).unwrap_or("")
    }
}

/// What a publisher claims about one version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Release {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// BLAKE3 of its module.
    pub module: ModuleHash,
    /// The hash of its manifest (S-170).
    pub manifest: ManifestHash,
    /// The ABI that the module speaks, from 1.
    pub abi: u32,
    /// The version of the state that it keeps, from 1.
    pub state_version: u32,
    /// The capabilities that it asks for.
    pub permissions: BTreeSet<String>,
    /// The limits that it asks for.
    pub limits: BTreeMap<String, u64>,
    /// What it costs.
    pub price: Price,
    /// The schemas of the event types that it declares.
    pub schemas: BTreeMap<String, SchemaHash>,
}

impl Release {
    /// What can be judged without knowing any state.
    ///
    /// # Errors
    /// The first part that breaks its rule.
    pub fn check(&self) -> Result<(), ReleaseError> {
        let check = |holds: bool, error: ReleaseError| if holds { Ok(()) } else { Err(error) };
        check(self.abi >= 1, ReleaseError::Zero("abi"))?;
        check(self.state_version >= 1, ReleaseError::Zero("state_version"))?;
        check(are_permissions(&self.permissions), ReleaseError::Permissions)?;
        check(are_limits(&self.limits), ReleaseError::Limits)?;
        let currency = self.price.currency.iter().all(u8::is_ascii_uppercase);
        check(currency && self.price.amount <= INTEGER_MAX, ReleaseError::Price)?;
        let is_type = |name: &String| (1..=EVENT_TYPE_BYTES_MAX).contains(&name.len()) && !name.contains('\0');
        check(self.schemas.len() <= SCHEMAS_MAX && self.schemas.keys().all(is_type), ReleaseError::Schemas)
    }

    /// The hash of every field. Only a release that passes [`Release::check`] is ever asked for it.
    #[must_use]
    pub fn hash(&self) -> ReleaseHash {
        hash::release(&self.fields())
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let count = |out: &mut Vec<u8>, count: usize| {
            out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        };
        put_str(&mut out, self.plugin.as_str().as_bytes());
        for number in [self.version.major, self.version.minor, self.version.patch] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.module.as_bytes());
        out.extend_from_slice(self.manifest.as_bytes());
        out.extend_from_slice(&self.abi.to_be_bytes());
        out.extend_from_slice(&self.state_version.to_be_bytes());
        count(&mut out, self.permissions.len());
        for permission in &self.permissions {
            put_str(&mut out, permission.as_bytes());
        }
        count(&mut out, self.limits.len());
        for (name, value) in &self.limits {
            put_str(&mut out, name.as_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&self.price.amount.to_be_bytes());
        put_str(&mut out, &self.price.currency);
        out.push(self.price.per.number());
        count(&mut out, self.schemas.len());
        for (event_type, schema) in &self.schemas {
            put_str(&mut out, event_type.as_bytes());
            out.extend_from_slice(schema.as_bytes());
        }
        out
    }

    /// Whether this is the release's module (S-175: at every load).
    ///
    /// # Errors
    /// It is another.
    pub fn check_module(&self, module: &[u8]) -> Result<(), ReleaseError> {
        if hash::module(module) == self.module { Ok(()) } else { Err(ReleaseError::Module) }
    }

    /// Whether this is the release's manifest, and says what the release says: id, version, ABI, state version,
    /// capabilities, limits.
    ///
    /// # Errors
    /// It is another, or the release claims more or less than its manifest.
    pub fn check_manifest(&self, manifest: &[u8]) -> Result<(), ReleaseError> {
        if manifest.len() > MANIFEST_BYTES_MAX || hash::manifest(manifest) != self.manifest {
            return Err(ReleaseError::ManifestHash);
        }
        jcs::is_canonical(manifest).map_err(|_| ReleaseError::ManifestHash)?;
        let manifest = jcs::parse(manifest).map_err(|_| ReleaseError::ManifestHash)?;
        let same = |name: &'static str, holds: &dyn Fn(&Value) -> bool| {
            manifest.get(name).filter(|value| holds(value)).map(|_| ()).ok_or(ReleaseError::Manifest(name))
        };
        same("id", &|value| value.as_str() == Some(self.plugin.as_str()))?;
        same("version", &|value| value.as_str() == Some(self.version.to_string().as_str()))?;
        same("abi", &|value| value.as_u64() == Some(self.abi.into()))?;
        same("state_version", &|value| value.as_u64() == Some(self.state_version.into()))?;
        same("capabilities", &|value| {
            let wished = value.as_array().unwrap_or_default().iter().map(Value::as_str);
            value.as_array().is_some() && wished.eq(self.permissions.iter().map(|text| Some(text.as_str())))
        })?;
        same("limits", &|value| {
            let wished = value.as_object().unwrap_or_default().iter().map(|(name, value)| (name, value.as_u64()));
            value.as_object().is_some() && wished.eq(self.limits.iter().map(|(name, value)| (name, Some(*value))))
        })
    }
}

pub(crate) fn are_permissions(permissions: &BTreeSet<String>) -> bool {
    let fits = |text: &String| {
        (1..=PERMISSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    permissions.len() <= PERMISSIONS_MAX && permissions.iter().all(fits)
}

pub(crate) fn are_limits(limits: &BTreeMap<String, u64>) -> bool {
    limits.len() <= PLUGIN_LIMITS_MAX && limits.iter().all(|(name, value)| is_limit_name(name) && *value <= INTEGER_MAX)
}

/// Who signed, when, and the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signed {
    /// The agent.
    pub agent_id: AgentId,
    /// Which of its keys.
    pub key_id: KeyId,
    /// When it signed, by its own clock.
    pub signed_at: LogTime,
    /// Ed25519, of a registered key.
    pub signature: Signature,
}

/// Signs a release as its publisher.
///
/// # Errors
/// The signer gives no signature.
pub fn attest(
    release: &ReleaseHash,
    agent_id: AgentId,
    key_id: KeyId,
    signed_at: LogTime,
    signer: &dyn Signer,
) -> Result<Signed, SignerError> {
    let hash = hash::attestation(release, &agent_id, key_id, signed_at);
    Ok(Signed { agent_id, key_id, signed_at, signature: signer.sign(hash.as_bytes())? })
}

/// Whether a publisher's signature is over this release and of this key.
#[must_use]
pub fn attestation_holds(release: &ReleaseHash, signed: &Signed, key: &PublicKey) -> bool {
    let hash = hash::attestation(release, &signed.agent_id, signed.key_id, signed.signed_at);
    verify(key, hash.as_bytes(), &signed.signature)
}

/// The MAC of the compatibility profile (S-171): HMAC-SHA256 of the 32 bytes of what a publisher signs.
///
/// There is no default secret, and verifying takes the secret: whoever verifies could have forged, which is why a
/// package under a MAC gets an Ed25519 signature before it enters the log.
#[derive(Clone, Copy)]
pub struct ReleaseMac([u8; 32]);

impl ReleaseMac {
    /// The MAC of an attestation.
    #[must_use]
    pub fn new(secret: &[u8], attestation: &AttestationHash) -> Self {
        Self(hash::hmac_sha256(secret, attestation.as_bytes()))
    }

    /// A MAC that came from elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to be sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the MAC of an attestation, in a time that does not depend on where it differs. An empty secret
    /// verifies nothing.
    #[must_use]
    pub fn holds(&self, secret: &[u8], attestation: &AttestationHash) -> bool {
        !secret.is_empty() && ct_eq(&Self::new(secret, attestation).0, &self.0)
    }
}

impl fmt::Debug for ReleaseMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleaseMac(..)")
    }
}

/// What a reviewer says about a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// It may be installed.
    Approved,
    /// It may not.
    Rejected,
    /// It may not any more, and nothing of it runs on.
    Revoked,
}

impl Decision {
    /// Every decision, in the order of its numbers.
    pub const ALL: [Self; 3] = [Self::Approved, Self::Rejected, Self::Revoked];

    const fn number(self) -> u8 {
        match self {
            Self::Approved => 0,
            Self::Rejected => 1,
            Self::Revoked => 2,
        }
    }

    /// The decision as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }
}

/// A reviewer's decision, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Review {
    /// The plugin.
    pub plugin: PluginId,
    /// Which of its versions.
    pub version: Version,
    /// Everything the release claims.
    pub release: ReleaseHash,
    /// What is decided.
    pub decision: Decision,
    /// Whether it sets aside what blocks it; only a root agent may.
    pub overrides: bool,
    /// The lint and compliance report that the reviewer saw.
    pub report: ReportHash,
    /// How many of its findings block an approval.
    pub blocking: u32,
    /// Why: 1 to 512 bytes.
    pub reason: String,
    /// The head of the plugin's life in this registry, which ties the review to its ledger and place in history.
    pub previous: LifeHash,
}

impl Review {
    /// Whether the reason keeps its bounds.
    #[must_use]
    pub(crate) fn has_reason(&self) -> bool {
        is_reason(&self.reason)
    }

    /// What the reviewer signs.
    #[must_use]
    pub fn hash(&self, agent_id: &AgentId, key_id: KeyId, signed_at: LogTime) -> ReviewHash {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(self.release.as_bytes());
        out.extend_from_slice(&[self.decision.number(), u8::from(self.overrides)]);
        out.extend_from_slice(self.report.as_bytes());
        out.extend_from_slice(&self.blocking.to_be_bytes());
        put_str(&mut out, self.reason.as_bytes());
        out.extend_from_slice(agent_id.as_bytes());
        out.extend_from_slice(&key_id.get().to_be_bytes());
        out.extend_from_slice(&signed_at.micros().to_be_bytes());
        hash::review(&out)
    }

    /// Signs the review.
    ///
    /// # Errors
    /// The signer gives no signature.
    pub fn sign(
        &self,
        agent_id: AgentId,
        key_id: KeyId,
        signed_at: LogTime,
        signer: &dyn Signer,
    ) -> Result<Signed, SignerError> {
        let hash = self.hash(&agent_id, key_id, signed_at);
        Ok(Signed { agent_id, key_id, signed_at, signature: signer.sign(hash.as_bytes())? })
    }

    /// Whether a signature is over this review and of this key.
    #[must_use]
    pub fn signature_holds(&self, signed: &Signed, key: &PublicKey) -> bool {
        let hash = self.hash(&signed.agent_id, signed.key_id, signed.signed_at);
        verify(key, hash.as_bytes(), &signed.signature)
    }
}

pub(crate) fn is_reason(text: &str) -> bool {
    (1..=REASON_BYTES_MAX).contains(&text.len()) && !text.contains('\0')
}
