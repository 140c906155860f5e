//! The commands that take part in a plugin's life: each reads what the log says so far, makes the next event of the
//! control stream, signs it, and submits it by the ordinary door.
//!
//! Publisher and reviewer sign within the payload, by the agent's key; the event itself is signed by the root agent. What
//! the log would refuse is refused before it is sent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tally_client::{Agent, Client, EventDraft, SubmitOutcome};
use tally_core::{Clock, SystemClock};
use tally_plugin_author::engines::Engines;
use tally_plugin_author::package::Package;
use tally_plugin_author::publish::{self, Happened, Keys, Past, Verdict, Who, Wish};
use tally_plugin_host::report::{Finding, Report};
use tally_protocol::hash::LeafHash;
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, Sequence, Stream};
use tally_protocol::key::{PublicKey, SigningKey};
use tally_protocol::outcome::OutcomeCode;
use tally_protocol::plugin_event::{Config, PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::Moment;
use tally_protocol::release::{Release, Version};

use super::local::{config, failure};
use crate::cli::NodeArgs;
use crate::cli::plugin::{
    ConfigureArgs, InstallArgs, LifeArgs, ListArgs, LogsArgs, NodeLifeArgs, RemoveArgs, ReviewArgs, SignArgs,
    SubmitPackageArgs, UpgradeArgs, WishArgs,
};
use crate::commands;
use crate::connect::{self, Caller, Signing};
use crate::exit::{Exit, Failure};
use crate::keyfile::KeyFile;
use crate::output::Output;
use crate::profile::Profile;
use crate::random;

/// Events of one page.
const PAGE: usize = 500;

#[derive(Serialize)]
struct Signed {
    package: String,
    release: String,
    publisher: String,
    signature: String,
}

/// `tally plugin sign`
pub(super) fn sign(args: &SignArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let signing = Signing::of(&args.signer, &args.node, profile.as_ref())?;
    let key = own_key(args.signer.key.as_ref(), profile.as_ref())?;
    let mut package = Package::load(&args.package).map_err(|error| failure(&error))?;
    let who = Who { agent: signing.agent.id(), key_id: signing.agent.key_id(), now: now(), signer: &key };
    let signed = publish::sign(&mut package, &who).map_err(|error| failure(&error))?;
    package.save(&args.package).map_err(|error| failure(&error))?;
    let told = Signed {
        package: args.package.display().to_string(),
        release: package.release.hash().to_hex(),
        publisher: signed.agent_id.to_string(),
        signature: signed.signature.to_hex(),
    };
    let text = || {
        let Signed { package, release, publisher, .. } = &told;
        format!("{package}: release {release} signed by {publisher}; submit it within 24 hours")
    };
    Output::new(args.json).result(&told, text)
}

pub(super) fn now() -> tally_protocol::time::LogTime {
    SystemClock::new().wall()
}

/// The key that [`Signing`] signs events with, for what is signed within them.
fn own_key(given: Option<&PathBuf>, profile: Option<&Profile>) -> Result<SigningKey, Failure> {
    let path = given.or_else(|| profile.map(|profile| &profile.key_file));
    let path = path.ok_or_else(|| Failure::usage("the agent's key is not known: there is no --key and no profile"))?;
    Ok(KeyFile::load(path)?.key)
}

/// Everything that it takes to go on with the life of plugins in a tenant.
pub(super) struct Life<'a> {
    pub(super) args: &'a NodeLifeArgs,
    client: Client,
    pub(super) signing: Signing,
    key: SigningKey,
    pub(super) root: Agent,
    pub(super) past: Past,
    pub(super) output: Output,
}

impl<'a> Life<'a> {
    async fn open(args: &'a NodeLifeArgs, json: bool) -> Result<Self, Failure> {
        let profile = connect::profile(&args.node)?;
        let client = connect::client(&args.node, profile.as_ref(), Caller::Operator)?;
        let signing = Signing::of(&args.signer, &args.node, profile.as_ref())?;
        let key = own_key(args.signer.key.as_ref(), profile.as_ref())?;
        let ledger = connect::within(&args.node, client.ledger()).await?;
        let stream = args.registry.stream(signing.agent.tenant());
        let root = root_agent(args, stream, profile.as_ref(), ledger.genesis().root_agent)?;
        client.know_agent(&root);
        let mut happened = Vec::new();
        for stream in [Stream::LEDGER, Stream::control(signing.agent.tenant())] {
            happened.extend(events(&args.node, &client, stream).await?);
        }
        let mut keys = Keys::default();
        for (tenant, agent) in publish::signers(&happened) {
            for key in connect::within(&args.node, client.agent_keys(tenant, agent)).await?.keys {
                keys.add(tenant, agent, key.key_id, key.public_key);
            }
        }
        let past = Past::of(ledger.id(), happened, keys).map_err(|error| failure(&error))?;
        Ok(Self { args, client, signing, key, root, past, output: Output::new(json) })
    }

