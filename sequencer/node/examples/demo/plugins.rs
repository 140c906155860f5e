//! The plugins: the committed modules put on the node, submitted, reviewed and installed by signed events, before the
//! trade begins; an upgrade with a migration in the middle of it; at its end questions, the export of the log, its replay.
//!
//! The development ledger's root agent signs for the tenant; publisher and reviewer are agents of their own, because
//! nobody reviews a release of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tally::keyfile::{KeyFile, Purpose};
use tally::profile::Profile;
use tally::random;
use tally_client::api::agent_key::RegisterKeyRequest;
use tally_client::{Client, ProvenReceipt};
use tally_core::{Clock as _, SystemClock};
use tally_plugin_author::package::{self, Terms};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::instance::Instance;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::report::{Report, report};
use tally_plugin_host::session::Grant;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, Stream};
use tally_protocol::key::{PublicKey, SigningKey};
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, attest};
use tally_protocol::time::LogTime;

use crate::catalogue::Item;
use crate::{describe, node, say};

/// The modules of the trade, in install order: `registry` begins with the release before, which has no index by price.
pub(crate) const TRADED: [&str; 2] = ["counter/counter", "registry/registry-0.9.0"];
/// What it is upgraded to while events come.
const UPGRADE: &str = "registry/registry";

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An agent with its first key.
#[derive(Clone)]
struct Person {
    id: AgentId,
    key: SigningKey,
}

impl Person {
    fn new() -> Result<Self, String> {
        Ok(Self { id: random::agent_id().map_err(words)?, key: random::signing_key().map_err(words)? })
    }
}

/// Who signs, and what the register says by now: each event names the head it goes on from.
pub(crate) struct Office {
    operator: Client,
    client: Client,
    folder: PathBuf,
    ledger: LedgerId,
    stream: Stream,
    register: PluginRegister,
    root: Person,
    publisher: Person,
    reviewer: Person,
}

impl Agents for Office {
    fn valid_key(&self, _: &Stream, agent: AgentId, _: KeyId, _: LogTime) -> Option<PublicKey> {
        let known = [&self.publisher, &self.reviewer].into_iter().find(|person| person.id == agent);
        known.map(|person| person.key.public_key())
    }

    fn is_root(&self, _: &Stream, agent: AgentId) -> bool {
        agent == self.root.id
    }
}

/// Puts modules on the node, each with the configuration that it is installed with, in the market's store.
pub(crate) async fn install(
    (operator, client): (&Client, &Client),
    profile: &Profile,
    folder: &Path,
    data: &Path,
    modules: &[(&str, Config)],
) -> Result<Office, String> {
    let began = Instant::now();
    let told = operator.ledger().await.map_err(|error| describe(&error))?;
    let genesis = tally_protocol::entry::Genesis::decode(told.genesis_entry()).map_err(words)?;
    let root = KeyFile::load(&data.join("keys/root.key")).map_err(words)?;
    if root.purpose != Purpose::Development {
        return Err("the demo runs on a development ledger".to_owned());
    }
    let mut office = Office {
        operator: operator.clone(),
        client: client.clone(),
        folder: folder.join("plugins"),
        ledger: profile.ledger_id,
        stream: Stream::new(profile.tenant_id, profile.store_id),
        register: PluginRegister::new(profile.ledger_id),
        root: Person { id: genesis.root_agent, key: root.key },
        publisher: Person::new()?,
        reviewer: Person::new()?,
    };
    for person in [&office.publisher, &office.reviewer] {
        let request = RegisterKeyRequest {
            tenant_id: profile.tenant_id,
            agent_id: person.id,
            key_id: Some(KeyId::new(1)),
            public_key: person.key.public_key().to_hex(),
            valid_from: None,
            valid_to: None,
            key_algorithm: None,
        };
        operator.register_key(&request).await.map_err(|error| describe(&error))?;
    }
    // The root agent's key is in genesis, and in no register of agents.
    client.know_key(profile.tenant_id, office.root.id, KeyId::new(1), office.root.key.public_key());
    let mut names = Vec::new();
    for (module, config) in modules {
        names.push(office.begin(module, config, PluginEvent::Installed).await?.0);
    }
    say(&format!(
        "plug   {} put, submitted, reviewed and installed, in {:.1} s",
        names.join(", "),
        began.elapsed().as_secs_f64()
    ));
    Ok(office)
}

