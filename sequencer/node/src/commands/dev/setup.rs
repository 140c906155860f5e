//! What `tally dev` makes at its first start, so that a process that ended in the middle is no harm: ids are written
//! before they are used, and each later step looks whether it was done.
//!
//! Takes the open rooms; gives the profile, and the API keys that were made just now.

use std::path::Path;
use std::sync::Arc;

use tally_core::{Clock, EventResult, Lane, NodeState};
use tally_gateway::{ApiKey, Credential, CredentialStore, Environment, Scope};
use tally_protocol::control::ControlEvent;
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::id::{KeyId, Stream};
use tally_protocol::key::SigningKey;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::keyfile::{self, KeyFile, Purpose, SecretFile};
use crate::profile::Profile;
use crate::wire::Rooms;
use crate::{layout, random};

/// The keys of a development node; one per purpose, all marked. The agent's lies with what clients need.
pub(super) struct Keys {
    pub(super) receipt: SigningKey,
    pub(super) checkpoint: SigningKey,
    pub(super) root: SigningKey,
    pub(super) credentials: Zeroizing<[u8; 32]>,
    tenant_root: SigningKey,
    agent: SigningKey,
}

const AGENT_KEY: &str = "agent.key";

impl Keys {
    /// Reads the keys; makes those that are missing.
    pub(super) fn load_or_create(data: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let (folder, client) = (layout::dev_keys(data), layout::dev_client(data));
        for folder in [&folder, &client] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| Failure::file("create", folder, &error))?;
        }
        let key = |name: &str| Ok(KeyFile::load_or_create(&folder.join(name), Purpose::Development)?.key);
        Ok(Self {
            receipt: key("receipt.key")?,
            checkpoint: key("checkpoint.key")?,
            root: key("root.key")?,
            tenant_root: key("tenant-root.key")?,
            agent: KeyFile::load_or_create(&client.join(AGENT_KEY), Purpose::Development)?.key,
            credentials: SecretFile::load_or_create(&folder.join("credentials.secret"), Purpose::Development)?.secret,
        })
    }
}

/// Makes the genesis of a new development ledger. Its origin says that it is one, and differs from others'.
pub(super) fn genesis(keys: &Keys) -> impl FnOnce(&dyn Clock) -> Result<Genesis, Failure> {
    let (receipt, checkpoint, root) = (keys.receipt.public_key(), keys.checkpoint.public_key(), keys.root.public_key());
    move |clock| {
        let nonce = *random::bytes::<16>()?;
        Ok(Genesis {
            origin: format!("localhost/tally-dev-{}", tally_protocol::hash::hex(&nonce[..4])),
            profile: PROFILE.to_owned(),
            created_at: clock.wall(),
            nonce,
            checkpoint_key: checkpoint,
            receipt_key: receipt,
            root_agent: random::agent_id()?,
            root_key: root,
        })
    }
}

/// What the node is told to say.
pub(super) struct Made {
    pub(super) profile: Profile,
    pub(super) first_start: bool,
    /// Made just now.
    pub(super) api_key: Option<Zeroizing<String>>,
    /// Made just now.
    pub(super) operator_api_key: Option<Zeroizing<String>>,
}

/// Makes what is missing: profile, tenant, agent key, API keys. A node that takes no events gets what needs none.
pub(super) fn complete(rooms: &Rooms, keys: &Keys, data: &Path, url: &str) -> Result<Made, Failure> {
    let path = layout::dev_profile(data);
    let (profile, first_start) = profile(rooms, data, &path, url)?;
    if rooms.reader().state() == NodeState::Running {
        make_tenant(rooms, keys, &profile)?;
        register_agent(rooms, keys, &profile)?;
    }
    let agent = Scope { agent: Some(profile.agent_id), ..scope(&profile) };
    let api_key = api_key(rooms, &profile.api_key_file, agent, "development agent")?;
    let operator = Scope::operator();
    let operator_api_key = self::api_key(rooms, &profile.operator_api_key_file, operator, "development operator")?;
    Ok(Made { profile, first_start, api_key, operator_api_key })
}

/// The agent's key may submit and read in all of the tenant's stores, and read the log.
fn scope(profile: &Profile) -> Scope {
    use tally_api::api_key::Role;
    Scope {
        tenant: Some(profile.tenant_id),
        stores: None,
        agent: None,
        roles: vec![Role::Agent, Role::Reader, Role::Anchor, Role::Auditor],
    }
}

