//! What comes from a foreign registry: releases and templates, each under a seal that is verified before anything else.
//!
//! ```text
//! package  = {"release": .., "seal": ..}        template = {"seal": .., "template": ..}          (canonical JSON)
//! seal     = {"agent_id", "key_id", "profile": "ed25519" | "hmac_sha256", "signed_at", "value": 64 or 32 bytes in hex}
//!            over the attestation of the release, or
//!            SHA-256("TALLY_TEMPLATE_SEAL_V1" | template hash[32] | agent[16] | u32 key id | u64 signed at)
//! ```
//! Takes bytes and a [`Trust`], gives an [`Imported`] value, which cannot be had in another way (S-188). Ed25519 is the
//! default: whoever verifies it holds 32 public bytes and can make nothing. HMAC-SHA256 is for registries that have
//! nothing else (S-171): who verifies it could have made it, so it never enters the log. A trust has no keys that nobody
//! gave it, no secret has a default, and nothing here makes a seal (S-174).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::control::ControlError;
use crate::control::fields::{Fields, written};
use crate::hash::{self, AttestationHash, ProfileId, ReleaseHash};
use crate::id::{AgentId, KeyId, PluginId, Stream};
use crate::jcs::{self, Value};
use crate::key::{KeyError, PublicKey, Signature, check_registration, verify};
use crate::limits::{ATTESTATION_SKEW, PLUGIN_CONFIG_BYTES_MAX};
use crate::plugin_event::{self, Binding, Config, Members, Registry};
use crate::plugin_life::{PluginRegister, ReleaseStatus};
use crate::release::{Release, ReleaseMac, Version, are_limits, are_permissions};
use crate::time::LogTime;

/// The longest package or template: the largest configuration, and everything else of a release.
pub const IMPORT_BYTES_MAX: usize = 2 * PLUGIN_CONFIG_BYTES_MAX + (256 << 10);
/// The shortest shared secret: what the MAC has bytes.
pub const MAC_SECRET_BYTES_MIN: usize = 32;
/// The longest.
pub const MAC_SECRET_BYTES_MAX: usize = 1024;
/// The longest name of a template.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 128;

/// Why nothing is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not the format, strictly.
    #[error("the import is malformed: {0}")]
    Malformed(#[from] ControlError),
    /// Longer than any may be.
    #[error("the import is too long")]
    Bytes,
    /// Nobody trusts this key of this agent.
    #[error("the seal's key is not trusted")]
    Untrusted,
    /// The key is trusted for the other profile.
    #[error("the seal is of another profile than its key")]
    Profile,
    /// The seal is not over this.
    #[error("the seal does not verify")]
    Seal,
    /// The seal's time lies ahead.
    #[error("the seal's time lies in the future")]
    Ahead,
    /// No secret was given, and there is none by default.
    #[error("no key was given, and there is no default")]
    NoKey,
    /// The secret is shorter than it may be, longer, or one byte over and over.
    #[error("the shared secret is not one")]
    Secret,
    /// The public key is not one.
    #[error("the public key is not one: {0}")]
    Key(#[from] KeyError),
    /// The key stands there already: keys are not changed under what they sealed.
    #[error("this key of this agent has been given")]
    KeyTwice,
    /// The template names a release that this registry has not, or not approved.
    #[error("the release is not approved in this registry")]
    NotApproved,
}

impl ImportError {
    /// The rule that refuses, in one word for scripts.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "format",
            Self::Bytes => "length",
            Self::Untrusted => "untrusted",
            Self::Profile => "profile",
            Self::Seal => "seal",
            Self::Ahead => "ahead",
            Self::NoKey => "no_key",
            Self::Secret => "secret",
            Self::Key(_) => "key",
            Self::KeyTwice => "key_twice",
            Self::NotApproved => "not_approved",
        }
    }
}

/// How an import is sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealProfile {
    /// A signature: who verifies it cannot make it.
    #[default]
    Ed25519,
    /// A MAC: who verifies it can.
    HmacSha256,
}

