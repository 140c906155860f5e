//! Who calls. Takes the `authorization` header or the credential of a QUIC session, and a rule; gives a [`Caller`] or a
//! refusal. Both doors ask here, so that there is one answer. Fails closed:
//! no rule, no credential, an unknown, expired or revoked key, a key of another environment, a store that does not
//! answer are all refusals. The checks of tenant, store and agent against what a request names are methods of the
//! caller, so that a handler cannot forget whose credential it holds.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use tally_api::error::ErrorCode;
use tally_core::{Clock, Lane};
use tally_protocol::frame::Frame;
use tally_protocol::hash::ApiKeyHash;
use tally_protocol::id::{AgentId, Stream, TenantId};
use tally_protocol::key::ct_eq;
use tally_protocol::time::LogTime;

use crate::config::{GatewayConfig, Public};
use crate::credential::{ApiKey, Credential, CredentialKey, CredentialStore, Permission};
use crate::error::ApiError;
use crate::market::Market;

/// When a route is served without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anonymous {
    Never,
    Always,
    IfLogPublic,
    IfEntriesPublic,
    IfMetricsPublic,
    IfDocsPublic,
    IfMarketPublic,
    IfWebhook,
}

impl Anonymous {
    fn allowed(self, public: &Public, market: Option<&Market>) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::IfLogPublic => public.log,
            Self::IfEntriesPublic => public.entries,
            Self::IfMetricsPublic => public.metrics,
            Self::IfDocsPublic => public.docs,
            Self::IfMarketPublic => market.is_some_and(|market| !market.public.is_empty()),
            Self::IfWebhook => market.is_some_and(|market| market.webhook.is_some()),
        }
    }
}

/// Who may call a route. Every route has one; there is no other way into the router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// When no credential is needed.
    pub(crate) anonymous: Anonymous,
    /// Otherwise the credential must have one of these; an empty list stands for any credential.
    pub(crate) any_of: &'static [Permission],
    /// Whether the credential must be an operator's (bound to no tenant).
    pub(crate) operator: bool,
}

impl Rule {
    pub(crate) const ANYONE: Self = Self { anonymous: Anonymous::Always, any_of: &[], operator: false };

    pub(crate) const fn needs(any_of: &'static [Permission]) -> Self {
        Self { anonymous: Anonymous::Never, any_of, operator: false }
    }

    pub(crate) const fn operator(any_of: &'static [Permission]) -> Self {
        Self { anonymous: Anonymous::Never, any_of, operator: true }
    }

    pub(crate) const fn or_anonymous(self, anonymous: Anonymous) -> Self {
        Self { anonymous, ..self }
    }

    /// The rule in words, for the API's documentation.
    pub(crate) fn describe(&self) -> String {
        let anonymous = match self.anonymous {
            Anonymous::Always => return "anyone".to_owned(),
            Anonymous::Never => "",
            Anonymous::IfLogPublic => "anyone, if the operator made the log public; otherwise ",
            Anonymous::IfEntriesPublic => "anyone, if the operator made entry bundles public; otherwise ",
            Anonymous::IfMetricsPublic => "anyone, if the operator made metrics public; otherwise ",
            Anonymous::IfDocsPublic => "anyone, if the operator made the documentation public; otherwise ",
            Anonymous::IfMarketPublic => "anyone, where the operator made the route public; otherwise ",
            Anonymous::IfWebhook => "the payment provider, by its signature; otherwise ",
        };
        let who = if self.operator { "an operator's credential" } else { "a credential" };
        let roles: Vec<&str> = tally_api::api_key::Role::ALL
            .into_iter()
            .filter(|&role| self.any_of.iter().any(|&permission| crate::credential::permits(role, permission)))
            .map(tally_api::api_key::Role::as_str)
            .collect();
        let what =
            if self.any_of.is_empty() { "of any role".into() } else { format!("of role {}", roles.join(" or ")) };
        format!("{anonymous}{who} {what}")
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<Arc<Credential>>);

fn out_of_scope(what: &'static str) -> ApiError {
    // The same words whether the thing exists or not: no oracle (S-009).
    ApiError::new(ErrorCode::OutOfScope, format!("the credential is not bound to this {what}"))
}

impl Caller {
    /// The credential; an anonymous caller has none.
    pub(crate) fn credential(&self) -> Result<&Credential, ApiError> {
        self.0.as_deref().ok_or_else(|| ApiError::new(ErrorCode::AuthRequired, "a credential is needed"))
    }

    /// Whether the credential may do what a rule is for. Whether it must have one at all is [`Door::admit`]'s business.
    pub(crate) fn must_pass(&self, rule: &Rule) -> Result<(), ApiError> {
        let scope = &self.credential()?.scope;
        let permitted = rule.any_of.is_empty() || rule.any_of.iter().any(|&permission| scope.permits(permission));
        if !permitted {
            return Err(ApiError::new(ErrorCode::InsufficientPermissions, "the credential's roles do not allow this"));
        }
        if rule.operator && scope.tenant.is_some() {
            return Err(ApiError::new(ErrorCode::InsufficientPermissions, "this is for operators"));
        }
        Ok(())
    }

    /// Whether the caller may submit all of these. Neighbours mostly share stream and agent, so only a change is
    /// looked at.
    pub(crate) fn must_submit<'a>(&self, frames: impl Iterator<Item = &'a Frame>) -> Result<(), ApiError> {
        let mut last = None;
        for frame in frames {
            let this = (frame.stream(), frame.agent_id());
            if last != Some(this) {
                self.must_reach(this.0)?;
                self.must_act_as(this.1)?;
                last = Some(this);
            }
        }
        Ok(())
    }