    /// The registry's stream.
    const fn registry(&self) -> Stream {
        self.args.registry.stream(self.signing.agent.tenant())
    }

    /// The store's stream.
    pub(super) const fn target(&self) -> Stream {
        Stream::new(self.signing.agent.tenant(), self.signing.store)
    }

    fn who(&self) -> Who<'_> {
        Who { agent: self.signing.agent.id(), key_id: self.signing.agent.key_id(), now: now(), signer: &self.key }
    }

    /// The key that an event's inner signature must verify with, as the node knows it.
    async fn signed_within(
        &self,
        event: &PluginEvent,
        stream: Stream,
    ) -> Result<Option<(AgentId, KeyId, PublicKey)>, Failure> {
        let signed = match event {
            PluginEvent::Submitted(submission) => submission.publisher,
            PluginEvent::Reviewed { reviewer, .. } => *reviewer,
            _ => return Ok(None),
        };
        let (agent, key_id) = (signed.agent_id, signed.key_id);
        let known = connect::within(&self.args.node, self.client.agent_keys(stream.tenant, agent)).await?;
        let key = known.keys.into_iter().find(|key| key.key_id == key_id);
        Ok(key.map(|key| (agent, key_id, key.public_key)))
    }

    /// Whether the log would let an event of a control stream pass.
    pub(super) async fn judge(&self, stream: Stream, event: &PluginEvent) -> Result<(), Failure> {
        let key = self.signed_within(event, stream).await?;
        self.past.check(event, stream, now(), key).map_err(|error| {
            let told = failure(&error);
            Failure::new(Exit::Rejected, format!("{}: {}", event.event_type(), told.message))
        })
    }

    /// Checks, signs and submits an event of a control stream, and says where it stands.
    pub(super) async fn go_on(&self, stream: Stream, event: &PluginEvent, said: &str) -> Result<(), Failure> {
        self.judge(stream, event).await?;
        let root = self.root.clone();
        // A binding's events are always in the tenant's stream, whatever the registry is.
        let root = if root.tenant() == stream.tenant { root } else { root_agent_in(self.args, stream, &root)? };
        self.client.know_agent(&root);
        let (entity_type, entity_id) = event.entity();
        let draft = EventDraft {
            store: stream.store,
            event_id: random::event_id()?,
            entity_type: entity_type.to_owned(),
            entity_id,
            event_type: event.event_type().to_owned(),
            created_at: now().to_rfc3339(),
            payload: event.payload(),
        };
        let frame = root.sign(&draft).map_err(|error| Failure::failed(error.to_string()))?;
        match connect::within(&self.args.node, self.client.submit_one(&frame)).await? {
            SubmitOutcome::Accepted(receipt) | SubmitOutcome::Duplicate(receipt) => {
                let index = receipt.placed.index;
                let starts = matches!(
                    event,
                    PluginEvent::Installed(_) | PluginEvent::Upgraded(_) | PluginEvent::Configured { .. }
                );
                let outcome = if starts { self.outcome(index, receipt.leaf_hash, event.plugin()).await } else { None };
                let failed = outcome.as_ref().is_some_and(|code| !code.is_accepted());
                let done = Done {
                    event_type: event.event_type(),
                    plugin: event.plugin().to_string(),
                    index: index.get(),
                    event_id: receipt.frame.event_id().to_string(),
                    outcome: outcome.map(|code| code.to_string()),
                };
                let told = done.outcome.as_deref().unwrap_or("to come");
                self.output.result(&done, || match (starts, failed) {
                    (false, _) => format!("{said} (log index {index})"),
                    (true, false) => format!("{said} (log index {index}, outcome {told})"),
                    (true, true) => format!("{} did not start (log index {index}, outcome {told})", event.plugin()),
                })?;
                if failed {
                    return Err(Failure::new(Exit::Rejected, format!("the plugin did not start: {told}")));
                }
                Ok(())
            }
            SubmitOutcome::Rejected(rejected) => {
                let (code, message) = (rejected.rejection.code, rejected.rejection.message);
                Err(Failure::new(Exit::Rejected, format!("{}: {code}: {message}", event.event_type())))
            }
        }
    }
}

