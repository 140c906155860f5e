//! The connector of kind `finance`: settlements to Finance, by HTTPS and JSON (docs/formats/market.md, "Effects and answers").
//!
//! Takes a settlement that balances; posts it with a flat proof by our key and the effect's id as `Idempotency-Key`.
//! Done is only what Finance confirms under its own key for exactly this settlement; a settlement is never "failed":
//! where Finance refuses, errs or shows something else, the order stays where it is (fail closed).
//!
//! ```text
//! POST URL                {"proof":{flat proof by us},"settlement":{the effect's body}}
//! GET  URL/{effect id}    what the POST answered, or 404
//! 200  {"amount","currency","journal","lines"?,"order","proof":{flat proof by Finance}}
//! ```
//! Finance must compare a repetition by `settlement` alone: a proof is signed anew, and its time differs.

mod proof;
mod settlement;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tally_protocol::hash::EffectId;
use tally_protocol::key::{PublicKey, Signer, SignerError, check_registration};
use tally_protocol::time::LogTime;

use self::settlement::Settlement;
use crate::https::{Https, OpenError, Reply, below, parse_url};
use crate::{Answer, Connector, Doing, Failure, Looking, Request, Secret, Status};

pub use proof::{FlatProof, ProofError};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Settings of the connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinanceConfig {
    /// Where settlements are posted.
    pub url: String,
    /// The name under which our key is known to Finance. It should say `ed25519`: verifiers go by that.
    pub signer_kid: String,
    /// Finance's keys; any of them may have signed. At least one.
    pub keys: Vec<FinanceKey>,
    /// How long one request may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Certificates in PEM, believed instead of the platform's roots.
    #[serde(default)]
    pub roots_file: Option<PathBuf>,
    /// Allows an address without TLS.
    #[serde(default)]
    pub development: bool,
}

/// A key of Finance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinanceKey {
    /// Its name in Finance's proofs.
    pub signer_kid: String,
    /// Ed25519, 64 lower-case hexadecimal digits.
    pub public_key: String,
}

const fn timeout_ms() -> u64 {
    30_000
}

/// What tells the time of a proof.
pub type Clock = Arc<dyn Fn() -> LogTime + Send + Sync>;

/// Finance behind HTTPS.
pub struct Finance {
    base: Url,
    signer_kid: String,
    keys: Vec<(String, PublicKey)>,
    signer: Arc<dyn Signer>,
    token: Option<Secret>,
    clock: Clock,
    https: Https,
}

impl Finance {
    /// Reads the settings; Finance is not asked yet. `token` is sent as a bearer token, if there is one.
    ///
    /// # Errors
    /// [`OpenError`]: an address without TLS, no key of Finance, a key that nobody could hold, roots that cannot be read.
    pub fn open(
        config: &FinanceConfig,
        signer: Arc<dyn Signer>,
        token: Option<Secret>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let base = parse_url(&config.url, config.development)?;
        let keys: Vec<_> = config.keys.iter().map(FinanceKey::read).collect::<Result<_, _>>()?;
        if keys.is_empty() || !proof::is_kid(&config.signer_kid) {
            return Err(OpenError("finance: a signer_kid of our own and at least one key of Finance".to_owned()));
        }
        let https = Https::new(config.roots_file.as_deref(), Duration::from_millis(config.timeout_ms))?;
        Ok(Self { base, signer_kid: config.signer_kid.clone(), keys, signer, token, clock, https })
    }

