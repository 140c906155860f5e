//! Plugin events: how plugins come to be, are reviewed, run and go, as signed events in the control streams.
//!
//! A registry is a control stream: the ledger's serves every tenant, a tenant's own serves that tenant.
//! `tally.plugin.submitted` and `.reviewed` are in a registry; `.installed`, `.configured`, `.upgraded`,
//! `.quarantined` and `.removed` are in the control stream of the tenant whose store they are about. Takes an event
//! type and its payload, gives a [`PluginEvent`]; a payload is canonical JSON with exactly the members of its type, as
//! for [`crate::control`]. Whether the state allows the event is decided by [`crate::plugin_life::PluginRegister`].

use std::collections::{BTreeMap, BTreeSet};

use crate::control::ControlError;
use crate::control::fields::{Fields, written};
use crate::hash::{LifeHash, ManifestHash, ModuleHash, ProfileId, ReleaseHash, ReportHash, SchemaHash};
use crate::id::{KeyId, PluginId, StoreId, Stream, TenantId};
use crate::jcs::{self, Value};
use crate::key::Signature;
use crate::limits::PLUGIN_CONFIG_BYTES_MAX;
use crate::release::{
    Decision, Price, PricePer, Release, Review, Signed, Version, are_limits, are_permissions, is_reason,
};
use crate::time::LogTime;

/// Event types of plugins start with this.
pub const PLUGIN_PREFIX: &str = "tally.plugin.";

const SUBMITTED: &str = "tally.plugin.submitted";
const REVIEWED: &str = "tally.plugin.reviewed";
const INSTALLED: &str = "tally.plugin.installed";
const CONFIGURED: &str = "tally.plugin.configured";
const UPGRADED: &str = "tally.plugin.upgraded";
const QUARANTINED: &str = "tally.plugin.quarantined";
const REMOVED: &str = "tally.plugin.removed";

/// A plugin's configuration: a canonical JSON object, which `init` and `migrate` are given as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config(Vec<u8>);

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// It is too long, or no canonical JSON object.
    pub fn new(json: &[u8]) -> Result<Self, ControlError> {
        if json.len() > PLUGIN_CONFIG_BYTES_MAX || !json.starts_with(b"{") {
            return Err(ControlError::Field("config"));
        }
        // One level deeper than it stands here, because that is where it stands in a payload.
        jcs::is_canonical(&[b"[", json, b"]"].concat())?;
        Ok(Self(json.to_vec()))
    }

    /// The empty configuration, `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self(b"{}".to_vec())
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn value(&self) -> Value {
        // Canonical JSON, by `new`.
        jcs::parse(&self.0).unwrap_or(Value::Null)
    }
}

/// Whose registry a release is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// The ledger's, for every tenant.
    Ledger,
    /// The tenant's own.
    Tenant,
}

impl Registry {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ledger, Self::Tenant];

    /// The registry as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Tenant => "tenant",
        }
    }

    /// The control stream that it is, seen from a tenant.
    #[must_use]
    pub const fn stream(self, tenant: TenantId) -> Stream {
        match self {
            Self::Ledger => Stream::LEDGER,
            Self::Tenant => Stream::control(tenant),
        }
    }
}

/// A release comes into a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Submission {
    /// What is claimed.
    pub release: Release,
    /// The hash that the submitter computed; it must be the release's (S-178).
    pub release_hash: ReleaseHash,
    /// The publisher's signature.
    pub publisher: Signed,
    /// The head of the plugin's life in this registry.
    pub previous: LifeHash,
}

/// What runs in a store: the members that installing and upgrading share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The store; with the stream's tenant it names the target stream.
    pub store_id: StoreId,
    /// The plugin.
    pub plugin: PluginId,
    /// The registry that approved it.
    pub registry: Registry,
    /// Which version.
    pub version: Version,
    /// Everything the release claims.
    pub release: ReleaseHash,
    /// Its module.
    pub module: ModuleHash,
    /// The rules it runs under.
    pub profile: ProfileId,
    /// The version of the state that it keeps.
    pub state_version: u32,
    /// What it may do: never more than the release asks for (S-187).
    pub granted: BTreeSet<String>,
    /// Its limits: never more than the release asks for.
    pub limits: BTreeMap<String, u64>,
    /// Its configuration.
    pub config: Config,
    /// Whether it goes back to a release that was installed here before (S-185).
    pub rollback: bool,
    /// The head of the plugin's life in this store.
    pub previous: LifeHash,
}