    /// Whether the credential's time is over.
    pub(crate) fn has_expired(&self, now: LogTime) -> bool {
        self.0.as_ref().and_then(|credential| credential.expires_at).is_some_and(|end| now >= end)
    }

    /// For fairness among callers: from the credential, never from a request.
    pub(crate) fn lane(&self) -> Lane {
        let hash = self.0.as_ref().map_or([0; 32], |credential| *credential.hash.as_bytes());
        let mut lane = [0; 8];
        lane.copy_from_slice(&hash[..8]);
        Lane(u64::from_be_bytes(lane))
    }

    /// Whether the credential is bound to no tenant.
    pub(crate) fn is_operator(&self) -> bool {
        self.0.as_ref().is_some_and(|credential| credential.scope.tenant.is_none())
    }

    /// Whether the caller may see a stream at all.
    pub(crate) fn sees(&self, stream: Stream) -> bool {
        self.0.as_ref().is_some_and(|credential| credential.scope.reaches(stream))
    }

    pub(crate) fn must_reach(&self, stream: Stream) -> Result<(), ApiError> {
        let scope = &self.credential()?.scope;
        if !scope.reaches_tenant(stream.tenant) {
            return Err(out_of_scope("tenant"));
        }
        if scope.reaches(stream) { Ok(()) } else { Err(out_of_scope("store")) }
    }

    pub(crate) fn must_reach_tenant(&self, tenant: TenantId) -> Result<(), ApiError> {
        if self.credential()?.scope.reaches_tenant(tenant) { Ok(()) } else { Err(out_of_scope("tenant")) }
    }

    pub(crate) fn must_act_as(&self, agent: AgentId) -> Result<(), ApiError> {
        if self.credential()?.scope.acts_as(agent) { Ok(()) } else { Err(out_of_scope("agent")) }
    }
}

/// Looks up credentials and judges routes' rules.
pub(crate) struct Door<'a> {
    pub(crate) config: &'a GatewayConfig,
    pub(crate) market: Option<&'a Market>,
    pub(crate) store: &'a dyn CredentialStore,
    pub(crate) key: &'a CredentialKey,
    pub(crate) clock: &'a dyn Clock,
}

impl Door<'_> {
    /// Admits the caller of a route, or says why not.
    pub(crate) fn admit(&self, rule: &Rule, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if rule.anonymous == Anonymous::Always {
            return Ok(Caller(None));
        }
        let is_open = rule.anonymous.allowed(&self.config.public, self.market);
        if is_open && !headers.contains_key(header::AUTHORIZATION) {
            return Ok(Caller(None));
        }
        let caller = Caller(Some(Arc::new(self.authenticate(headers)?)));
        if !is_open {
            caller.must_pass(rule)?;
        }
        Ok(caller)
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Credential, ApiError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Err(ApiError::new(ErrorCode::AuthRequired, "send the header authorization: Bearer <API key>"));
        };
        let invalid = || ApiError::new(ErrorCode::InvalidApiKey, "not a valid API key");
        if values.next().is_some() {
            return Err(invalid());
        }
        let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid());
        }
        self.credential_of(token)
    }

    /// The credential of an API key's text, if it is good now.
    fn credential_of(&self, token: &str) -> Result<Credential, ApiError> {
        let invalid = || ApiError::new(ErrorCode::InvalidApiKey, "not a valid API key");
        let key = ApiKey::parse(token).ok_or_else(invalid)?;
        if key.environment() != self.config.environment {
            let message = "test keys work on test nodes and live keys on live nodes only";
            return Err(ApiError::new(ErrorCode::WrongEnvironment, message));
        }
        let hash = self.key.hash(&key);
        let credential = self.store.find(&hash)?.ok_or_else(invalid)?;
        if !ct_eq(credential.hash.as_bytes(), hash.as_bytes()) || credential.environment != key.environment() {
            return Err(invalid());
        }
        self.still_good(credential)
    }

    /// The caller behind an API key, whatever it may do: for sessions, whose requests are judged one by one.
    pub(crate) fn admit_key(&self, token: &str) -> Result<Caller, ApiError> {
        Ok(Caller(Some(Arc::new(self.credential_of(token)?))))
    }

    /// The caller behind a credential that something else than its key vouches for (a client certificate), or of a
    /// session that began earlier: found again, so that a revoked one is refused.
    pub(crate) fn admit_credential(&self, hash: &ApiKeyHash) -> Result<Caller, ApiError> {
        let invalid = || ApiError::new(ErrorCode::InvalidApiKey, "not a valid credential");
        let credential = self.store.find(hash)?.ok_or_else(invalid)?;
        if credential.environment != self.config.environment {
            return Err(ApiError::new(ErrorCode::WrongEnvironment, "the credential is for other nodes"));
        }
        Ok(Caller(Some(Arc::new(self.still_good(credential)?))))
    }

    fn still_good(&self, credential: Credential) -> Result<Credential, ApiError> {
        if credential.revoked_at.is_some() {
            return Err(ApiError::new(ErrorCode::ApiKeyRevoked, "the API key was revoked"));
        }
        if credential.expires_at.is_some_and(|end| self.clock.wall() >= end) {
            return Err(ApiError::new(ErrorCode::TokenExpired, "the API key has expired"));
        }
        Ok(credential)
    }
}
