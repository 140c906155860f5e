//! The connectors of this program, and who reads the payment provider's messages, from `[connectors.KIND]`.
//!
//! Takes sections and the agents' keys; gives connectors. Credentials come from files that nobody else may read, named in
//! the section; paths are relative to the configuration file. A kind that is not here is refused, not left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tally_connectors::finance::{Finance, FinanceConfig};
use tally_connectors::payment::webhook::{self, WebhookError};
use tally_connectors::payment::{Payment, PaymentConfig};
use tally_connectors::{Connector, Secret};
use tally_core::{Clock as _, SystemClock};
use tally_gateway::{AgentSigner, FactEvent, WebhookPort, WebhookRefusal};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;
use zeroize::Zeroizing;

use super::Connected;
use crate::config::ConnectorSection;
use crate::exit::Failure;
use crate::keyfile::{KeyFile, read_private};

/// The kind of the connector to the payment provider.
const PAYMENT: &str = "payment";
/// The kind of the connector to Finance.
const FINANCE: &str = "finance";

const MICROS: u64 = 1_000_000;

/// The connectors that a configuration names, with their agents. The one place where they are made.
///
/// # Errors
/// A kind that this program has no connector for, settings or credentials that it refuses, an agent without a key.
pub fn connected(
    sections: &BTreeMap<String, ConnectorSection>,
    keys: &BTreeMap<String, SigningKey>,
) -> Result<Vec<Connected>, Failure> {
    let one = |(kind, section): (&String, &ConnectorSection)| {
        let key = keys.get(kind).ok_or_else(|| refused(kind, "no key was read"))?.clone();
        Ok(Connected { connector: connector(kind, section)?, agent: section.agent, key })
    };
    sections.iter().map(one).collect()
}

/// Who reads the payment provider's messages; nobody where no secret of theirs is configured.
///
/// # Errors
/// A secret that cannot be read, or settings that are refused.
pub fn webhook_of(
    sections: &BTreeMap<String, ConnectorSection>,
    keys: &BTreeMap<String, SigningKey>,
) -> Result<Option<Arc<dyn WebhookPort>>, Failure> {
    let (Some(section), Some(key)) = (sections.get(PAYMENT), keys.get(PAYMENT)) else { return Ok(None) };
    let PaymentSettings { own, config } = PaymentSettings::of(section)?;
    if own.webhook_secret_files.is_empty() {
        return Ok(None);
    }
    let secrets = own.webhook_secret_files.iter().map(|path| secret(PAYMENT, &section.folder, path));
    let signer = AgentSigner { agent: section.agent, key: key.clone() };
    Ok(Some(Arc::new(Webhook { secrets: secrets.collect::<Result<_, _>>()?, account: config.account, signer })))
}

fn connector(kind: &str, section: &ConnectorSection) -> Result<Box<dyn Connector>, Failure> {
    match kind {
        PAYMENT => {
            let PaymentSettings { own, config } = PaymentSettings::of(section)?;
            let key = secret(kind, &section.folder, &own.api_key_file)?;
            Ok(Box::new(Payment::open(config, key).map_err(|error| refused(kind, &error))?))
        }
        FINANCE => {
            let (own, config) = parted::<FinanceFiles, FinanceConfig>(kind, section, &["proof_key", "token_file"])?;
            let key = KeyFile::load(&section.folder.join(&own.proof_key))?.key;
            let token = own.token_file.map(|path| secret(kind, &section.folder, &path)).transpose()?;
            let clock = SystemClock::new();
            let finance = Finance::open(&config, Arc::new(key), token, Arc::new(move || clock.wall()));
            Ok(Box::new(finance.map_err(|error| refused(kind, &error))?))
        }
        _ => Err(refused(kind, "this program has no connector of this kind")),
    }
}

/// The files that `[connectors.payment]` names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentFiles {
    /// The API key.
    api_key_file: PathBuf,
    /// The secrets of the provider's messages; during a rotation two.
    #[serde(default)]
    webhook_secret_files: Vec<PathBuf>,
}

struct PaymentSettings {
    own: PaymentFiles,
    config: PaymentConfig,
}

impl PaymentSettings {
    fn of(section: &ConnectorSection) -> Result<Self, Failure> {
        let (own, config) = parted(PAYMENT, section, &["api_key_file", "webhook_secret_files"])?;
        Ok(Self { own, config })
    }
}

/// The files that `[connectors.finance]` names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinanceFiles {
    /// Signs the proofs that Finance is shown.
    proof_key: PathBuf,
    /// A bearer token, where Finance wants one.
    token_file: Option<PathBuf>,
}

/// What names files, which is read here, and the rest, which is the connector's own.
fn parted<F: for<'de> Deserialize<'de>, C: for<'de> Deserialize<'de>>(
    kind: &str,
    section: &ConnectorSection,
    files: &[&str],
) -> Result<(F, C), Failure> {
    let (own, rest): (toml::Table, toml::Table) =
        section.settings.clone().into_iter().partition(|(name, _)| files.contains(&name.as_str()));
    let wrong = |error: toml::de::Error| refused(kind, &error.message());
    Ok((own.try_into().map_err(wrong)?, rest.try_into().map_err(wrong)?))
}

fn refused(kind: &str, why: &(impl std::fmt::Display + ?Sized)) -> Failure {
    Failure::usage(format!("[connectors.{kind}]: {why}"))
}

/// A credential, of a file that nobody else may read.
fn secret(kind: &str, folder: &Path, path: &Path) -> Result<Secret, Failure> {
    let text = read_private(&folder.join(path))?;
    Secret::new(Zeroizing::new(text.trim_end().to_owned())).map_err(|error| refused(kind, &error))
}

/// Reads the provider's messages with the secrets that are valid now.
struct Webhook {
    secrets: Vec<Secret>,
    account: String,
    signer: AgentSigner,
}

impl WebhookPort for Webhook {
    fn read(&self, raw: &[u8], signature: Option<&str>, now: LogTime) -> Result<Vec<FactEvent>, WebhookRefusal> {
        let header = signature.ok_or(WebhookRefusal::Signature("the header Stripe-Signature is missing"))?;
        let facts = webhook::accept(raw, header.as_bytes(), &self.secrets, now.micros() / MICROS, &self.account);
        let facts = facts.map_err(|error| match error {
            WebhookError::Signature(_) => WebhookRefusal::Signature("the signature does not hold for this body now"),
            WebhookError::Message(_) => WebhookRefusal::Unreadable("the message is not as the provider documents it"),
        })?;
        let event = |fact: tally_connectors::payment::Fact| {
            let body = jcs::canonicalize(&fact.to_json().to_string().into_bytes());
            let body = body.map_err(|_| WebhookRefusal::Unreadable("a fact of the message has no canonical form"))?;
            Ok(FactEvent { object: fact.id.clone(), body: Bytes::from(body) })
        };
        facts.into_iter().map(event).collect()
    }

    fn signer(&self) -> &AgentSigner {
        &self.signer
    }
}