/// What a plugin event says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginEvent {
    /// A release waits for review.
    Submitted(Submission),
    /// A reviewer decided.
    Reviewed {
        /// What.
        review: Review,
        /// The reviewer's signature.
        reviewer: Signed,
    },
    /// A release begins to run in a store.
    Installed(Binding),
    /// What runs in a store goes on with another configuration and a fresh instance.
    Configured {
        /// The store.
        store_id: StoreId,
        /// The plugin.
        plugin: PluginId,
        /// The new configuration.
        config: Config,
        /// Whether this ends a quarantine; it must say so.
        resume: bool,
        /// The head of the plugin's life in this store.
        previous: LifeHash,
    },
    /// Another release takes its place, with its state.
    Upgraded(Binding),
    /// It does not run on until it is configured, upgraded or removed.
    Quarantined {
        /// The store.
        store_id: StoreId,
        /// The plugin.
        plugin: PluginId,
        /// Why: 1 to 512 bytes.
        reason: String,
        /// The head of the plugin's life in this store.
        previous: LifeHash,
    },
    /// It does not run here any more, and its state here ends.
    Removed {
        /// The store.
        store_id: StoreId,
        /// The plugin.
        plugin: PluginId,
        /// Why: 1 to 512 bytes.
        reason: String,
        /// The head of the plugin's life in this store.
        previous: LifeHash,
    },
}

impl PluginEvent {
    /// Decodes the payload of a plugin event.
    ///
    /// # Errors
    /// The type is unknown, or the payload is anything but what [`PluginEvent::payload`] writes for an event that
    /// passes [`PluginEvent::check`].
    pub fn decode(event_type: &str, payload: &[u8]) -> Result<Self, ControlError> {
        let read = match event_type {
            SUBMITTED => read_submitted,
            REVIEWED => read_reviewed,
            INSTALLED => |fields: &mut Fields| read_binding(fields).map(Self::Installed),
            CONFIGURED => read_configured,
            UPGRADED => |fields: &mut Fields| read_binding(fields).map(Self::Upgraded),
            QUARANTINED => |fields: &mut Fields| {
                let (store_id, plugin, reason, previous) = read_ending(fields)?;
                Ok(Self::Quarantined { store_id, plugin, reason, previous })
            },
            REMOVED => |fields: &mut Fields| {
                let (store_id, plugin, reason, previous) = read_ending(fields)?;
                Ok(Self::Removed { store_id, plugin, reason, previous })
            },
            _ => return Err(ControlError::UnknownType),
        };
        let event = Fields::read(payload, read)?;
        event.check()?;
        Ok(event)
    }

