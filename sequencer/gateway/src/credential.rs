//! API keys and what they are bound to. Takes random bytes of the operating system, gives a key (shown once) and the
//! [`Credential`] that is kept: a keyed hash, a prefix to recognise it by, and its bounds. The key itself is stored
//! nowhere. The store behind [`CredentialStore`] fails closed: an error is a refused request.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tally_api::api_key::{ApiKeyInfo, Role, StoreIds};
use tally_api::text;
use tally_protocol::hash::{self, ApiKeyHash};
use tally_protocol::id::{AgentId, StoreId, Stream, TenantId};
use tally_protocol::time::LogTime;

/// Which nodes a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// `sk_live_...`
    Live,
    /// `sk_test_...`
    Test,
}

impl Environment {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "sk_live_",
            Self::Test => "sk_test_",
        }
    }
}

/// What a route may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Submit events.
    EventsWrite,
    /// Read events, receipts and agents' public keys.
    EventsRead,
    /// Read VES commitments.
    CommitmentsRead,
    /// Cut VES commitments.
    CommitmentsWrite,
    /// Read the whole log: entry bundles.
    LogRead,
    /// Register, rotate and revoke agents' keys.
    KeysWrite,
    /// Say which entity types a store takes.
    EntityTypesWrite,
    /// Put plugins' modules.
    ModulesWrite,
    /// Say what becomes of dead letters.
    EffectsWrite,
    /// Create tenants.
    TenantsWrite,
    /// Create, list and revoke API keys.
    CredentialsWrite,
    /// Read `/metrics`.
    MetricsRead,
}

/// The one table from roles to permissions (the seed's, S-072, and the auditor of design section 4).
#[must_use]
pub fn permits(role: Role, permission: Permission) -> bool {
    use Permission::{CommitmentsRead, CommitmentsWrite, EventsRead, EventsWrite, LogRead, MetricsRead};
    match role {
        Role::Admin => true,
        Role::Agent => matches!(permission, EventsWrite | EventsRead),
        Role::Reader => matches!(permission, EventsRead | CommitmentsRead),
        Role::Anchor => matches!(permission, CommitmentsRead | CommitmentsWrite),
        Role::Auditor => matches!(permission, LogRead | MetricsRead),
    }
}

/// The node's secret under which keys are hashed: a stolen database alone does not let anyone test guesses.
pub struct CredentialKey([u8; 32]);

impl CredentialKey {
    /// From 32 secret bytes that live outside the database.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash under which a key is kept.
    #[must_use]
    pub fn hash(&self, key: &ApiKey) -> ApiKeyHash {
        hash::api_key(&self.0, key.reveal().as_bytes())
    }
}

impl core::fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CredentialKey")
    }
}

/// A key as the caller holds it.
pub struct ApiKey {
    environment: Environment,
    secret: [u8; SECRET_BYTES],
}

const SECRET_BYTES: usize = 32;
/// Characters of the secret that are kept in clear, to recognise a key by: 48 of its 256 bits.
const SHOWN_CHARS: usize = 8;

impl ApiKey {
    /// A new key, from the operating system's random source.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn generate(environment: Environment) -> Result<Self, CredentialError> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|_| CredentialError::Random)?;
        Ok(Self { environment, secret })
    }

    /// Reads what a caller presents. One text per key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let environments = [Environment::Live, Environment::Test];
        let (environment, secret) =
            environments.into_iter().find_map(|env| Some((env, text.strip_prefix(env.prefix())?)))?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        Some(Self { environment, secret })
    }

    /// The key's text. To be shown once, at creation.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}{}", self.environment.prefix(), URL_SAFE_NO_PAD.encode(self.secret))
    }

    /// Which nodes it is good for.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    fn shown(&self) -> String {
        let mut text = self.reveal();
        text.truncate(self.environment.prefix().len() + SHOWN_CHARS);
        text
    }
}

impl core::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ApiKey({}...)", self.environment.prefix())
    }
}

/// What a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The tenant; none for an operator, who may act for all.
    #[serde(with = "text::uuid_option")]
    pub tenant: Option<TenantId>,
    /// The stores; none for all of the tenant, its control stream included.
    pub stores: Option<StoreIds>,
    /// The agent; none for any of the tenant.
    #[serde(with = "text::uuid_option")]
    pub agent: Option<AgentId>,
    /// What it may do.
    pub roles: Vec<Role>,
}

impl Scope {
    /// An operator who may do everything.
    #[must_use]
    pub fn operator() -> Self {
        Self { tenant: None, stores: None, agent: None, roles: vec![Role::Admin] }
    }