#[derive(Serialize)]
struct Done {
    event_type: &'static str,
    plugin: String,
    index: u64,
    event_id: String,
    /// How `init` or `migrate` ended; none if it is still to come, or the event starts nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

/// How long the outcome of an event is waited for.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(5);

impl Life<'_> {
    /// How `init` or `migrate` of a plugin ended at an event, proven; none if that takes longer than is waited for.
    async fn outcome(&self, index: Index, leaf: LeafHash, plugin: &PluginId) -> Option<OutcomeCode> {
        let asked = async {
            loop {
                match self.client.outcome(index, leaf).await {
                    Ok(proven) => return Some(proven),
                    // Not applied yet, or not by this node.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let proven = tokio::time::timeout(OUTCOME_PATIENCE, asked).await.ok().flatten();
        proven.and_then(|proven| {
            proven.outcome.bindings.into_iter().find(|binding| binding.plugin == *plugin).map(|binding| binding.code)
        })
    }
}

/// The root agent of a control stream, whose key a development node keeps beside its profile's folder.
fn root_agent(
    args: &NodeLifeArgs,
    stream: Stream,
    profile: Option<&Profile>,
    of_ledger: AgentId,
) -> Result<Agent, Failure> {
    let beside = || {
        let data = profile.and_then(|_| args.node.profile.parent()?.parent())?;
        Some(crate::layout::dev_keys(data).join("root.key")).filter(|path| path.is_file())
    };
    let path = args.root_key.clone().or_else(beside);
    let path = path.ok_or_else(|| {
        Failure::usage("what goes into a control stream is signed by a root agent, and its key is not known")
            .hint("give --root-key FILE, and --root-agent where the tenant has a root agent of its own")
    })?;
    let key = KeyFile::load(&path)?.key;
    Ok(Agent::new(stream.tenant, args.root_agent.unwrap_or(of_ledger), args.root_key_id.get(), key))
}

/// The same root agent in another control stream.
fn root_agent_in(args: &NodeLifeArgs, stream: Stream, root: &Agent) -> Result<Agent, Failure> {
    let profile = connect::profile(&args.node)?;
    root_agent(args, stream, profile.as_ref(), root.id())
}

/// The plugin events of a control stream.
async fn events(node: &NodeArgs, client: &Client, stream: Stream) -> Result<Vec<Happened>, Failure> {
    let (mut happened, mut next) = (Vec::new(), Some(Sequence::new(1)));
    while let Some(from) = next {
        let page = connect::within(node, client.stream_events(stream, from, PAGE)).await?;
        for event in &page.events {
            let frame = &event.frame;
            if frame.event_type().starts_with(PLUGIN_PREFIX) {
                let (index, now) = (event.placed.index, event.placed.sequenced_at);
                happened.push(Happened {
                    at: Moment { stream, actor: frame.agent_id(), index, now },
                    event_type: frame.event_type().to_owned(),
                    payload: frame.payload().to_vec(),
                });
            }
        }
        next = page.next;
    }
    Ok(happened)
}

pub(super) fn with<'a, F: Future<Output = Result<(), Failure>>>(
    args: &'a NodeLifeArgs,
    json: bool,
    act: impl FnOnce(Life<'a>) -> F,
) -> Result<(), Failure> {
    commands::runtime()?.block_on(async { act(Life::open(args, json).await?).await })
}

/// `tally plugin submit`
pub(super) fn submit(args: &SubmitPackageArgs) -> Result<(), Failure> {
    let package = Package::load(&args.package).map_err(|error| failure(&error))?;
    with(&args.life.at, args.life.json, |life| async move {
        let event = life.past.submit(life.registry(), &package).map_err(|error| failure(&error))?;
        // The node has to have the module before an event names it; twice is once.
        connect::within(&life.args.node, life.client.put_module(package.wasm.clone().into())).await?;
        let release = &package.release;
        let said = format!("{} {} waits for review, release {}", release.plugin, release.version, release.hash());
        life.go_on(life.registry(), &event, &said).await
    })
}

#[derive(Serialize)]
struct Reported {
    plugin: String,
    version: String,
    report: String,
    blocking: u32,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    rule: &'static str,
    about: String,
    weight: &'static str,
}

/// `tally plugin review`: the report first; then the decision about it, if there is one.
pub(super) fn review(args: &ReviewArgs) -> Result<(), Failure> {
    with(&args.life.at, args.life.json, |life| async move {
        let registry = life.registry();
        let record = life.past.register().release(&registry, &args.plugin, args.version);
        let none = || Failure::usage(format!("the registry has no {} {}", args.plugin, args.version));
        let release = record.ok_or_else(none)?.release();
        let wasm = connect::within(&life.args.node, life.client.module(release.module, None)).await?;
        let report = Engines::new(life.past.ledger()).and_then(|engines| engines.report(release, &wasm));
        let report = report.map_err(|error| failure(&error))?;
        let (Some(decision), Some(reason)) = (args.decision, args.reason.clone()) else {
            return tell_report(&life, release, &report);
        };
        if !life.output.is_json() {
            tell_report(&life, release, &report)?;
        }
        // The node makes it too, and takes no approval that names another.
        let theirs = connect::within(&life.args.node, life.client.report(release)).await?;
        if theirs.report_hash != report.hash() {
            return Err(Failure::failed(format!(
                "the node reports {}, another than this tool",
                theirs.report_hash.to_hex()
            )));
        }
        let (overrides, blocking) = (args.overrides, report.blocking());
        let verdict = Verdict { decision, overrides, report: report.hash(), blocking, reason };
        let event = life.past.review(registry, &args.plugin, args.version, &verdict, &life.who());
        let event = event.map_err(|error| failure(&error))?;
        let said = format!("{} {} is {}", args.plugin, args.version, decision.as_str());
        life.go_on(registry, &event, &said).await
    })
}

fn tell_report(life: &Life<'_>, release: &Release, report: &Report) -> Result<(), Failure> {
    let found =
        |finding: &Finding| Found { rule: finding.rule, about: finding.about.clone(), weight: finding.weight.as_str() };
    let reported = Reported {
        plugin: release.plugin.to_string(),
        version: release.version.to_string(),
        report: report.hash().to_hex(),
        blocking: report.blocking(),
        findings: report.findings().iter().map(found).collect(),
    };
    life.output.result(&reported, || {
        let Reported { plugin, version, report, blocking, findings } = &reported;
        let mut lines = vec![format!("{plugin} {version}  report {report}  {blocking} findings block")];
        lines.extend(findings.iter().map(|Found { rule, about, weight }| format!("  {weight}  {rule}  {about}")));
        lines.join("\n")
    })
}

/// What is wished of a release.
fn wish(args: &WishArgs, life: &NodeLifeArgs, plugin: &PluginId, version: Version) -> Result<Wish, Failure> {
    let limit = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| Failure::usage("a limit is given as NAME=VALUE"))?;
        let value = value.parse().map_err(|_| Failure::usage(format!("the limit {name} is no number")))?;
        Ok((name.to_owned(), value))
    };
    let all = args.grant.is_empty() && !args.grant_nothing;
    Ok(Wish {
        plugin: plugin.clone(),
        version,
        registry: life.registry,
        granted: (!all).then(|| args.grant.iter().cloned().collect()),
        limits: args.limit.iter().map(limit).collect::<Result<BTreeMap<_, _>, Failure>>()?,
        config: args.config.as_deref().map_or_else(|| Ok(Config::empty()), read_config)?,
    })
}

fn read_config(path: &std::path::Path) -> Result<Config, Failure> {
    Config::new(&config(path)?).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

async fn bind(life: Life<'_>, wish: &Wish, installs: bool) -> Result<(), Failure> {
    let event = life.past.bind(life.target(), wish).map_err(|error| failure(&error))?;
    if matches!(event, PluginEvent::Installed(_)) != installs {
        let (is, verb) = if installs { ("runs", "upgrade") } else { ("does not run", "install") };
        let what = format!("{} {is} in this store", wish.plugin);
        return Err(Failure::usage(what).hint(format!("tally plugin {verb} {} {}", wish.plugin, wish.version)));
    }
    let said = format!("{} {} runs in store {}", wish.plugin, wish.version, life.signing.store);
    life.go_on(Stream::control(life.signing.agent.tenant()), &event, &said).await
}

/// `tally plugin install`
pub(super) fn install(args: &InstallArgs) -> Result<(), Failure> {
    let wish = wish(&args.wish, &args.life.at, &args.plugin, args.version)?;
    with(&args.life.at, args.life.json, |life| async move { bind(life, &wish, true).await })
}

/// `tally plugin upgrade`
pub(super) fn upgrade(args: &UpgradeArgs) -> Result<(), Failure> {
    let [plugin, version] = args.what.as_slice() else { return Err(Failure::usage("give the plugin and the version")) };
    let plugin = PluginId::new(plugin)
        .map_err(|error| Failure::usage(error.to_string()).hint("to compare two modules, give --shadow"))?;
    let version = Version::parse(version).map_err(|error| Failure::usage(error.to_string()))?;
    let wish = wish(&args.wish, &args.life, &plugin, version)?;
    with(&args.life, args.json, |life| async move { bind(life, &wish, false).await })
}

/// `tally plugin configure`
pub(super) fn configure(args: &ConfigureArgs) -> Result<(), Failure> {
    let config = read_config(&args.config)?;
    with(&args.life.at, args.life.json, |life| async move {
        let event = life.past.configure(life.target(), &args.plugin, config);
        let said = format!("{} goes on with another configuration", args.plugin);
        life.go_on(Stream::control(life.signing.agent.tenant()), &event, &said).await
    })
}

/// `tally plugin remove`
pub(super) fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    with(&args.life.at, args.life.json, |life| async move {
        let event = life.past.remove(life.target(), &args.plugin, &args.reason);
        let said = format!("{} does not run here any more", args.plugin);
        life.go_on(Stream::control(life.signing.agent.tenant()), &event, &said).await
    })
}

#[derive(Serialize)]
struct Listed {
    releases: Vec<ListedRelease>,
    installed: Vec<ListedBinding>,
}

#[derive(Serialize)]
struct ListedRelease {
    registry: &'static str,
    plugin: String,
    version: String,
    status: &'static str,
    release: String,
    module: String,
}

#[derive(Serialize)]
struct ListedBinding {
    plugin: String,
    version: String,
    quarantined: bool,
    installed_index: u64,
    release: String,
    module: String,
}

/// `tally plugin list`: what the log says, by the signed events themselves.
pub(super) fn list(args: &ListArgs) -> Result<(), Failure> {
    let LifeArgs { at, json } = &args.life;
    with(at, *json, |life| async move {
        let register = life.past.register();
        let registries = [("ledger", Stream::LEDGER), ("tenant", Stream::control(life.signing.agent.tenant()))];
        let releases = registries.iter().flat_map(|(registry, stream)| {
            register.releases(stream).map(|record| ListedRelease {
                registry,
                plugin: record.release().plugin.to_string(),
                version: record.release().version.to_string(),
                status: record.status().as_str(),
                release: record.hash().to_hex(),
                module: record.release().module.to_hex(),
            })
        });
        let installed = register.bindings(&life.target()).into_iter().map(|installed| ListedBinding {
            plugin: installed.binding().plugin.to_string(),
            version: installed.binding().version.to_string(),
            quarantined: installed.is_quarantined(),
            installed_index: installed.installed_index().get(),
            release: installed.binding().release.to_hex(),
            module: installed.binding().module.to_hex(),
        });
        let listed = Listed { releases: releases.collect(), installed: installed.collect() };
        life.output.result(&listed, || listed.to_string())
    })
}

#[derive(Serialize)]
struct Said<'l> {
    index: u64,
    level: &'l str,
    text: &'l str,
}

