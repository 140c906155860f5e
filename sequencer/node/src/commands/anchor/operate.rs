//! What an operator does at the contract: deploy, roles, pause; and at the worker: halts, uses of keys.

use std::time::Duration;

use serde_json::json;
use tally_anchor::config::ChainConfig;
use tally_anchor::deploy::{Deployment, Operator};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::ledger::Journal;
use tally_anchor::signer::file;
use tally_anchor::signer::{Address, Signer};
use tally_anchor::uses;
use zeroize::Zeroizing;

use super::settings::{Settings, failure, key as open_key};
use crate::cli::anchor::{ChainArgs, DeployArgs, KeyArgs, Role, RoleArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::random;

/// A transaction of an operator's is waited for this long.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// `tally anchor key`
pub(super) fn key(args: &KeyArgs) -> Result<(), Failure> {
    let secret = Zeroizing::new(random::bytes::<32>()?);
    let address = file::create(&args.out, &secret).map_err(|error| Failure::usage(error.to_string()))?;
    let value = json!({ "address": address.to_string(), "file": args.out.display().to_string() });
    Output::new(args.json).result(&value, || format!("{address} in {} (development only)", args.out.display()))
}

/// A key that this command needs and the file names.
async fn needed(
    which: &str,
    settings: &Settings,
    config: Option<&tally_anchor::signer::config::SignerConfig>,
) -> Result<std::sync::Arc<dyn Signer>, Failure> {
    let config = config.ok_or_else(|| Failure::usage(format!("anchor.toml names no key `{which}`")))?;
    open_key(which, config, &settings.surroundings(which)?).await
}

/// `tally anchor deploy`
pub(super) async fn deploy(args: &DeployArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.at.config)?;
    let config = settings.chain(&args.at.chain)?;
    let admin = needed("admin", &settings, settings.keys.admin.as_ref()).await?;
    let around = settings.surroundings("deploy")?;
    let gas_key = open_key("gas", &settings.keys.gas, &around).await?.address();
    let authority = open_key("authority", &settings.keys.authority, &around).await?.address();
    let guardian = match (&args.guardian, &settings.keys.guardian) {
        (Some(address), _) => *address,
        (None, Some(config)) => open_key("guardian", config, &around).await?.address(),
        (None, None) => Address([0; 20]),
    };
    let mut salt = [0; 32];
    salt[24..].copy_from_slice(&args.salt.to_be_bytes());
    let what = Deployment {
        admin: args.admin.unwrap_or_else(|| admin.address()),
        guardian,
        delay_s: args.delay_hours.saturating_mul(3_600),
        require_consistency: !args.without_consistency,
        salt,
        logs: settings.logs()?.into_iter().map(|(_, id)| id).collect(),
        authority,
        anchorer: gas_key,
    };
    let chain = Ethereum::unchecked(config).map_err(|error| failure(&error))?;
    let mut operator =
        Operator::new(&chain, config, admin.as_ref(), WAIT_MAX).await.map_err(|error| failure(&error))?;
    let deployed = operator.deploy(&what).await.map_err(|error| failure(&error))?;
    let sent: Vec<String> = deployed.transactions.iter().map(ToString::to_string).collect();
    let value = json!({
        "chain": config.name, "chain_id": config.chain_id, "contract": deployed.contract.to_string(),
        "code_hash": deployed.code_hash.to_string(), "from_block": deployed.from_block, "transactions": sent,
        "admin": what.admin.to_string(), "guardian": guardian.to_string(), "authority": authority.to_string(),
        "anchorer": gas_key.to_string(),
    });
    Output::new(args.at.json).result(&value, || {
        format!(
            "{} on chain {} ({} transactions)\n  contract = \"{}\"\n  code_hash = \"{}\"\n  from_block = {}\nput the \
             first two into this chain's section of {}, and all three into the node's [[anchor.chain]]",
            config.name,
            config.chain_id,
            sent.len(),
            deployed.contract,
            deployed.code_hash,
            deployed.from_block,
            args.at.config.display()
        )
    })
}