/// Reads the profile, or chooses the ids and writes them down before anything uses them.
fn profile(rooms: &Rooms, data: &Path, path: &Path, url: &str) -> Result<(Profile, bool), Failure> {
    let ledger = rooms.reader().ledger().clone();
    let known = Profile::load(path)?;
    let first_start = known.is_none();
    let folder = layout::dev_client(data);
    let mut profile = match known {
        Some(profile) if profile.ledger_id != ledger.ledger_id => {
            let what =
                format!("{} is about ledger {}, the data is {}", path.display(), profile.ledger_id, ledger.ledger_id);
            return Err(Failure::usage(what));
        }
        Some(profile) => profile,
        None => Profile {
            url: url.to_owned(),
            ledger_id: ledger.ledger_id,
            origin: ledger.genesis.origin.clone(),
            tenant_id: random::tenant_id()?,
            store_id: random::store_id()?,
            agent_id: random::agent_id()?,
            key_id: KeyId::new(1),
            key_file: folder.join(AGENT_KEY),
            api_key_file: folder.join("api-key"),
            operator_api_key_file: folder.join("operator-api-key"),
        },
    };
    url.clone_into(&mut profile.url);
    profile.save(path)?;
    Ok((profile, first_start))
}

fn make_tenant(rooms: &Rooms, keys: &Keys, profile: &Profile) -> Result<(), Failure> {
    if rooms.reader().tenant(profile.tenant_id).is_some() {
        return Ok(());
    }
    let event = ControlEvent::TenantCreated {
        tenant_id: profile.tenant_id,
        root_agent_id: random::agent_id()?,
        root_public_key: keys.tenant_root.public_key(),
        operator_managed: true,
    };
    submit(rooms, Stream::LEDGER, &event)
}

fn register_agent(rooms: &Rooms, keys: &Keys, profile: &Profile) -> Result<(), Failure> {
    let public_key = keys.agent.public_key();
    let known = rooms.reader().agent_keys(profile.tenant_id, profile.agent_id);
    if known.iter().any(|record| record.public_key == public_key) {
        return Ok(());
    }
    let event = ControlEvent::AgentKeyRegistered {
        agent_id: profile.agent_id,
        key_id: profile.key_id,
        public_key,
        valid_from: None,
        valid_to: None,
    };
    submit(rooms, Stream::control(profile.tenant_id), &event)
}

/// One control event, through the ordinary door.
fn submit(rooms: &Rooms, stream: Stream, event: &ControlEvent) -> Result<(), Failure> {
    let Some(control) = &rooms.control else { return Err(Failure::failed("this node holds no root key")) };
    let frame = control.sign_control(stream, event).map_err(|error| Failure::failed(error.to_string()))?;
    let ticket = rooms
        .submitter()
        .submit(Lane(0), vec![frame])
        .map_err(|refused| Failure::new(Exit::Unavailable, refused.to_string()))?;
    let outcome = ticket.wait().map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    match outcome.into_iter().next() {
        Some(EventResult::Accepted(_) | EventResult::Duplicate(_)) => Ok(()),
        Some(EventResult::Rejected(reject)) => {
            Err(Failure::new(Exit::Rejected, format!("{} was refused: {}", event.event_type(), reject.message)))
        }
        None => Err(Failure::failed("the sequencer gave no result")),
    }
}

/// The API key in `path`, made if the file is missing. The record comes before the file: a key that was shown or kept
/// always works.
fn api_key(rooms: &Rooms, path: &Path, scope: Scope, label: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    if path.exists() {
        let text = keyfile::read_private(path)?;
        let known = ApiKey::parse(text.trim_end()).map(|key| rooms.credential_key.hash(&key));
        let store: &Arc<dyn CredentialStore> = &rooms.credentials;
        let found =
            known.map(|hash| store.find(&hash)).transpose().map_err(|error| Failure::failed(error.to_string()))?;
        if found.flatten().is_none() {
            return Err(Failure::usage(format!("{} holds no API key of this node", path.display())));
        }
        return Ok(None);
    }
    let fail = |error: tally_gateway::CredentialError| Failure::failed(error.to_string());
    let key = ApiKey::generate(Environment::Test).map_err(fail)?;
    let credential = Credential::new(&key, &rooms.credential_key, scope, label, rooms.clock.wall());
    rooms.credentials.put(&credential).map_err(fail)?;
    let text = Zeroizing::new(key.reveal());
    keyfile::create_private(path, format!("{}\n", text.as_str()).as_bytes())?;
    Ok(Some(text))
}