    /// What of the event can be judged without knowing any state; decoding refuses what this refuses.
    ///
    /// # Errors
    /// A malformed release, a nil id, key id zero, a time after 9999, a reason, grant or limit out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        let check = |holds: bool, name: &'static str| if holds { Ok(()) } else { Err(ControlError::Field(name)) };
        match self {
            Self::Submitted(submission) => {
                submission.release.check()?;
                check_signed(&submission.publisher, PUBLISHER)
            }
            Self::Reviewed { review, reviewer } => {
                check(review.has_reason(), "reason")?;
                check_signed(reviewer, REVIEWER)
            }
            Self::Installed(binding) | Self::Upgraded(binding) => {
                check(!binding.store_id.is_nil(), "store_id")?;
                check(binding.state_version >= 1, "state_version")?;
                check(are_permissions(&binding.granted), "granted")?;
                check(are_limits(&binding.limits), "limits")
            }
            Self::Configured { store_id, .. } => check(!store_id.is_nil(), "store_id"),
            Self::Quarantined { store_id, reason, .. } | Self::Removed { store_id, reason, .. } => {
                check(!store_id.is_nil(), "store_id")?;
                check(is_reason(reason), "reason")
            }
        }
    }

    /// The event type that goes with the payload.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Submitted(_) => SUBMITTED,
            Self::Reviewed { .. } => REVIEWED,
            Self::Installed(_) => INSTALLED,
            Self::Configured { .. } => CONFIGURED,
            Self::Upgraded(_) => UPGRADED,
            Self::Quarantined { .. } => QUARANTINED,
            Self::Removed { .. } => REMOVED,
        }
    }

    /// The plugin the event is about.
    #[must_use]
    pub const fn plugin(&self) -> &PluginId {
        match self {
            Self::Submitted(submission) => &submission.release.plugin,
            Self::Reviewed { review, .. } => &review.plugin,
            Self::Installed(binding) | Self::Upgraded(binding) => &binding.plugin,
            Self::Configured { plugin, .. } | Self::Quarantined { plugin, .. } | Self::Removed { plugin, .. } => plugin,
        }
    }

    /// The store the event is about; none for the events of a registry.
    #[must_use]
    pub const fn store_id(&self) -> Option<StoreId> {
        match self {
            Self::Submitted(_) | Self::Reviewed { .. } => None,
            Self::Installed(binding) | Self::Upgraded(binding) => Some(binding.store_id),
            Self::Configured { store_id, .. } | Self::Quarantined { store_id, .. } | Self::Removed { store_id, .. } => {
                Some(*store_id)
            }
        }
    }

    /// The head of the plugin's life that the event goes on from.
    #[must_use]
    pub const fn previous(&self) -> &LifeHash {
        match self {
            Self::Submitted(submission) => &submission.previous,
            Self::Reviewed { review, .. } => &review.previous,
            Self::Installed(binding) | Self::Upgraded(binding) => &binding.previous,
            Self::Configured { previous, .. } | Self::Quarantined { previous, .. } | Self::Removed { previous, .. } => {
                previous
            }
        }
    }

    /// The entity such an event is about, as the envelope names it: the type, and the plugin's id.
    #[must_use]
    pub fn entity(&self) -> (&'static str, String) {
        ("tally.plugin", self.plugin().to_string())
    }

    /// Whether the event belongs in this stream: a registry is any control stream, a store has a tenant.
    #[must_use]
    pub fn belongs_in(&self, stream: &Stream) -> bool {
        stream.is_control() && (self.store_id().is_none() || !stream.is_ledger())
    }

    /// The payload: canonical JSON.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let store = |id: &StoreId| ("store_id", Value::from(id.to_string()));
        let name = |plugin: &PluginId| ("plugin_id", Value::from(plugin.as_str()));
        let head = |previous: &LifeHash| ("previous", Value::from(previous.to_hex()));
        let members = match self {
            Self::Submitted(submission) => write_submitted(submission),
            Self::Reviewed { review, reviewer } => write_reviewed(review, reviewer),
            Self::Installed(binding) | Self::Upgraded(binding) => write_binding(binding),
            Self::Configured { store_id, plugin, config, resume, previous } => vec![
                store(store_id),
                name(plugin),
                ("config", config.value()),
                ("resume", Value::from(*resume)),
                head(previous),
            ],
            Self::Quarantined { store_id, plugin, reason, previous }
            | Self::Removed { store_id, plugin, reason, previous } => {
                vec![store(store_id), name(plugin), ("reason", Value::from(reason.as_str())), head(previous)]
            }
        };
        jcs::to_canonical(&Value::object(members))
    }
}