    /// Whether the role table gives this permission.
    #[must_use]
    pub fn permits(&self, permission: Permission) -> bool {
        self.roles.iter().any(|&role| permits(role, permission))
    }

    /// Whether it reaches a tenant, in whatever part.
    #[must_use]
    pub fn reaches_tenant(&self, tenant: TenantId) -> bool {
        self.tenant.is_none_or(|own| own == tenant)
    }

    /// Whether it reaches a stream.
    #[must_use]
    pub fn reaches(&self, stream: Stream) -> bool {
        self.reaches_tenant(stream.tenant) && self.stores.as_ref().is_none_or(|own| own.0.contains(&stream.store))
    }

    /// Whether it may act as an agent.
    #[must_use]
    pub fn acts_as(&self, agent: AgentId) -> bool {
        self.agent.is_none_or(|own| own == agent)
    }

    /// Whether everything this scope allows is allowed by `other` too.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let tenant = other.tenant.is_none() || self.tenant == other.tenant;
        let agent = other.agent.is_none() || self.agent == other.agent;
        let stores = match (&self.stores, &other.stores) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.0.iter().all(|store| theirs.0.contains(store)),
        };
        let roles = self.roles.iter().all(|role| other.roles.contains(role) || other.roles.contains(&Role::Admin));
        tenant && agent && stores && roles
    }
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The keyed hash of the key; its name.
    #[serde(with = "text::hex")]
    pub hash: ApiKeyHash,
    /// Which nodes it is good for.
    pub environment: Environment,
    /// The key's first characters.
    pub prefix: String,
    /// What it is bound to.
    pub scope: Scope,
    /// For people.
    pub label: String,
    /// When it was created.
    #[serde(with = "text::time")]
    pub created_at: LogTime,
    /// Until when it is good.
    #[serde(with = "text::time_option")]
    pub expires_at: Option<LogTime>,
    /// When it was revoked.
    #[serde(with = "text::time_option")]
    pub revoked_at: Option<LogTime>,
}

impl Credential {
    /// What is kept of `key`.
    #[must_use]
    pub fn new(key: &ApiKey, under: &CredentialKey, scope: Scope, label: &str, created_at: LogTime) -> Self {
        Self {
            hash: under.hash(key),
            environment: key.environment(),
            prefix: key.shown(),
            scope,
            label: label.to_owned(),
            created_at,
            expires_at: None,
            revoked_at: None,
        }
    }

    /// The bytes a store keeps.
    ///
    /// # Errors
    /// Never in practice: every member has a text.
    pub fn encode(&self) -> Result<Vec<u8>, CredentialError> {
        serde_json::to_vec(self).map_err(|_| CredentialError::Damaged)
    }

    /// Reads what [`Credential::encode`] wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        serde_json::from_slice(bytes).map_err(|_| CredentialError::Damaged)
    }

    /// How it is listed.
    #[must_use]
    pub fn info(&self) -> ApiKeyInfo {
        ApiKeyInfo {
            id: self.hash.to_hex(),
            prefix: self.prefix.clone(),
            tenant_id: self.scope.tenant,
            store_ids: self.scope.stores.clone(),
            agent_id: self.scope.agent,
            roles: self.scope.roles.clone(),
            label: self.label.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        }
    }

    /// Whether a caller with this scope may see it: its own tenant's keys, or all for an operator.
    #[must_use]
    pub fn is_visible_to(&self, scope: &Scope) -> bool {
        scope.tenant.is_none() || scope.tenant == self.scope.tenant
    }
}

/// A list of stores, as scopes hold it.
#[must_use]
pub fn stores(list: impl IntoIterator<Item = StoreId>) -> StoreIds {
    StoreIds(list.into_iter().collect())
}

/// Why a credential could not be made, kept or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// The operating system gave no random bytes.
    Random,
    /// The store failed.
    Store(String),
    /// The stored bytes are no credential.
    Damaged,
}

impl core::fmt::Display for CredentialError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Random => f.write_str("the operating system gave no random bytes"),
            Self::Store(why) => write!(f, "failed to reach the credential store: {why}"),
            Self::Damaged => f.write_str("a stored credential is damaged"),
        }
    }
}

impl core::error::Error for CredentialError {}

/// Where credentials are kept. Implemented by the node over its database.
pub trait CredentialStore: Send + Sync {
    /// The credential of a hash.
    ///
    /// # Errors
    /// The store failed: the request is refused.
    fn find(&self, hash: &ApiKeyHash) -> Result<Option<Credential>, CredentialError>;

