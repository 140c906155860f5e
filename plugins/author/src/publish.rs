//! From a package to the signed events of its life: submitted, reviewed, installed, configured, upgraded, removed.
//!
//! Takes what happened so far, as events of the log ([`Past`]), and what shall happen; gives the next [`PluginEvent`], which
//! names the head it goes on from. What the register of the log would refuse is refused here first, in its words.

use std::collections::{BTreeMap, BTreeSet};

use tally_plugin_host::limits::Limits;
use tally_protocol::hash::{LedgerId, ProfileId, ReportHash};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, StoreId, Stream, TenantId};
use tally_protocol::import::{Imported, Template};
use tally_protocol::key::{PublicKey, Signer};
use tally_protocol::plugin_event::{Binding, Config, PLUGIN_PREFIX, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, Installed, Moment, PluginRegister, ReleaseRecord};
use tally_protocol::release::{Decision, Review, Signed, Version, attest};
use tally_protocol::time::LogTime;

use crate::error::AuthorError;
use crate::package::Package;

fn refused(why: impl core::fmt::Display) -> AuthorError {
    AuthorError::Publish(why.to_string())
}

/// Keys of agents, as a node tells them. The log has let their events pass, so they were valid then.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<(TenantId, AgentId, KeyId), PublicKey>);

impl Keys {
    /// Adds a key.
    pub fn add(&mut self, tenant: TenantId, agent: AgentId, key_id: KeyId, key: PublicKey) {
        self.0.insert((tenant, agent, key_id), key);
    }
}

impl Agents for Keys {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, _: LogTime) -> Option<PublicKey> {
        self.0.get(&(stream.tenant, agent, key_id)).copied()
    }

    fn is_root(&self, _: &Stream, _: AgentId) -> bool {
        // What overrides was let pass by the log; what is new is judged by the node.
        true
    }
}

/// An event of a control stream.
#[derive(Debug, Clone)]
pub struct Happened {
    /// Where and when.
    pub at: Moment,
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// The agents whose signatures stand in the plugin events among these: whose keys [`Past::of`] needs.
#[must_use]
pub fn signers(events: &[Happened]) -> BTreeSet<(TenantId, AgentId)> {
    let signer = |happened: &Happened| {
        let event = PluginEvent::decode(&happened.event_type, &happened.payload).ok()?;
        let agent = match event {
            PluginEvent::Submitted(submission) => submission.publisher.agent_id,
            PluginEvent::Reviewed { reviewer, .. } => reviewer.agent_id,
            _ => return None,
        };
        Some((happened.at.stream.tenant, agent))
    };
    events.iter().filter_map(signer).collect()
}

/// What happened to plugins so far.
pub struct Past {
    register: PluginRegister,
    keys: Keys,
    ledger: LedgerId,
}

impl Past {
    /// From the events of the ledger's and the tenant's control streams; they are put in the order of the log.
    ///
    /// # Errors
    /// An event does not follow from those before it: the list is not whole.
    pub fn of(ledger: LedgerId, mut events: Vec<Happened>, keys: Keys) -> Result<Self, AuthorError> {
        events.sort_by_key(|happened| happened.at.index);
        let mut register = PluginRegister::new(ledger);
        for Happened { at, event_type, payload } in &events {
            if !event_type.starts_with(PLUGIN_PREFIX) {
                continue;
            }
            let not = |why: &dyn core::fmt::Display| refused(format!("event {} does not follow: {why}", at.index));
            let event = PluginEvent::decode(event_type, payload).map_err(|error| not(&error))?;
            register.apply(at, &event, &keys).map_err(|error| not(&error))?;
        }
        Ok(Self { register, keys, ledger })
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// The register.
    #[must_use]
    pub const fn register(&self) -> &PluginRegister {
        &self.register
    }

    /// Whether the log would let an event pass now, as far as can be known here. `key`: the one that signed within it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        event: &PluginEvent,
        stream: Stream,
        now: LogTime,
        key: Option<(AgentId, KeyId, PublicKey)>,
    ) -> Result<(), AuthorError> {
        let mut keys = self.keys.clone();
        if let Some((agent, key_id, key)) = key {
            keys.add(stream.tenant, agent, key_id, key);
        }
        let at = Moment { stream, actor: AgentId::NIL, index: Index::new(u64::MAX), now };
        self.register.check(&at, event, &keys).map_err(refused)
    }

    /// A signed package comes into a registry.
    ///
    /// # Errors
    /// It is not signed.
    pub fn submit(&self, registry: Stream, package: &Package) -> Result<PluginEvent, AuthorError> {
        let publisher = package.attestation.ok_or_else(|| refused("the package is not signed"))?;
        Ok(PluginEvent::Submitted(Submission {
            release: package.release.clone(),
            release_hash: package.release.hash(),
            publisher,
            previous: self.register.head(&registry, &package.release.plugin),
        }))
    }

    /// A reviewer decides about a release.
    ///
    /// # Errors
    /// The registry has no such release, or the signer gives no signature.
    pub fn review(
        &self,
        registry: Stream,
        plugin: &PluginId,
        version: Version,
        verdict: &Verdict,
        who: &Who<'_>,
    ) -> Result<PluginEvent, AuthorError> {
        let record = self.release(registry, plugin, version)?;
        let review = Review {
            plugin: plugin.clone(),
            version,
            release: *record.hash(),
            decision: verdict.decision,
            overrides: verdict.overrides,
            report: verdict.report,
            blocking: verdict.blocking,
            reason: verdict.reason.clone(),
            previous: self.register.head(&registry, plugin),
        };
        let reviewer = review.sign(who.agent, who.key_id, who.now, who.signer).map_err(refused)?;
        Ok(PluginEvent::Reviewed { review, reviewer })
    }