/// `tally plugin logs`
pub(super) fn logs(args: &LogsArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Agent)?;
    let tenant = args.signer.tenant.or_else(|| profile.as_ref().map(|profile| profile.tenant_id));
    let store = args.signer.store.or_else(|| profile.as_ref().map(|profile| profile.store_id));
    let (Some(tenant), Some(store)) = (tenant, store) else {
        return Err(Failure::usage("name the store: --tenant and --store"));
    };
    let asked = client.plugin_logs(Stream::new(tenant, store), &args.plugin, args.after, args.limit);
    let page = commands::runtime()?.block_on(connect::within(&args.node, asked))?;
    let output = Output::new(args.json);
    for line in &page.lines {
        let said = Said { index: line.index.get(), level: &line.level, text: &line.text };
        output.result(&said, || format!("{:>10}  {:<5}  {}", said.index, said.level, said.text))?;
    }
    Ok(())
}

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "releases: {}", self.releases.len())?;
        for release in &self.releases {
            let ListedRelease { registry, plugin, version, status, release, .. } = release;
            writeln!(f, "  {plugin} {version}  {status}  in the {registry}'s registry  release {release}")?;
        }
        write!(f, "installed in this store: {}", self.installed.len())?;
        for binding in &self.installed {
            let state = if binding.quarantined { "quarantined" } else { "runs" };
            let ListedBinding { plugin, version, installed_index, module, .. } = binding;
            write!(f, "\n  {plugin} {version}  {state}  since log index {installed_index}  module {module}")?;
        }
        Ok(())
    }
}
