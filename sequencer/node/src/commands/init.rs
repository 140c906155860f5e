//! `tally init`: makes what a production node needs and does not have: configuration file, keys, ledger, and the first
//! operator API key.
//!
//! Takes a name for the log (or an existing configuration); gives the ledger's identity and the API key, which is
//! shown once and kept nowhere. Running it again makes nothing twice: an existing file, key or ledger is used.

use std::path::Path;

use serde::Serialize;
use tally_core::Clock;
use tally_gateway::{ApiKey, Credential, Environment, Scope};
use tally_protocol::entry::{Genesis, PROFILE};

use crate::cli::InitArgs;
use crate::commands::serve;
use crate::config::check::{NodeKeys, check};
use crate::config::{Config, NewConfig, template};
use crate::exit::Failure;
use crate::keyfile::{KeyFile, Purpose, SecretFile};
use crate::output::Output;
use crate::random;
use crate::wire::Rooms;

/// What was made.
#[derive(Serialize)]
struct Made {
    config: String,
    ledger_id: String,
    origin: String,
    created: bool,
    api_key: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be written, the configuration is refused, or the data belongs to another ledger.
pub fn run(args: &InitArgs) -> Result<(), Failure> {
    write_config(args)?;
    let config = Config::load(&args.config)?;
    make_keys(&config)?;
    let keys = check(&config)?;
    let rooms = Rooms::open(serve::plan(&config, keys.clone(), false)?, Some(genesis(&config, &keys)))?;
    let ledger = rooms.reader().ledger().clone();
    if ledger.genesis.origin != config.ledger.origin {
        let what =
            format!("the data holds {}, the configuration names {}", ledger.genesis.origin, config.ledger.origin);
        return Err(Failure::usage(what));
    }
    let api_key = operator_key(&rooms, args.operator_key)?;
    rooms.close()?;
    let made = Made {
        config: args.config.display().to_string(),
        ledger_id: ledger.ledger_id.to_hex(),
        origin: ledger.genesis.origin,
        created: api_key.is_some(),
        api_key,
    };
    Output::new(args.json).result(&made, || describe(&made))
}

fn describe(made: &Made) -> String {
    let key = match &made.api_key {
        Some(key) => format!("{key}  (shown once and kept nowhere: write it down)"),
        None => "made before".to_owned(),
    };
    format!(
        "ledger     {}\norigin     {}\noperator   {key}\nnext: tally serve --config {}",
        made.ledger_id, made.origin, made.config
    )
}

fn write_config(args: &InitArgs) -> Result<(), Failure> {
    let path = &args.config;
    if path.exists() {
        return Ok(());
    }
    let Some(origin) = &args.origin else {
        return Err(Failure::usage(format!("there is no configuration file {}", path.display())));
    };
    let text =
        template(&NewConfig { origin, data: &args.data, fence: &args.fence, keys: &args.keys, listen: args.listen });
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

/// Makes the keys that are missing; an existing one is never touched.
fn make_keys(config: &Config) -> Result<(), Failure> {
    let keys = &config.keys;
    let market = config.market.as_ref().map(|market| &market.signing_key);
    for path in [&keys.receipt, &keys.checkpoint].into_iter().chain(keys.root.as_ref()).chain(market) {
        create_parent(path)?;
        KeyFile::load_or_create(path, Purpose::Production)?;
    }
    create_parent(&keys.credentials)?;
    SecretFile::load_or_create(&keys.credentials, Purpose::Production)?;
    Ok(())
}

fn create_parent(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Failure::file("create", folder, &error))
}

fn genesis(config: &Config, keys: &NodeKeys) -> impl FnOnce(&dyn Clock) -> Result<Genesis, Failure> {
    let (origin, keys) = (config.ledger.origin.clone(), keys.clone());
    move |clock| {
        let Some(root) = keys.root else {
            let what = "a new ledger needs its root key: state keys.root while it is made";
            return Err(Failure::usage(what));
        };
        let genesis = Genesis {
            origin,
            profile: PROFILE.to_owned(),
            created_at: clock.wall(),
            nonce: *random::bytes::<16>()?,
            checkpoint_key: keys.checkpoint.public_key(),
            receipt_key: keys.receipt.public_key(),
            root_agent: random::agent_id()?,
            root_key: root.public_key(),
        };
        genesis.check().map_err(|error| Failure::usage(format!("this cannot open a ledger: {error}")))?;
        Ok(genesis)
    }
}

/// An operator's key, if there is no credential at all yet, or if one more is asked for.
fn operator_key(rooms: &Rooms, another: bool) -> Result<Option<String>, Failure> {
    let fail = |error: tally_gateway::CredentialError| Failure::failed(error.to_string());
    if !another && !rooms.credentials.list().map_err(fail)?.is_empty() {
        return Ok(None);
    }
    let key = ApiKey::generate(Environment::Live).map_err(fail)?;
    let scope = Scope::operator();
    let credential =
        Credential::new(&key, &rooms.credential_key, scope, "operator, made by tally init", rooms.clock.wall());
    rooms.credentials.put(&credential).map_err(fail)?;
    Ok(Some(key.reveal()))
}