impl SealProfile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::HmacSha256];

    /// The profile as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::HmacSha256 => "hmac_sha256",
        }
    }
}

/// A secret that is shared with a foreign registry. It has no default, is not shown, and is wiped.
pub struct MacSecret(Zeroizing<Vec<u8>>);

impl MacSecret {
    /// Takes a secret.
    ///
    /// # Errors
    /// It is shorter or longer than it may be, or one byte over and over, as placeholders are.
    pub fn new(bytes: &[u8]) -> Result<Self, ImportError> {
        let bounds = MAC_SECRET_BYTES_MIN..=MAC_SECRET_BYTES_MAX;
        let varied = bytes.iter().any(|byte| Some(byte) != bytes.first());
        if bounds.contains(&bytes.len()) && varied {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        } else {
            Err(ImportError::Secret)
        }
    }
}

impl fmt::Debug for MacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacSecret(..)")
    }
}

/// What a seal is verified with.
#[derive(Debug)]
pub enum TrustedKey {
    /// A publisher's public key: all that an Ed25519 verifier holds.
    Ed25519(PublicKey),
    /// A shared secret.
    HmacSha256(MacSecret),
}

impl TrustedKey {
    /// Reads what an operator configured for a profile.
    ///
    /// # Errors
    /// Nothing was configured, or it is no public key, or no secret.
    pub fn new(profile: SealProfile, configured: Option<&[u8]>) -> Result<Self, ImportError> {
        let bytes = configured.ok_or(ImportError::NoKey)?;
        match profile {
            SealProfile::Ed25519 => {
                let key = PublicKey::from_bytes(bytes.try_into().map_err(|_| KeyError::NotAPoint)?);
                check_registration(&key)?;
                Ok(Self::Ed25519(key))
            }
            SealProfile::HmacSha256 => MacSecret::new(bytes).map(Self::HmacSha256),
        }
    }
}

/// Whose seals count. It begins empty, and trusts nobody.
#[derive(Debug, Default)]
pub struct Trust {
    keys: BTreeMap<(AgentId, KeyId), TrustedKey>,
}

impl Trust {
    /// Nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Trusts one key of an agent.
    ///
    /// # Errors
    /// Another key stands there.
    pub fn add(&mut self, agent: AgentId, key_id: KeyId, key: TrustedKey) -> Result<(), ImportError> {
        if self.keys.contains_key(&(agent, key_id)) {
            return Err(ImportError::KeyTwice);
        }
        self.keys.insert((agent, key_id), key);
        Ok(())
    }

    /// Whether it trusts nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether it trusts what this key signs. Who holds that key could have sealed what it verifies (S-174).
    #[must_use]
    pub fn trusts(&self, public: &PublicKey) -> bool {
        self.keys.values().any(|key| matches!(key, TrustedKey::Ed25519(trusted) if trusted == public))
    }

    /// Reads a package: a release under its publisher's seal.
    ///
    /// # Errors
    /// It is malformed, or its seal is not trusted, not over it, or ahead of `now`.
    pub fn import_release(&self, package: &[u8], now: LogTime) -> Result<Imported<Release>, ImportError> {
        let (release, seal) = read(package, |fields| {
            Ok((fields.inner("release", plugin_event::read_release)?, fields.inner("seal", Seal::read)?))
        })?;
        release.check().map_err(ControlError::from)?;
        let signed = hash::attestation(&release.hash(), &seal.agent_id, seal.key_id, seal.signed_at);
        self.verify(&signed, &seal, now)?;
        Ok(Imported { value: release, sealed: seal.by() })
    }

    /// Reads a template: what to install of a release and how, under its publisher's seal.
    ///
    /// # Errors
    /// As for [`Trust::import_release`].
    pub fn import_template(&self, template: &[u8], now: LogTime) -> Result<Imported<Template>, ImportError> {
        let (template, seal) = read(template, |fields| {
            Ok((fields.inner("template", Template::read)?, fields.inner("seal", Seal::read)?))
        })?;
        let json = jcs::to_canonical(&Value::object(template.members()));
        let signed = hash::template_seal(&hash::template(&json), &seal.agent_id, seal.key_id, seal.signed_at);
        self.verify(&signed, &seal, now)?;
        Ok(Imported { value: template, sealed: seal.by() })
    }