/// `tally anchor pause` and `resume`
pub(super) async fn pause(args: &ChainArgs, on: bool) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    let config = settings.chain(&args.chain)?;
    let guardian = settings.keys.guardian.as_ref().filter(|_| on);
    let key = match guardian {
        Some(config) => needed("guardian", &settings, Some(config)).await?,
        None => needed("admin", &settings, settings.keys.admin.as_ref()).await?,
    };
    let chain = Ethereum::new(config).map_err(|error| failure(&error))?;
    let mut operator = Operator::new(&chain, config, key.as_ref(), WAIT_MAX).await.map_err(|error| failure(&error))?;
    let receipt = operator.pause(on).await.map_err(|error| failure(&error))?;
    let done = if on { "paused" } else { "resumed" };
    let value = json!({ "chain": config.name, "done": done, "block": receipt.block.number });
    Output::new(args.json).result(&value, || format!("{} is {done} since block {}", config.name, receipt.block.number))
}

/// `tally anchor role`
pub(super) async fn role(args: &RoleArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.at.config)?;
    let config = settings.chain(&args.at.chain)?;
    let (address, active) = match (args.add, args.remove) {
        (Some(address), _) => (address, true),
        (None, Some(address)) => (address, false),
        (None, None) => return Err(Failure::usage("either --add or --remove")),
    };
    let admin = needed("admin", &settings, settings.keys.admin.as_ref()).await?;
    let chain = Ethereum::new(config).map_err(|error| failure(&error))?;
    let mut operator =
        Operator::new(&chain, config, admin.as_ref(), WAIT_MAX).await.map_err(|error| failure(&error))?;
    for (_, log) in settings.logs()? {
        let set = operator.set_key(&log, args.role == Role::Authority, address, active).await;
        set.map_err(|error| failure(&error))?;
    }
    let (role, done) = (format!("{:?}", args.role).to_lowercase(), if active { "added" } else { "removed" });
    let value = json!({ "chain": config.name, "role": role, "address": address.to_string(), "done": done });
    Output::new(args.at.json).result(&value, || format!("{role} {address} {done} on {}", config.name))
}

/// A chain's journal, which no worker may have open.
async fn journal(settings: &Settings, config: &ChainConfig) -> Result<Journal, Failure> {
    let around = settings.surroundings("look")?;
    let account = open_key("gas", &settings.keys.gas, &around).await?.address();
    Journal::open(&settings.folder(config), config.chain_id, account, config.contract).map_err(|error| failure(&error))
}

/// `tally anchor clear-halt`
pub(super) async fn clear_halt(args: &ChainArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    let config = settings.chain(&args.chain)?;
    let mut journal = journal(&settings, config).await?;
    let halted = journal.halted().map(ToString::to_string);
    journal.clear_halt().map_err(|error| failure(&error))?;
    let value = json!({ "chain": config.name, "was": halted });
    Output::new(args.json).result(&value, || match &halted {
        Some(why) => format!("{} may go on; it had halted: {why}", config.name),
        None => format!("{} had not halted", config.name),
    })
}

/// `tally anchor uses`
pub(super) async fn uses(args: &ChainArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    let config = settings.chain(&args.chain)?;
    let around = settings.surroundings("look")?;
    let account = open_key("gas", &settings.keys.gas, &around).await?.address();
    let record = uses::UseLog::in_folder(&settings.folder(config));
    let recorded = record.read().map_err(|error| failure(&error))?;
    let nonces = recorded.iter().filter_map(|line| match line {
        uses::Line::Transaction { nonce, .. } => Some(*nonce),
        _ => None,
    });
    let Some(first) = nonces.min() else {
        let value = json!({ "chain": config.name, "account": account.to_string(), "unexplained": [] });
        return Output::new(args.json)
            .result(&value, || format!("no worker has used {account} on {} yet", config.name));
    };
    let chain = Ethereum::new(config).map_err(|error| failure(&error))?;
    let found = uses::reconcile(&record, &chain, account, first).await.map_err(|error| failure(&error))?;
    let nonces: Vec<u64> = found.iter().map(|one| one.nonce).collect();
    let value = json!({ "chain": config.name, "account": account.to_string(), "unexplained": nonces });
    Output::new(args.json).result(&value, || {
        let line = |nonce: &u64| format!("nonce {nonce} of {account} was used by nobody that recorded it");
        match nonces.as_slice() {
            [] => format!("every transaction of {account} on {} since nonce {first} is in the record", config.name),
            nonces => nonces.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    })?;
    if found.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Invalid, "the account's key was used elsewhere")) }
}
