//! The connector of kind `payment`: the Stripe API, by HTTPS and forms (docs/formats/market.md, "Effects and answers").
//!
//! Takes an effect of `checkout` or `royalty`, makes one call with the effect's id as `Idempotency-Key`, and gives the facts
//! that the answer tells. The id also stands in the object's metadata, so that whether it was done can be asked for ever,
//! where the provider forgets its keys after a day. Messages of the provider come in through [`webhook`].
//! *Leaves to others*: when to try again (the dispatcher), whether a fact is believed (the plugin).
//! Why there is no client library here: docs/decisions/0024.

mod answer;
mod fact;
mod form;
mod look_up;
mod operation;
pub mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use tally_protocol::hash::EffectId;

use self::operation::Operation;
use crate::https::{Broken, Https, Reply, below, parse_url};
use crate::{Answer, Connector, Doing, Failure, Looking, Request, Secret};

pub use crate::https::OpenError;
pub use fact::{Fact, FactError, FactObject, FactState, PROVIDER};

/// The provider's dialect that this code was written and tested against. Webhook endpoints are to be set to the same.
pub const API_VERSION: &str = "2026-10-28.endive";

const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Settings of the connector; the API key comes apart, see [`Payment::open`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentConfig {
    /// Where the API is, without `/v1`.
    #[serde(default = "url")]
    pub url: String,
    /// The account that the key belongs to, as it stands in facts.
    pub account: String,
    /// Whether real money moves. The key must say the same.
    pub livemode: bool,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Whether the provider has search endpoints. Without them a look-up of a payment reads lists only, and knows nothing
    /// of what is further back than `pages_max`.
    #[serde(default = "search")]
    pub search: bool,
    /// How far the provider's search may lag behind, in seconds: what is younger is looked for in lists.
    #[serde(default = "search_lag_s")]
    pub search_lag_s: u64,
    /// How many pages of 100 a look-up reads at most.
    #[serde(default = "pages_max")]
    pub pages_max: u32,
    /// How beneficiaries are paid.
    #[serde(default)]
    pub payout_by: PayoutBy,
    /// Certificates in PEM, believed instead of the platform's roots.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// Allows an address without TLS, and keys whose text does not say their mode.
    #[serde(default)]
    pub development: bool,
}

/// Which object of the provider pays a beneficiary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutBy {
    /// A Transfer to a connected account (`acct_…`): the provider's Connect.
    #[default]
    Transfer,
    /// A Payout of the platform's balance to one of the platform's external accounts (`ba_…`, `card_…`).
    Payout,
}

impl PayoutBy {
    const fn path(self) -> [&'static str; 2] {
        match self {
            Self::Transfer => ["v1", "transfers"],
            Self::Payout => ["v1", "payouts"],
        }
    }
}

fn url() -> String {
    "https://api.stripe.com".to_owned()
}

const fn timeout_ms() -> u64 {
    30_000
}

const fn search() -> bool {
    true
}

const fn search_lag_s() -> u64 {
    3_600
}

const fn pages_max() -> u32 {
    50
}

/// A provider that speaks the Stripe API.
#[derive(Debug)]
pub struct Payment {
    config: PaymentConfig,
    base: Url,
    key: Secret,
    https: Https,
}

impl Payment {
    /// Holds the settings against the key; the provider is not asked yet.
    ///
    /// # Errors
    /// [`OpenError`]: an address without TLS, a key of the other mode, roots that cannot be read.
    pub fn open(config: PaymentConfig, key: Secret) -> Result<Self, OpenError> {
        let base = parse_url(&config.url, config.development)?;
        if !fact::is_name(&config.account) {
            return Err(OpenError("account: 1 to 255 visible ASCII characters".to_owned()));
        }
        if config.pages_max == 0 || config.timeout_ms == 0 {
            return Err(OpenError("pages_max and timeout_ms are at least 1".to_owned()));
        }
        match mode_of(&key) {
            Some(livemode) if livemode != config.livemode => {
                return Err(OpenError("the API key is of the other mode than `livemode`".to_owned()));
            }
            None if !config.development => {
                return Err(OpenError("the API key does not say whether it is live".to_owned()));
            }
            _ => {}
        }
        let https = Https::new(config.roots_file.as_deref(), Duration::from_millis(config.timeout_ms))?;
        Ok(Self { config, base, key, https })
    }

    async fn perform_one(&self, request: &Request) -> Result<Answer, Failure> {
        let operation = Operation::of(request)?;
        let reply = self.post(&operation, &request.id).await?;
        answer::of_reply(&reply, &operation, &request.id, &self.reader())
    }

    /// How objects of this account are read.
    fn reader(&self) -> fact::Reader<'_> {
        fact::Reader { account: &self.config.account, livemode: self.config.livemode, event: None }
    }

    async fn post(&self, operation: &Operation, effect: &EffectId) -> Result<Reply, Broken> {
        let mut headers = self.headers();
        let key = HeaderValue::from_str(&effect.to_hex()).expect("hexadecimal digits");
        headers.extend([(CONTENT_TYPE, FORM), (IDEMPOTENCY_KEY, key)]);
        let by = self.config.payout_by;
        let body = operation.form(effect, by).into_bytes();
        self.https.post(below(&self.base, &operation.path(by)), headers, body).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Broken> {
        let mut url = below(&self.base, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.https.get(url, self.headers()).await
    }

    fn headers(&self) -> HeaderMap {
        let version = HeaderValue::from_static(API_VERSION);
        HeaderMap::from_iter([(AUTHORIZATION, self.key.bearer()), (STRIPE_VERSION, version)])
    }
}

impl Connector for Payment {
    fn kind(&self) -> &str {
        "payment"
    }

    fn perform<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(self.perform_one(request))
    }

    fn look_up<'a>(&'a self, request: &'a Request) -> Looking<'a> {
        Box::pin(look_up::look_up(self, request))
    }
}

/// Secret and restricted keys say their mode.
fn mode_of(key: &Secret) -> Option<bool> {
    let is = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| key.begins_with(prefix));
    match (is(["sk_live_", "rk_live_"]), is(["sk_test_", "rk_test_"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}