    async fn perform_one(&self, request: &Request) -> Result<Answer, Failure> {
        let settlement = Settlement::of(request)?;
        let proof = self.sign(&settlement, &request.id).await?;
        let mut headers = self.headers();
        let key = HeaderValue::from_str(&request.id.to_hex()).expect("hexadecimal digits");
        headers.extend([(CONTENT_TYPE, HeaderValue::from_static("application/json")), (IDEMPOTENCY_KEY, key)]);
        let body = json!({ "proof": proof, "settlement": settlement.body });
        let reply = self.https.post(self.base.clone(), headers, body.to_string().into_bytes()).await?;
        match reply.status {
            200..=299 => self.confirmed(&reply, &settlement, &request.id),
            429 => Err(Failure::NotDone("Finance says: too many requests".to_owned())),
            400..=407 | 409..=499 => Err(impossible(&format!("Finance refuses with {}", reply.status))),
            status => Err(unknown(&format!("Finance answers {status}"))),
        }
    }

    async fn look_up_one(&self, request: &Request) -> Result<Option<Answer>, Failure> {
        let settlement = Settlement::of(request)?;
        let url = below(&self.base, &[&request.id.to_hex()]);
        let reply = self.https.get(url, self.headers()).await.map_err(|_| unknown("Finance cannot be asked"))?;
        match reply.status {
            200..=299 => self.confirmed(&reply, &settlement, &request.id).map(Some),
            404 => Ok(None),
            401 | 403 => Err(impossible("Finance refuses the credentials")),
            status => Err(unknown(&format!("Finance answers {status}"))),
        }
    }

    /// Signers may wait for a device, so not on the runtime's thread.
    async fn sign(&self, settlement: &Settlement, effect: &EffectId) -> Result<FlatProof, Failure> {
        let message = settlement.statement(effect, &self.signer_kid, (self.clock)());
        let (signer, kid) = (Arc::clone(&self.signer), self.signer_kid.clone());
        let signing = tokio::task::spawn_blocking(move || FlatProof::sign(&message, &kid, &*signer));
        match signing.await {
            Ok(Ok(proof)) => Ok(proof),
            Ok(Err(SignerError::Unavailable(_))) => Err(Failure::NotDone("the signer of proofs is away".to_owned())),
            Ok(Err(SignerError::Refused(_))) | Err(_) => Err(impossible("the signer of proofs refuses")),
        }
    }

    /// Holds what Finance says against what was asked.
    fn confirmed(&self, reply: &Reply, settlement: &Settlement, effect: &EffectId) -> Result<Answer, Failure> {
        let said: Value = serde_json::from_slice(&reply.body).map_err(|_| unknown("an answer that is no JSON"))?;
        let proof =
            settlement.confirmed_by(&said, effect, &self.keys).map_err(|error| impossible(&error.to_string()))?;
        let result = json!({
            "amount": settlement.amount,
            "currency": settlement.currency,
            "journal": settlement.journal,
            "order": settlement.order,
            "proof": {
                "canonical_message": proof.canonical_message,
                "signature": proof.signature,
                "signer_kid": proof.signer_kid,
                "ts": proof.ts,
            },
        });
        Ok(Answer { status: Status::Done, result })
    }

    fn headers(&self) -> HeaderMap {
        self.token.iter().map(|token| (AUTHORIZATION, token.bearer())).collect()
    }
}

impl Connector for Finance {
    fn kind(&self) -> &str {
        "finance"
    }

    fn perform<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(self.perform_one(request))
    }

    fn look_up<'a>(&'a self, request: &'a Request) -> Looking<'a> {
        Box::pin(self.look_up_one(request))
    }
}

impl FinanceKey {
    fn read(&self) -> Result<(String, PublicKey), OpenError> {
        let wrong = || OpenError(format!("{} is no Ed25519 key of Finance", self.signer_kid));
        let key = PublicKey::from_hex(&self.public_key).map_err(|_| wrong())?;
        check_registration(&key).map_err(|_| wrong())?;
        if proof::is_kid(&self.signer_kid) { Ok((self.signer_kid.clone(), key)) } else { Err(wrong()) }
    }
}

fn impossible(why: &str) -> Failure {
    Failure::Impossible(why.to_owned())
}

fn unknown(why: &str) -> Failure {
    Failure::Unknown(why.to_owned())
}