    fn release(&self, registry: Stream, plugin: &PluginId, version: Version) -> Result<&ReleaseRecord, AuthorError> {
        let none = || refused(format!("the registry has no {plugin} {version}"));
        self.register.release(&registry, plugin, version).ok_or_else(none)
    }

    /// A release begins to run in a store, or takes the place of the one that does.
    ///
    /// # Errors
    /// There is no such release, something is granted that it does not ask for, or a limit cannot be had.
    pub fn bind(&self, target: Stream, wish: &Wish) -> Result<PluginEvent, AuthorError> {
        let registry = wish.registry.stream(target.tenant);
        let release = self.release(registry, &wish.plugin, wish.version)?.release();
        if let Some(surplus) = wish.granted.iter().flatten().find(|name| !release.permissions.contains(*name)) {
            return Err(refused(format!("{} does not ask for `{surplus}`", wish.plugin)));
        }
        let mut asked = release.limits.clone();
        for (name, value) in &wish.limits {
            match asked.get_mut(name) {
                Some(limit) if value <= limit => *limit = *value,
                Some(limit) => return Err(refused(format!("{name} {value} is more than the {limit} it asks for"))),
                None => return Err(refused(format!("{} does not ask for the limit {name}", wish.plugin))),
            }
        }
        let profile = profile_of(&asked)?;
        let last = self.register.history(&target, &wish.plugin).last();
        let binding = Binding {
            store_id: target.store,
            plugin: wish.plugin.clone(),
            registry: wish.registry,
            version: wish.version,
            release: release.hash(),
            module: release.module,
            profile,
            state_version: release.state_version,
            granted: wish.granted.clone().unwrap_or_else(|| release.permissions.clone()),
            limits: asked,
            config: wish.config.clone(),
            rollback: last.is_some_and(|last| wish.version < last.version),
            previous: self.register.head(&target, &wish.plugin),
        };
        let runs = self.register.installed(&target, &wish.plugin).is_some();
        Ok(if runs { PluginEvent::Upgraded(binding) } else { PluginEvent::Installed(binding) })
    }

    /// A verified template comes into a store: the release that it names begins to run there, as it says.
    ///
    /// # Errors
    /// The registry has not approved exactly this release, or a limit cannot be had.
    pub fn install_template(
        &self,
        target: Stream,
        registry: Registry,
        template: &Imported<Template>,
    ) -> Result<PluginEvent, AuthorError> {
        let profile = profile_of(&template.value().limits)?;
        let binding = template.binding(&self.register, registry, &target, profile);
        binding.map(PluginEvent::Installed).map_err(|error| refused(format!("rule {}: {error}", error.rule())))
    }

    /// What runs goes on with another configuration.
    #[must_use]
    pub fn configure(&self, target: Stream, plugin: &PluginId, config: Config) -> PluginEvent {
        let quarantined = self.register.installed(&target, plugin).is_some_and(Installed::is_quarantined);
        PluginEvent::Configured {
            store_id: target.store,
            plugin: plugin.clone(),
            config,
            resume: quarantined,
            previous: self.register.head(&target, plugin),
        }
    }

    /// It does not run here any more.
    #[must_use]
    pub fn remove(&self, target: Stream, plugin: &PluginId, reason: &str) -> PluginEvent {
        let (store_id, previous): (StoreId, _) = (target.store, self.register.head(&target, plugin));
        PluginEvent::Removed { store_id, plugin: plugin.clone(), reason: reason.to_owned(), previous }
    }
}

/// The profile that this host runs these limits under.
fn profile_of(limits: &BTreeMap<String, u64>) -> Result<ProfileId, AuthorError> {
    let mut of_host = Limits::default();
    for (name, value) in limits {
        of_host.set(name, *value).map_err(|error| refused(format!("limit {name}: {error}")))?;
    }
    Ok(of_host.profile())
}

/// What a reviewer says.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Whether it sets aside what blocks.
    pub overrides: bool,
    /// The report that the reviewer saw.
    pub report: ReportHash,
    /// How many of its findings block.
    pub blocking: u32,
    /// Why.
    pub reason: String,
}

/// What shall run.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The plugin.
    pub plugin: PluginId,
    /// Which version.
    pub version: Version,
    /// Whose approval counts.
    pub registry: Registry,
    /// What it may do; none grants everything that it asks for.
    pub granted: Option<BTreeSet<String>>,
    /// Limits below those that it asks for.
    pub limits: BTreeMap<String, u64>,
    /// Its configuration.
    pub config: Config,
}

/// Who signs within an event.
pub struct Who<'s> {
    /// The agent.
    pub agent: AgentId,
    /// Which of its keys.
    pub key_id: KeyId,
    /// When.
    pub now: LogTime,
    /// The key.
    pub signer: &'s dyn Signer,
}

impl core::fmt::Debug for Who<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Who").field("agent", &self.agent).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Signs a package as its publisher.
///
/// # Errors
/// The signer gives no signature.
pub fn sign(package: &mut Package, who: &Who<'_>) -> Result<Signed, AuthorError> {
    let signed = attest(&package.release.hash(), who.agent, who.key_id, who.now, who.signer).map_err(refused)?;
    package.attestation = Some(signed);
    Ok(signed)
}