    /// Keeps a credential; durable when this returns.
    ///
    /// # Errors
    /// The store failed: nothing is known to be kept.
    fn put(&self, credential: &Credential) -> Result<(), CredentialError>;

    /// Marks a credential as revoked; durable and effective when this returns. The first time stands. None if there
    /// is no such credential.
    ///
    /// # Errors
    /// The store failed: nothing is known to be revoked.
    fn revoke(&self, hash: &ApiKeyHash, at: LogTime) -> Result<Option<Credential>, CredentialError>;

    /// All credentials, oldest first.
    ///
    /// # Errors
    /// The store failed.
    fn list(&self) -> Result<Vec<Credential>, CredentialError>;
}

/// Credentials in memory: for tests, and for nodes that read them from elsewhere at start.
#[derive(Debug, Default)]
pub struct MemoryCredentials(Mutex<BTreeMap<ApiKeyHash, Credential>>);

impl MemoryCredentials {
    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<ApiKeyHash, Credential>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CredentialStore for MemoryCredentials {
    fn find(&self, hash: &ApiKeyHash) -> Result<Option<Credential>, CredentialError> {
        Ok(self.map().get(hash).cloned())
    }

    fn put(&self, credential: &Credential) -> Result<(), CredentialError> {
        self.map().insert(credential.hash, credential.clone());
        Ok(())
    }

    fn revoke(&self, hash: &ApiKeyHash, at: LogTime) -> Result<Option<Credential>, CredentialError> {
        let mut map = self.map();
        let Some(credential) = map.get_mut(hash) else { return Ok(None) };
        credential.revoked_at.get_or_insert(at);
        Ok(Some(credential.clone()))
    }

    fn list(&self) -> Result<Vec<Credential>, CredentialError> {
        let mut all: Vec<_> = self.map().values().cloned().collect();
        all.sort_by_key(|credential| (credential.created_at, credential.hash));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_written_and_has_one_text() {
        let key = ApiKey::generate(Environment::Test).unwrap();
        let text = key.reveal();
        assert_eq!(text.len(), 8 + 43);
        let back = ApiKey::parse(&text).unwrap();
        assert_eq!((back.reveal(), back.environment()), (text.clone(), Environment::Test));
        // The last character carries four bits that must be zero.
        let bad_tail = format!("{}_", &text[..text.len() - 1]);
        for bad in ["", "sk_live_", "sk_live_abc", "sk_prod_x", &text[1..], &format!("{text}="), &bad_tail] {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
        assert!(!format!("{key:?}").contains(&text[8..]));
    }

    #[test]
    fn what_is_kept_does_not_hold_the_key() {
        let key = ApiKey::generate(Environment::Live).unwrap();
        let under = CredentialKey::new([9; 32]);
        let credential = Credential::new(&key, &under, Scope::operator(), "ops", LogTime::EPOCH);
        let bytes = credential.encode().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(!text.contains(&key.reveal()[8 + SHOWN_CHARS..]));
        assert_eq!(Credential::decode(&bytes).unwrap(), credential);
        assert_ne!(CredentialKey::new([8; 32]).hash(&key), credential.hash);
    }

    #[test]
    fn a_scope_is_within_another_only_if_it_allows_nothing_more() {
        let tenant = TenantId::from_bytes([1; 16]);
        let (a, b) = (StoreId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
        let bound = |list: Option<Vec<StoreId>>, roles: &[Role]| Scope {
            tenant: Some(tenant),
            stores: list.map(StoreIds),
            agent: None,
            roles: roles.to_vec(),
        };
        let all = bound(None, &[Role::Admin]);
        assert!(all.is_within(&Scope::operator()));
        assert!(!Scope::operator().is_within(&all));
        assert!(bound(Some(vec![a]), &[Role::Agent]).is_within(&all));
        let some = bound(Some(vec![a]), &[Role::Agent, Role::Reader]);
        assert!(bound(Some(vec![a]), &[Role::Reader]).is_within(&some));
        assert!(!bound(Some(vec![a, b]), &[Role::Reader]).is_within(&some));
        assert!(!bound(None, &[Role::Reader]).is_within(&some));
        assert!(!bound(Some(vec![a]), &[Role::Anchor]).is_within(&some));
        let other = Scope { tenant: Some(TenantId::from_bytes([2; 16])), ..all.clone() };
        assert!(!other.is_within(&all));
        let agent = Scope { agent: Some(AgentId::from_bytes([3; 16])), ..all.clone() };
        assert!(agent.is_within(&all) && !all.is_within(&agent));
    }
}