/// Asks what the upgrade made possible, once everything is applied: the items by price, against the catalogue.
pub(crate) async fn ask(client: &Client, stream: Stream, last: Index, catalogue: &[Item]) -> Result<(), String> {
    let registry = PluginId::new("registry").map_err(words)?;
    let began = Instant::now();
    while client.plugins(stream).await.map_err(|error| describe(&error))?.applied.get() <= last.get() {
        if began.elapsed() > Duration::from_secs(60) {
            return Err("the plugins did not catch up in a minute".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cheapest = catalogue.iter().map(Item::price_cents).min().unwrap_or_default();
    let expected = catalogue.iter().filter(|item| item.price_cents() == cheapest).count().min(ASKED_MAX);
    let (price, limit) = (cheapest.to_string(), ASKED_MAX.to_string());
    let query = [("currency", "EUR"), ("price_min", &price), ("price_max", &price), ("limit", &limit)];
    let answer = client.ask_plugin(stream, &registry, &["items"], &query).await.map_err(|error| describe(&error))?;
    let answer: Value = serde_json::from_slice(&answer).map_err(words)?;
    let found = answer["rows"].as_array().map_or(0, Vec::len);
    if found != expected {
        return Err(format!(
            "registry finds {found} items for {cheapest} cents, the catalogue has {expected}: {answer}"
        ));
    }
    say(&format!(
        "ask    registry by price, over the index that the migration made: {found} items for {cheapest} cents"
    ));
    Ok(())
}

/// What a page of the registry holds.
const ASKED_MAX: usize = 100;

impl Office {
    /// The registry goes on as its next release, whose migration makes an index over what is there.
    pub(crate) async fn upgrade(&mut self) -> Result<(), String> {
        let (name, receipt) = self.begin(UPGRADE, &Config::empty(), PluginEvent::Upgraded).await?;
        let place = receipt.placed.index;
        let outcome = self.client.outcome(place, receipt.leaf_hash).await.map_err(|error| describe(&error))?;
        let codes: Vec<String> =
            outcome.outcome.bindings.iter().map(|binding| format!("{} {}", binding.plugin, binding.code)).collect();
        if codes != ["registry accepted"] {
            return Err(format!("the upgrade came to {codes:?}"));
        }
        say(&format!("plug   upgraded to {name} at entry {place}, its state migrated"));
        Ok(())
    }

    /// Puts a module and brings it to run, by signed events; gives its name, and the last one's receipt.
    async fn begin(
        &mut self,
        module: &str,
        config: &Config,
        as_what: fn(Binding) -> PluginEvent,
    ) -> Result<(String, ProvenReceipt), String> {
        let file = self.folder.join(format!("{module}.wasm"));
        let wasm = std::fs::read(&file).map_err(|error| format!("failed to read {}: {error}", file.display()))?;
        let (release, report) = release_of(self.ledger, &wasm)?;
        self.operator.put_module(wasm.into()).await.map_err(|error| describe(&error))?;
        self.operator.report(&release).await.map_err(|error| describe(&error))?;
        let frames = self.life(&release, &report, config, as_what)?;
        let told = self.client.submit(&frames).await.map_err(|error| describe(&error))?;
        let receipts = told.into_iter().map(|outcome| outcome.into_receipt().map_err(|rejected| rejected.to_string()));
        let last = receipts.collect::<Result<Vec<_>, _>>()?.pop().ok_or("no receipt")?;
        Ok((format!("{} {}", release.plugin, release.version), last))
    }

    /// From the submission to the installation or upgrade.
    fn life(
        &mut self,
        release: &Release,
        report: &Report,
        config: &Config,
        as_what: fn(Binding) -> PluginEvent,
    ) -> Result<Vec<Frame>, String> {
        let (now, registry) = (SystemClock::new().wall(), Stream::control(self.stream.tenant));
        let first = KeyId::new(1);
        let release_hash = release.hash();
        let publisher = attest(&release_hash, self.publisher.id, first, now, &self.publisher.key).map_err(words)?;
        let previous = self.register.head(&registry, &release.plugin);
        let submission = Submission { release: release.clone(), release_hash, publisher, previous };
        let mut frames = vec![self.frame(&PluginEvent::Submitted(submission), now)?];
        let review = Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release_hash,
            decision: Decision::Approved,
            overrides: false,
            report: report.hash(),
            blocking: report.blocking(),
            reason: "the demo's own".to_owned(),
            previous: self.register.head(&registry, &release.plugin),
        };
        let reviewer = review.sign(self.reviewer.id, first, now, &self.reviewer.key).map_err(words)?;
        frames.push(self.frame(&PluginEvent::Reviewed { review, reviewer }, now)?);
        let mut limits = Limits::default();
        for (name, value) in &release.limits {
            limits.set(name, *value).map_err(words)?;
        }
        let binding = Binding {
            store_id: self.stream.store,
            plugin: release.plugin.clone(),
            registry: Registry::Tenant,
            version: release.version,
            release: release_hash,
            module: release.module,
            profile: limits.profile(),
            state_version: release.state_version,
            granted: release.permissions.clone(),
            limits: release.limits.clone(),
            config: config.clone(),
            rollback: false,
            previous: self.register.head(&self.stream, &release.plugin),
        };
        frames.push(self.frame(&as_what(binding), now)?);
        Ok(frames)
    }

    /// The signed event, which the register has taken.
    fn frame(&mut self, event: &PluginEvent, now: LogTime) -> Result<Frame, String> {
        let stream = Stream::control(self.stream.tenant);
        let mut register = self.register.clone();
        register
            .apply(&Moment { stream, actor: self.root.id, index: Index::new(0), now }, event, self)
            .map_err(words)?;
        self.register = register;
        let (kind, id) = event.entity();
        let (payload, event_id) = (event.payload(), random::event_id().map_err(words)?);
        let who = (self.root.id, KeyId::new(1));
        let at = now.to_rfc3339();
        let fields = EventFields::plain(stream, event_id, who, (kind, &id), event.event_type(), &at, &payload);
        Frame::build(&fields, &payload, |hash| self.root.key.sign(hash.as_bytes())).map_err(words)
    }
}

/// A release that claims what a module says about itself.
fn release_of(ledger: LedgerId, wasm: &[u8]) -> Result<(Release, Report), String> {
    let program = Engine::new(2, Optimisation::None).and_then(|engine| engine.load(wasm, &Limits::default()));
    let unknown = PluginId::new("unknown").map_err(words)?;
    let bytes = Instance::new(program.map_err(words)?, Grant::nothing(ledger, unknown)).describe_bytes();
    let bytes = bytes.map_err(words)?;
    let price = Price { amount: 0, currency: *b"EUR", per: PricePer::Month };
    let release = package::release_of(&bytes, wasm, Terms { price, schemas: BTreeMap::new() }).map_err(words)?;
    let report = report(&release, wasm, Some(&bytes));
    Ok((release, report))
}

/// Exports the stopped node's log and executes it again; gives the promised line.
pub(crate) fn replay(binary: &Path, data: &Path, folder: &Path, profile: &Profile) -> Result<String, String> {
    let began = Instant::now();
    let out = folder.join("export");
    let (data, dir) = (data.to_string_lossy(), out.to_string_lossy());
    let exported = node::tally(binary, &["export", "--data", &data, "--out", &dir])?;
    if !exported.status.success() {
        return Err(format!("tally export: {}", String::from_utf8_lossy(&exported.stderr).trim_end()));
    }
    say(&format!("export {}", String::from_utf8_lossy(&exported.stdout).trim_end()));
    let output = node::tally(binary, &["replay", &dir, "--ledger", &profile.ledger_id.to_hex()])?;
    if !output.status.success() {
        return Err(format!("tally replay: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find(|line| line.starts_with("replay ok: ")).ok_or("tally replay said nothing")?;
    say(&format!("replay every plugin over every event, in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(line.to_owned())
}