/// The names of a signature's members.
type SignedNames = [&'static str; 2];
const PUBLISHER: SignedNames = ["publisher_id", "publisher_key_id"];
const REVIEWER: SignedNames = ["reviewer_id", "reviewer_key_id"];

fn check_signed(signed: &Signed, [agent_id, key_id]: SignedNames) -> Result<(), ControlError> {
    if signed.agent_id.is_nil() {
        Err(ControlError::Field(agent_id))
    } else if signed.key_id.get() == 0 {
        Err(ControlError::Field(key_id))
    } else if signed.signed_at > LogTime::MAX {
        Err(ControlError::Validity)
    } else {
        Ok(())
    }
}

pub(crate) type Members = Vec<(&'static str, Value)>;

/// Numbers here are at most 2^53-1, by the checks.
fn integer(number: u64) -> Value {
    Value::integer(number).unwrap_or(Value::Null)
}

pub(crate) fn numbers(numbers: &BTreeMap<String, u64>) -> Value {
    Value::object(numbers.iter().map(|(name, value)| (name.as_str(), integer(*value))))
}

fn write_signed(signed: &Signed, [agent_id, key_id]: SignedNames) -> Members {
    vec![
        (agent_id, Value::from(signed.agent_id.to_string())),
        (key_id, Value::from(signed.key_id.get())),
        ("signed_at", Value::from(signed.signed_at.to_rfc3339())),
        ("signature", Value::from(signed.signature.to_hex())),
    ]
}

fn write_submitted(submission: &Submission) -> Members {
    let mut members = write_signed(&submission.publisher, PUBLISHER);
    members.extend([
        ("release", Value::object(write_release(&submission.release))),
        ("release_hash", Value::from(submission.release_hash.to_hex())),
        ("previous", Value::from(submission.previous.to_hex())),
    ]);
    members
}

/// A release alone, as canonical JSON: the member `release` of a submission.
#[must_use]
pub fn encode_release(release: &Release) -> Vec<u8> {
    jcs::to_canonical(&Value::object(write_release(release)))
}

/// A release alone, strictly.
///
/// # Errors
/// Not canonical JSON, a member that is absent, unknown or malformed, or a release that is out of bounds.
pub fn decode_release(bytes: &[u8]) -> Result<Release, ControlError> {
    let release = Fields::read(bytes, read_release)?;
    release.check()?;
    Ok(release)
}

pub(crate) fn write_release(release: &Release) -> Members {
    let price = Value::object([
        ("amount", integer(release.price.amount)),
        ("currency", Value::from(release.price.currency())),
        ("per", Value::from(release.price.per.as_str())),
    ]);
    let schemas = release.schemas.iter().map(|(name, schema)| (name.as_str(), Value::from(schema.to_hex())));
    vec![
        ("plugin_id", Value::from(release.plugin.as_str())),
        ("version", Value::from(release.version.to_string())),
        ("module_hash", Value::from(release.module.to_hex())),
        ("manifest_hash", Value::from(release.manifest.to_hex())),
        ("abi", Value::from(release.abi)),
        ("state_version", Value::from(release.state_version)),
        ("permissions", written(&release.permissions)),
        ("limits", numbers(&release.limits)),
        ("price", price),
        ("schemas", Value::object(schemas)),
    ]
}

fn write_reviewed(review: &Review, reviewer: &Signed) -> Members {
    let mut members = write_signed(reviewer, REVIEWER);
    members.extend([
        ("plugin_id", Value::from(review.plugin.as_str())),
        ("version", Value::from(review.version.to_string())),
        ("release_hash", Value::from(review.release.to_hex())),
        ("decision", Value::from(review.decision.as_str())),
        ("override", Value::from(review.overrides)),
        ("report_hash", Value::from(review.report.to_hex())),
        ("blocking", Value::from(review.blocking)),
        ("reason", Value::from(review.reason.as_str())),
        ("previous", Value::from(review.previous.to_hex())),
    ]);
    members
}

fn write_binding(binding: &Binding) -> Members {
    vec![
        ("store_id", Value::from(binding.store_id.to_string())),
        ("plugin_id", Value::from(binding.plugin.as_str())),
        ("registry", Value::from(binding.registry.as_str())),
        ("version", Value::from(binding.version.to_string())),
        ("release_hash", Value::from(binding.release.to_hex())),
        ("module_hash", Value::from(binding.module.to_hex())),
        ("profile_id", Value::from(binding.profile.to_hex())),
        ("state_version", Value::from(binding.state_version)),
        ("granted", written(&binding.granted)),
        ("limits", numbers(&binding.limits)),
        ("config", binding.config.value()),
        ("rollback", Value::from(binding.rollback)),
        ("previous", Value::from(binding.previous.to_hex())),
    ]
}

fn read_signed(fields: &mut Fields, [agent_id, key_id]: SignedNames) -> Result<Signed, ControlError> {
    Ok(Signed {
        agent_id: fields.id(agent_id)?,
        key_id: KeyId::new(fields.u32(key_id)?),
        signed_at: fields.time("signed_at")?,
        signature: fields.parsed("signature", Signature::from_hex)?,
    })
}

fn read_submitted(fields: &mut Fields) -> Result<PluginEvent, ControlError> {
    Ok(PluginEvent::Submitted(Submission {
        release: fields.inner("release", read_release)?,
        release_hash: fields.parsed("release_hash", ReleaseHash::from_hex)?,
        publisher: read_signed(fields, PUBLISHER)?,
        previous: fields.parsed("previous", LifeHash::from_hex)?,
    }))
}

pub(crate) fn read_release(fields: &mut Fields) -> Result<Release, ControlError> {
    Ok(Release {
        plugin: fields.parsed("plugin_id", PluginId::new)?,
        version: fields.parsed("version", Version::parse)?,
        module: fields.parsed("module_hash", ModuleHash::from_hex)?,
        manifest: fields.parsed("manifest_hash", ManifestHash::from_hex)?,
        abi: fields.u32("abi")?,
        state_version: fields.u32("state_version")?,
        permissions: fields.texts("permissions")?,
        limits: read_numbers(fields, "limits")?,
        price: fields.inner("price", read_price)?,
        schemas: read_schemas(fields)?,
    })
}

fn read_price(fields: &mut Fields) -> Result<Price, ControlError> {
    let amount = fields.u64("amount")?;
    let currency = fields.parsed("currency", |text| text.as_bytes().try_into())?;
    let per = fields.parsed("per", |text| named(PricePer::ALL, PricePer::as_str, text))?;
    Ok(Price { amount, currency, per })
}

/// The one of these that has this name.
pub(crate) fn named<T: Copy, const N: usize>(all: [T; N], name: fn(T) -> &'static str, text: &str) -> Result<T, ()> {
    all.into_iter().find(|one| name(*one) == text).ok_or(())
}

pub(crate) fn read_numbers(fields: &mut Fields, name: &'static str) -> Result<BTreeMap<String, u64>, ControlError> {
    let Some(Value::Object(members)) = fields.take(name) else { return Err(ControlError::Field(name)) };
    let number =
        |(member, value): (String, Value)| value.as_u64().map(|value| (member, value)).ok_or(ControlError::Field(name));
    members.into_iter().map(number).collect()
}

fn read_schemas(fields: &mut Fields) -> Result<BTreeMap<String, SchemaHash>, ControlError> {
    let error = ControlError::Field("schemas");
    let Some(Value::Object(members)) = fields.take("schemas") else { return Err(error) };
    let schema = |(event_type, value): (String, Value)| {
        let hash = value.as_str().and_then(|text| SchemaHash::from_hex(text).ok());
        hash.map(|hash| (event_type, hash)).ok_or_else(|| error.clone())
    };
    members.into_iter().map(schema).collect()
}

fn read_reviewed(fields: &mut Fields) -> Result<PluginEvent, ControlError> {
    let reviewer = read_signed(fields, REVIEWER)?;
    let review = Review {
        plugin: fields.parsed("plugin_id", PluginId::new)?,
        version: fields.parsed("version", Version::parse)?,
        release: fields.parsed("release_hash", ReleaseHash::from_hex)?,
        decision: fields.parsed("decision", |text| named(Decision::ALL, Decision::as_str, text))?,
        overrides: fields.bool("override")?,
        report: fields.parsed("report_hash", ReportHash::from_hex)?,
        blocking: fields.u32("blocking")?,
        reason: fields.text("reason")?,
        previous: fields.parsed("previous", LifeHash::from_hex)?,
    };
    Ok(PluginEvent::Reviewed { review, reviewer })
}

fn read_binding(fields: &mut Fields) -> Result<Binding, ControlError> {
    Ok(Binding {
        store_id: fields.id("store_id")?,
        plugin: fields.parsed("plugin_id", PluginId::new)?,
        registry: fields.parsed("registry", |text| named(Registry::ALL, Registry::as_str, text))?,
        version: fields.parsed("version", Version::parse)?,
        release: fields.parsed("release_hash", ReleaseHash::from_hex)?,
        module: fields.parsed("module_hash", ModuleHash::from_hex)?,
        profile: fields.parsed("profile_id", ProfileId::from_hex)?,
        state_version: fields.u32("state_version")?,
        granted: fields.texts("granted")?,
        limits: read_numbers(fields, "limits")?,
        config: read_config(fields)?,
        rollback: fields.bool("rollback")?,
        previous: fields.parsed("previous", LifeHash::from_hex)?,
    })
}

pub(crate) fn read_config(fields: &mut Fields) -> Result<Config, ControlError> {
    let value = fields.take("config").ok_or(ControlError::Field("config"))?;
    Config::new(&jcs::to_canonical(&value))
}

fn read_configured(fields: &mut Fields) -> Result<PluginEvent, ControlError> {
    Ok(PluginEvent::Configured {
        store_id: fields.id("store_id")?,
        plugin: fields.parsed("plugin_id", PluginId::new)?,
        config: read_config(fields)?,
        resume: fields.bool("resume")?,
        previous: fields.parsed("previous", LifeHash::from_hex)?,
    })
}

fn read_ending(fields: &mut Fields) -> Result<(StoreId, PluginId, String, LifeHash), ControlError> {
    Ok((
        fields.id("store_id")?,
        fields.parsed("plugin_id", PluginId::new)?,
        fields.text("reason")?,
        fields.parsed("previous", LifeHash::from_hex)?,
    ))
}
