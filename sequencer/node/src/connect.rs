//! From the command line to a client: where the node is, who calls, who signs.
//!
//! Takes flags, variables and the profile (in this order of precedence); gives a [`Client`] that retries for as long
//! as it was told, and agents that sign. Fails if something is named nowhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_client::{Agent, ApiKey, Class, Client, ClientError, RetryPolicy, Trust};
use tally_protocol::id::{KeyId, StoreId};
use tally_verify::TrustRoot;

use crate::cli::{NodeArgs, SignerArgs};
use crate::exit::{Exit, Failure};
use crate::keyfile::{self, KeyFile};
use crate::profile::Profile;

/// Whose API key a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The agent's: submits and reads.
    Agent,
    /// The operator's: manages tenants and keys.
    Operator,
}

/// The profile, if there is one.
///
/// # Errors
/// The file is there and is no profile.
pub fn profile(args: &NodeArgs) -> Result<Option<Profile>, Failure> {
    Profile::load(&args.profile)
}

/// A client of the node. Nothing is sent yet.
///
/// # Errors
/// Address or API key are named nowhere, or the key file is not private.
pub fn client(args: &NodeArgs, profile: Option<&Profile>, caller: Caller) -> Result<Client, Failure> {
    let url = args.url.clone().or_else(|| profile.map(|profile| profile.url.clone()));
    let Some(url) = url else {
        return Err(missing("the node's address", "--url", args));
    };
    let key_file = |profile: &Profile| match caller {
        Caller::Agent => profile.api_key_file.clone(),
        Caller::Operator => profile.operator_api_key_file.clone(),
    };
    let key = match (&args.api_key, args.api_key_file.clone().or_else(|| profile.map(key_file))) {
        (Some(key), _) => ApiKey::new(key),
        (None, Some(path)) => read_api_key(&path)?,
        (None, None) => return Err(missing("an API key", "--api-key-file", args)),
    };
    let trust = match args.ledger.or_else(|| profile.map(|profile| profile.ledger_id)) {
        Some(ledger) => Trust::Given(TrustRoot::ledger(ledger)),
        None => Trust::FirstUse,
    };
    let builder = Client::builder(&url).api_key(key).trust(trust).retry(policy(args.timeout));
    builder.build().map_err(|error| failure(&error))
}

/// A node that asks for a longer pause than this will not be back while somebody waits at a terminal: it says so.
const PAUSE_NAMED_MAX: Duration = Duration::from_secs(2);

/// Pauses of half a second on average, up to the time-out.
fn policy(seconds: u64) -> RetryPolicy {
    let attempts_max = u32::try_from(seconds.saturating_mul(2)).unwrap_or(u32::MAX).saturating_add(5);
    let (pause_max, retry_after_max) = (Duration::from_secs(1), PAUSE_NAMED_MAX);
    RetryPolicy { attempts_max, pause_max, retry_after_max, ..RetryPolicy::STANDARD }
}

/// Waits for a call, with its retries, no longer than the time-out.
///
/// # Errors
/// What the call says, or exit code 5 when the time is over: whether it was done is then unknown.
pub async fn within<T>(args: &NodeArgs, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
    match tokio::time::timeout(Duration::from_secs(args.timeout.max(1)), call).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::new(Exit::Unavailable, format!("no answer within {} s", args.timeout.max(1)))
            .hint("whether it was done is unknown; repeating it is safe")),
    }
}

fn read_api_key(path: &Path) -> Result<ApiKey, Failure> {
    let text = keyfile::read_private(path)?;
    Ok(ApiKey::new(text.trim_end()))
}

fn missing(what: &str, flag: &str, args: &NodeArgs) -> Failure {
    Failure::usage(format!("{what} is not known: there is no {flag} and no profile {}", args.profile.display()))
        .hint("tally dev writes a profile at its first start")
}

/// Who signs, and into which store.
#[derive(Debug)]
pub struct Signing {
    /// The agent with its key.
    pub agent: Agent,
    /// The store.
    pub store: StoreId,
}

impl Signing {
    /// Joins flags and profile.
    ///
    /// # Errors
    /// Something is named nowhere, or the key file is not private.
    pub fn of(args: &SignerArgs, node: &NodeArgs, profile: Option<&Profile>) -> Result<Self, Failure> {
        let path: Option<PathBuf> = args.key.clone().or_else(|| profile.map(|profile| profile.key_file.clone()));
        let path = path.ok_or_else(|| missing("the agent's key", "--key", node))?;
        let tenant = args.tenant.or_else(|| profile.map(|profile| profile.tenant_id));
        let tenant = tenant.ok_or_else(|| missing("the tenant", "--tenant", node))?;
        let store = args.store.or_else(|| profile.map(|profile| profile.store_id));
        let store = store.ok_or_else(|| missing("the store", "--store", node))?;
        let id = args.agent.or_else(|| profile.map(|profile| profile.agent_id));
        let id = id.ok_or_else(|| missing("the agent", "--agent", node))?;
        let key_id = args.key_id.or_else(|| profile.map(|profile| profile.key_id)).map_or(1, KeyId::get);
        let key = KeyFile::load(&path)?.key;
        Ok(Self { agent: Agent::new(tenant, id, key_id, key), store })
    }
}

/// What a client's error means for the process.
#[must_use]
pub fn failure(error: &ClientError) -> Failure {
    let exit = match (error, error.class()) {
        (ClientError::Config(_), _) => Exit::Usage,
        (_, Class::Reject) => Exit::Rejected,
        (_, Class::Retry) => Exit::Unavailable,
        (_, Class::Fatal) => Exit::Invalid,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        message = format!("{message}: {next}");
        cause = next.source();
    }
    let failure = Failure::new(exit, message);
    match error {
        ClientError::Fork(evidence) => {
            failure.hint(format!("keep both checkpoints, they prove it:\n{}\n{}", evidence.first, evidence.second))
        }
        _ => failure,
    }
}