    fn verify(&self, signed: &AttestationHash, seal: &Seal, now: LogTime) -> Result<(), ImportError> {
        let key = self.keys.get(&(seal.agent_id, seal.key_id)).ok_or(ImportError::Untrusted)?;
        let holds = match (key, &seal.value) {
            (TrustedKey::Ed25519(key), SealValue::Ed25519(signature)) => verify(key, signed.as_bytes(), signature),
            // In a time that does not depend on where they differ.
            (TrustedKey::HmacSha256(secret), SealValue::HmacSha256(mac)) => mac.holds(&secret.0, signed),
            // A public key is never taken for a secret, whatever the import says of itself.
            _ => return Err(ImportError::Profile),
        };
        if !holds {
            return Err(ImportError::Seal);
        }
        if seal.signed_at > now.saturating_add(ATTESTATION_SKEW) { Err(ImportError::Ahead) } else { Ok(()) }
    }
}

fn read<T>(json: &[u8], read: impl FnOnce(&mut Fields) -> Result<T, ControlError>) -> Result<T, ImportError> {
    if json.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::Bytes);
    }
    Ok(Fields::read(json, read)?)
}

/// Who sealed, with which key, how and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedBy {
    /// The agent.
    pub agent_id: AgentId,
    /// Which of its keys.
    pub key_id: KeyId,
    /// How.
    pub profile: SealProfile,
    /// When.
    pub signed_at: LogTime,
}

/// Something that came under a trusted seal. Nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported<T> {
    value: T,
    sealed: SealedBy,
}

impl<T> Imported<T> {
    /// What was imported.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Who sealed it.
    #[must_use]
    pub const fn publisher(&self) -> AgentId {
        self.sealed.agent_id
    }

    /// The seal that was verified.
    #[must_use]
    pub const fn sealed(&self) -> &SealedBy {
        &self.sealed
    }
}

/// What to install of a release, and how: a shop's plugin as another shop can have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// Its name: 1 to 128 bytes.
    pub name: String,
    /// The plugin.
    pub plugin: PluginId,
    /// Which version.
    pub version: Version,
    /// Everything the release claims.
    pub release: ReleaseHash,
    /// What it may do.
    pub granted: BTreeSet<String>,
    /// Its limits.
    pub limits: BTreeMap<String, u64>,
    /// Its configuration.
    pub config: Config,
}

impl Template {
    fn read(fields: &mut Fields) -> Result<Self, ControlError> {
        let template = Self {
            name: fields.text("name")?,
            plugin: fields.parsed("plugin_id", PluginId::new)?,
            version: fields.parsed("version", Version::parse)?,
            release: fields.parsed("release_hash", ReleaseHash::from_hex)?,
            granted: fields.texts("granted")?,
            limits: plugin_event::read_numbers(fields, "limits")?,
            config: plugin_event::read_config(fields)?,
        };
        let check = |holds: bool, name: &'static str| if holds { Ok(()) } else { Err(ControlError::Field(name)) };
        let named = (1..=TEMPLATE_NAME_BYTES_MAX).contains(&template.name.len());
        check(named && !template.name.chars().any(char::is_control), "name")?;
        check(are_permissions(&template.granted), "granted")?;
        check(are_limits(&template.limits), "limits")?;
        Ok(template)
    }

    fn members(&self) -> Members {
        vec![
            ("config", self.config.value()),
            ("granted", written(&self.granted)),
            ("limits", plugin_event::numbers(&self.limits)),
            ("name", Value::from(self.name.as_str())),
            ("plugin_id", Value::from(self.plugin.as_str())),
            ("release_hash", Value::from(self.release.to_hex())),
            ("version", Value::from(self.version.to_string())),
        ]
    }

    /// The canonical JSON that its hash is over.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        jcs::to_canonical(&Value::object(self.members()))
    }
}

impl Imported<Template> {
    /// The installation that it comes to in a store, which is still judged as any other when it is in the log.
    ///
    /// # Errors
    /// The registry has no such release, or has not approved it.
    pub fn binding(
        &self,
        register: &PluginRegister,
        registry: Registry,
        store: &Stream,
        profile: ProfileId,
    ) -> Result<Binding, ImportError> {
        let template = &self.value;
        let record = register.release(&registry.stream(store.tenant), &template.plugin, template.version);
        let approved = |status| status == ReleaseStatus::Approved;
        let record = record
            .filter(|record| *record.hash() == template.release && approved(record.status()))
            .ok_or(ImportError::NotApproved)?;
        Ok(Binding {
            store_id: store.store,
            plugin: template.plugin.clone(),
            registry,
            version: template.version,
            release: template.release,
            module: record.release().module,
            profile,
            state_version: record.release().state_version,
            granted: template.granted.clone(),
            limits: template.limits.clone(),
            config: template.config.clone(),
            rollback: false,
            previous: register.head(store, &template.plugin),
        })
    }
}

/// Who sealed, when, with what.
struct Seal {
    agent_id: AgentId,
    key_id: KeyId,
    signed_at: LogTime,
    value: SealValue,
}

enum SealValue {
    Ed25519(Signature),
    HmacSha256(ReleaseMac),
}

impl Seal {
    fn read(fields: &mut Fields) -> Result<Self, ControlError> {
        let profile =
            fields.parsed("profile", |text| plugin_event::named(SealProfile::ALL, SealProfile::as_str, text))?;
        Ok(Self {
            agent_id: fields.id("agent_id")?,
            key_id: KeyId::new(fields.u32("key_id")?),
            signed_at: fields.time("signed_at")?,
            value: match profile {
                SealProfile::Ed25519 => SealValue::Ed25519(fields.parsed("value", Signature::from_hex)?),
                SealProfile::HmacSha256 => SealValue::HmacSha256(fields.parsed("value", |text| {
                    // 32 bytes in lower-case digits, as a hash is written.
                    ReleaseHash::from_hex(text).map(|hash| ReleaseMac::from_bytes(*hash.as_bytes()))
                })?),
            },
        })
    }
}

impl Seal {
    const fn by(&self) -> SealedBy {
        let profile = match self.value {
            SealValue::Ed25519(_) => SealProfile::Ed25519,
            SealValue::HmacSha256(_) => SealProfile::HmacSha256,
        };
        SealedBy { agent_id: self.agent_id, key_id: self.key_id, profile, signed_at: self.signed_at }
    }
}

/// A package, from its release and a seal that was made elsewhere.
#[must_use]
pub fn package(release: &Release, seal: &SealText<'_>) -> Vec<u8> {
    let release = Value::object(plugin_event::write_release(release));
    jcs::to_canonical(&Value::object([("release", release), ("seal", seal.value())]))
}

/// A sealed template, from a seal that was made elsewhere.
#[must_use]
pub fn sealed_template(template: &Template, seal: &SealText<'_>) -> Vec<u8> {
    let template = Value::object(template.members());
    jcs::to_canonical(&Value::object([("seal", seal.value()), ("template", template)]))
}

/// A seal as it is written.
#[derive(Debug, Clone, Copy)]
pub struct SealText<'s> {
    /// Who sealed.
    pub agent_id: AgentId,
    /// With which key.
    pub key_id: KeyId,
    /// When.
    pub signed_at: LogTime,
    /// How.
    pub profile: SealProfile,
    /// The signature's or the MAC's bytes.
    pub value: &'s [u8],
}

impl SealText<'_> {
    fn value(&self) -> Value {
        Value::object([
            ("agent_id", Value::from(self.agent_id.to_string())),
            ("key_id", Value::from(self.key_id.get())),
            ("profile", Value::from(self.profile.as_str())),
            ("signed_at", Value::from(self.signed_at.to_rfc3339())),
            ("value", Value::from(hash::hex(self.value))),
        ])
    }
}
