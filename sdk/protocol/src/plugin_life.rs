//! The life of plugins: a deterministic state machine over plugin events, applied in index order.
//!
//! ```text
//! release:  submitted -> pending -> approved | rejected -> revoked        (rejected -> approved by override)
//! binding:  installed -> active <-> quarantined -> removed                (one for a tenant, store and plugin)
//! ```
//! Takes an event, where and when it stands ([`Moment`]), and the agents' keys as they are there ([`Agents`]); gives a
//! refusal, and then nothing has changed, or the changed state. It reads no clock, and everything that ever ran stays
//! in its histories. Whether the event's own signer may write to the control stream is decided before it comes here.
//! An event takes effect at its own index. Every event names the head of the life it goes on from, so of two that
//! were made side by side one is refused.

mod record;

use std::collections::BTreeMap;

use crate::error::{Reject, RejectCode};
use crate::hash::{LedgerId, LifeHash, life_next, life_start};
use crate::id::{AgentId, Index, KeyId, PluginId, Stream};
use crate::key::PublicKey;
use crate::limits::{ATTESTATION_AGE_MAX, ATTESTATION_SKEW, BINDINGS_MAX, RELEASES_MAX};
use crate::plugin_event::{Binding, Config, PluginEvent, Submission};
use crate::release::{Decision, Review, Signed, Version, attestation_holds};
use crate::time::LogTime;

pub use record::{Change, Installed, ReleaseRecord, ReleaseStatus, ReviewRecord, Step};

/// What a revocation adds to the life of a binding that it stops.
const REVOKED: &str = "tally.plugin.reviewed";

/// Why the state does not allow an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifeRefusal {
    /// The event is in a stream where its type does not belong.
    #[error("the event does not belong in this stream")]
    Stream,
    /// The event goes on from another head than the plugin's life has now.
    #[error("the plugin's life has gone on: `previous` is not its head")]
    Previous,
    /// The release hash is not that of the release (S-178).
    #[error("release_hash is not the hash of the release")]
    ReleaseHash,
    /// The agent has no such key that is valid now.
    #[error("the signing key is unknown or not valid now")]
    Key,
    /// The publisher's or reviewer's signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The signature is older than a day.
    #[error("the signature is too old")]
    SignatureOld,
    /// The signature's time lies ahead of the log.
    #[error("the signature's time lies in the future")]
    SignatureAhead,
    /// The version is in the registry already (S-180).
    #[error("this version exists")]
    VersionExists,
    /// The registry holds as many versions of the plugin as it may.
    #[error("the plugin has too many versions")]
    TooManyReleases,
    /// The registry has no such version.
    #[error("no such release in this registry")]
    ReleaseUnknown,
    /// The reviewer is the publisher, by agent or by key (S-181).
    #[error("nobody reviews a release of their own")]
    SelfReview,
    /// The release cannot go from its state to that one (S-182).
    #[error("a release that is {} cannot become {}", .0.as_str(), .1.as_str())]
    Transition(ReleaseStatus, Decision),
    /// The report has findings that block, and the approval does not override them (S-190).
    #[error("the report blocks the approval")]
    Blocked,
    /// Only a root agent overrides.
    #[error("only a root agent may override")]
    OverrideRight,
    /// There is nothing to override.
    #[error("there is nothing to override")]
    OverrideNeedless,
    /// Module, state version or release hash are not the release's.
    #[error("{0} is not the release's")]
    Differs(&'static str),
    /// The release is pending or rejected (S-183).
    #[error("the release is not approved")]
    NotApproved,
    /// The release is revoked (S-176).
    #[error("the release is revoked")]
    Revoked,
    /// More is granted than the manifest asks for (S-187).
    #[error("more is granted than the release asks for")]
    OverGrant,
    /// A limit is missing, unknown to the release, or above what it asks for.
    #[error("limits must be the release's, each at most what it asks for")]
    Limits,
    /// The plugin runs in this store already (S-186).
    #[error("the plugin is installed here")]
    AlreadyInstalled,
    /// As many plugins run in this store as may.
    #[error("too many plugins are installed here")]
    TooManyBindings,
    /// The plugin does not run in this store.
    #[error("the plugin is not installed here")]
    NotInstalled,
    /// The version is what runs.
    #[error("this version is installed here")]
    SameVersion,
    /// The version is below the one that ran last, and this is no rollback (S-176).
    #[error("the version is lower: only a rollback goes back")]
    Downgrade,
    /// The state version would fall, and this is no rollback.
    #[error("the state version is lower: only a rollback goes back")]
    StateVersion,
    /// The release never ran here, or is no step back.
    #[error("a rollback goes back to a release that was installed here")]
    Rollback,
    /// The plugin is quarantined, and the event does not say that it shall resume.
    #[error("the plugin is quarantined")]
    Quarantined,
    /// The plugin is not quarantined.
    #[error("the plugin is not quarantined")]
    NotQuarantined,
}

impl LifeRefusal {
    /// The refusal a client is told.
    #[must_use]
    pub fn reject(&self) -> Reject {
        Reject::of_field(RejectCode::ControlRefused, "payload", self.to_string())
    }
}

/// Where and when an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The control stream.
    pub stream: Stream,
    /// Who signed the event itself.
    pub actor: AgentId,
    /// Its place in the log.
    pub index: Index,
    /// Its log time.
    pub now: LogTime,
}

/// The agents' keys at one position of the log.
pub trait Agents {
    /// The key that an agent of a control stream's tenant signs with, if it is registered and valid at this time.
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey>;

    /// Whether the agent is a root agent of this control stream.
    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool;
}

/// A plugin in a registry: its head and its releases.
#[derive(Debug, Clone)]
struct Shelf {
    head: LifeHash,
    releases: BTreeMap<Version, ReleaseRecord>,
}

/// A plugin in a store: its head, what runs, and everything that ever happened.
#[derive(Debug, Clone)]
struct Place {
    head: LifeHash,
    installed: Option<Installed>,
    history: Vec<Change>,
}

/// Releases and bindings at one position of the log.
#[derive(Debug, Clone)]
pub struct PluginRegister {
    ledger: LedgerId,
    /// By registry.
    shelves: BTreeMap<Stream, BTreeMap<PluginId, Shelf>>,
    /// By store.
    places: BTreeMap<Stream, BTreeMap<PluginId, Place>>,
}

impl PluginRegister {
    /// The register of a ledger that has no plugins.
    #[must_use]
    pub const fn new(ledger: LedgerId) -> Self {
        Self { ledger, shelves: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// The head of a plugin's life in a registry (a control stream) or in a store: what its next event names as
    /// `previous`.
    #[must_use]
    pub fn head(&self, stream: &Stream, plugin: &PluginId) -> LifeHash {
        let head = if stream.is_control() {
            self.shelf(stream, plugin).map(|shelf| shelf.head)
        } else {
            self.place(stream, plugin).map(|place| place.head)
        };
        head.unwrap_or_else(|| life_start(&self.ledger, stream, plugin))
    }

    fn shelf(&self, registry: &Stream, plugin: &PluginId) -> Option<&Shelf> {
        self.shelves.get(registry)?.get(plugin)
    }

    fn place(&self, stream: &Stream, plugin: &PluginId) -> Option<&Place> {
        self.places.get(stream)?.get(plugin)
    }

    fn place_mut(&mut self, stream: &Stream, plugin: &PluginId) -> Option<&mut Place> {
        self.places.get_mut(stream)?.get_mut(plugin)
    }

    /// A release of a registry.
    #[must_use]
    pub fn release(&self, registry: &Stream, plugin: &PluginId, version: Version) -> Option<&ReleaseRecord> {
        self.shelf(registry, plugin)?.releases.get(&version)
    }

    /// Every release of a registry, by plugin and version.
    pub fn releases(&self, registry: &Stream) -> impl Iterator<Item = &ReleaseRecord> {
        let shelves = self.shelves.get(registry).into_iter().flat_map(BTreeMap::values);
        shelves.flat_map(|shelf| shelf.releases.values())
    }

    /// A plugin that is installed in a store.
    #[must_use]
    pub fn installed(&self, stream: &Stream, plugin: &PluginId) -> Option<&Installed> {
        self.place(stream, plugin)?.installed.as_ref()
    }

    /// Every plugin that is installed in a store, in install order.
    #[must_use]
    pub fn bindings(&self, stream: &Stream) -> Vec<&Installed> {
        let places = self.places.get(stream).into_iter().flat_map(BTreeMap::values);
        let mut bindings: Vec<_> = places.filter_map(|place| place.installed.as_ref()).collect();
        bindings.sort_by_key(|installed| installed.installed_index);
        bindings
    }

    /// Whether a plugin that runs in a store, and is not stopped there, was granted a permission.
    #[must_use]
    pub fn is_granted(&self, stream: &Stream, permission: &str) -> bool {
        let mut places = self.places.get(stream).into_iter().flat_map(BTreeMap::values);
        places.any(|place| {
            let runs = place.installed.as_ref().filter(|installed| !installed.quarantined);
            runs.is_some_and(|installed| installed.binding.granted.contains(permission))
        })
    }

    /// Everything that happened to a plugin in a store, oldest first.
    #[must_use]
    pub fn history(&self, stream: &Stream, plugin: &PluginId) -> &[Change] {
        self.place(stream, plugin).map_or(&[], |place| &place.history)
    }

    /// Whether the state allows an event.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, at: &Moment, event: &PluginEvent, agents: &dyn Agents) -> Result<(), LifeRefusal> {
        self.judge(at, event, agents).map(|_| ())
    }

    /// Applies an event at its place, if the state allows it.
    ///
    /// # Errors
    /// Why not; nothing was changed.
    pub fn apply(&mut self, at: &Moment, event: &PluginEvent, agents: &dyn Agents) -> Result<(), LifeRefusal> {
        let signer = self.judge(at, event, agents)?;
        let target = event.store_id().map_or(at.stream, |store| Stream::new(at.stream.tenant, store));
        let head = life_next(event.previous(), event.event_type(), &event.payload());
        match event {
            PluginEvent::Submitted(submission) => self.add_release(at, submission, signer, head),
            PluginEvent::Reviewed { review, reviewer } => self.add_review(at, review, reviewer, head),
            PluginEvent::Installed(binding) => self.bind(&target, at, binding, Step::Installed, head),
            PluginEvent::Upgraded(binding) => self.bind(&target, at, binding, Step::Upgraded, head),
            PluginEvent::Configured { plugin, config, .. } => self.configure(&target, plugin, at, config, head),
            PluginEvent::Quarantined { plugin, .. } => self.stop(&target, plugin, at, Step::Quarantined, head),
            PluginEvent::Removed { plugin, .. } => self.stop(&target, plugin, at, Step::Removed, head),
        }
        Ok(())
    }

    /// The refusal of an event, or the key that its inner signature was verified with, if it has one.
    fn judge(&self, at: &Moment, event: &PluginEvent, agents: &dyn Agents) -> Result<Option<PublicKey>, LifeRefusal> {
        if !event.belongs_in(&at.stream) {
            return Err(LifeRefusal::Stream);
        }
        let key = match event {
            PluginEvent::Submitted(submission) => Some(self.judge_submission(at, submission, agents)?),
            PluginEvent::Reviewed { review, reviewer } => Some(self.judge_review(at, review, reviewer, agents)?),
            PluginEvent::Installed(binding) => self.judge_install(at, binding).map(|()| None)?,
            PluginEvent::Upgraded(binding) => self.judge_upgrade(at, binding).map(|()| None)?,
            PluginEvent::Configured { plugin, store_id, resume, .. } => {
                let installed = self.running(&Stream::new(at.stream.tenant, *store_id), plugin)?;
                match (installed.quarantined, resume) {
                    (true, false) => return Err(LifeRefusal::Quarantined),
                    (false, true) => return Err(LifeRefusal::NotQuarantined),
                    _ => self.approved(at, &installed.binding).map(|_| None)?,
                }
            }
            PluginEvent::Quarantined { plugin, store_id, .. } => {
                let installed = self.running(&Stream::new(at.stream.tenant, *store_id), plugin)?;
                if installed.quarantined {
                    return Err(LifeRefusal::Quarantined);
                }
                None
            }
            PluginEvent::Removed { plugin, store_id, .. } => {
                self.running(&Stream::new(at.stream.tenant, *store_id), plugin).map(|_| None)?
            }
        };
        let target = event.store_id().map_or(at.stream, |store| Stream::new(at.stream.tenant, store));
        // Last, so that a race is told what it lost against.
        if *event.previous() == self.head(&target, event.plugin()) { Ok(key) } else { Err(LifeRefusal::Previous) }
    }

    fn judge_submission(
        &self,
        at: &Moment,
        submission: &Submission,
        agents: &dyn Agents,
    ) -> Result<PublicKey, LifeRefusal> {
        let (release, publisher) = (&submission.release, &submission.publisher);
        if release.hash() != submission.release_hash {
            return Err(LifeRefusal::ReleaseHash);
        }
        if let Some(shelf) = self.shelf(&at.stream, &release.plugin) {
            if shelf.releases.contains_key(&release.version) {
                return Err(LifeRefusal::VersionExists);
            }
            if shelf.releases.len() >= RELEASES_MAX {
                return Err(LifeRefusal::TooManyReleases);
            }
        }
        let key = signing_key(at, publisher, agents)?;
        if !attestation_holds(&submission.release_hash, publisher, &key) {
            return Err(LifeRefusal::Signature);
        }
        Ok(key)
    }

    fn judge_review(
        &self,
        at: &Moment,
        review: &Review,
        reviewer: &Signed,
        agents: &dyn Agents,
    ) -> Result<PublicKey, LifeRefusal> {
        let record = self.release(&at.stream, &review.plugin, review.version).ok_or(LifeRefusal::ReleaseUnknown)?;
        if record.hash != review.release {
            return Err(LifeRefusal::ReleaseHash);
        }
        if record.status.after(review.decision, review.overrides).is_none() {
            return Err(LifeRefusal::Transition(record.status, review.decision));
        }
        let blocked =
            review.decision == Decision::Approved && (review.blocking > 0 || record.status == ReleaseStatus::Rejected);
        match (blocked, review.overrides) {
            (true, false) => return Err(LifeRefusal::Blocked),
            (false, true) => return Err(LifeRefusal::OverrideNeedless),
            _ => {}
        }
        if review.overrides && !agents.is_root(&at.stream, reviewer.agent_id) {
            return Err(LifeRefusal::OverrideRight);
        }
        let key = signing_key(at, reviewer, agents)?;
        // By key too: one key under two agents is one person.
        if reviewer.agent_id == record.publisher.agent_id || key == record.publisher_key {
            return Err(LifeRefusal::SelfReview);
        }
        if review.signature_holds(reviewer, &key) { Ok(key) } else { Err(LifeRefusal::Signature) }
    }

    /// The release that a binding names, if it may run as the binding says.
    fn approved(&self, at: &Moment, binding: &Binding) -> Result<&ReleaseRecord, LifeRefusal> {
        let registry = binding.registry.stream(at.stream.tenant);
        let record = self.release(&registry, &binding.plugin, binding.version).ok_or(LifeRefusal::ReleaseUnknown)?;
        let same = |holds: bool, name: &'static str| if holds { Ok(()) } else { Err(LifeRefusal::Differs(name)) };
        same(record.hash == binding.release, "release_hash")?;
        same(record.release.module == binding.module, "module_hash")?;
        same(record.release.state_version == binding.state_version, "state_version")?;
        match record.status {
            ReleaseStatus::Approved => {}
            ReleaseStatus::Revoked => return Err(LifeRefusal::Revoked),
            ReleaseStatus::Pending | ReleaseStatus::Rejected => return Err(LifeRefusal::NotApproved),
        }
        if !binding.granted.is_subset(&record.release.permissions) {
            return Err(LifeRefusal::OverGrant);
        }
        let wished = &record.release.limits;
        let within = binding.limits.iter().zip(wished).all(|(own, wish)| own.0 == wish.0 && own.1 <= wish.1);
        if within && binding.limits.len() == wished.len() { Ok(record) } else { Err(LifeRefusal::Limits) }
    }

    fn judge_install(&self, at: &Moment, binding: &Binding) -> Result<(), LifeRefusal> {
        self.approved(at, binding)?;
        let target = Stream::new(at.stream.tenant, binding.store_id);
        if self.installed(&target, &binding.plugin).is_some() {
            return Err(LifeRefusal::AlreadyInstalled);
        }
        if self.bindings(&target).len() >= BINDINGS_MAX {
            return Err(LifeRefusal::TooManyBindings);
        }
        let history = self.history(&target, &binding.plugin);
        match history.last() {
            Some(last) if binding.version < last.version => check_rollback(history, binding),
            _ if binding.rollback => Err(LifeRefusal::Rollback),
            _ => Ok(()),
        }
    }

    fn judge_upgrade(&self, at: &Moment, binding: &Binding) -> Result<(), LifeRefusal> {
        let target = Stream::new(at.stream.tenant, binding.store_id);
        let current = &self.running(&target, &binding.plugin)?.binding;
        self.approved(at, binding)?;
        if binding.version == current.version {
            return Err(LifeRefusal::SameVersion);
        }
        if binding.version < current.version {
            return check_rollback(self.history(&target, &binding.plugin), binding);
        }
        if binding.rollback {
            return Err(LifeRefusal::Rollback);
        }
        if binding.state_version < current.state_version { Err(LifeRefusal::StateVersion) } else { Ok(()) }
    }

    fn running(&self, target: &Stream, plugin: &PluginId) -> Result<&Installed, LifeRefusal> {
        self.installed(target, plugin).ok_or(LifeRefusal::NotInstalled)
    }

    fn add_release(&mut self, at: &Moment, submission: &Submission, signer: Option<PublicKey>, head: LifeHash) {
        let Some(publisher_key) = signer else { return };
        let shelves = self.shelves.entry(at.stream).or_default();
        let shelf = shelves.entry(submission.release.plugin.clone());
        let shelf = shelf.or_insert_with(|| Shelf { head, releases: BTreeMap::new() });
        shelf.head = head;
        shelf.releases.insert(
            submission.release.version,
            ReleaseRecord {
                release: submission.release.clone(),
                hash: submission.release_hash,
                publisher: submission.publisher,
                publisher_key,
                submitted_index: at.index,
                status: ReleaseStatus::Pending,
                reviews: Vec::new(),
            },
        );
    }

    fn add_review(&mut self, at: &Moment, review: &Review, reviewer: &Signed, head: LifeHash) {
        let shelves = self.shelves.get_mut(&at.stream);
        let Some(shelf) = shelves.and_then(|shelves| shelves.get_mut(&review.plugin)) else { return };
        shelf.head = head;
        let Some(record) = shelf.releases.get_mut(&review.version) else { return };
        let Some(status) = record.status.after(review.decision, review.overrides) else { return };
        record.status = status;
        record.reviews.push(ReviewRecord {
            index: at.index,
            at: at.now,
            reviewer: reviewer.agent_id,
            decision: review.decision,
            overrides: review.overrides,
            report: review.report,
            blocking: review.blocking,
            reason: review.reason.clone(),
        });
        if status == ReleaseStatus::Revoked {
            self.revoke(at, review, &head);
        }
    }

    /// Stops every binding of a revoked release, at the revocation's index. The review becomes part of their lives, so
    /// that an event made before it is refused.
    fn revoke(&mut self, at: &Moment, review: &Review, cause: &LifeHash) {
        for (target, places) in &mut self.places {
            let Some(place) = places.get_mut(&review.plugin) else { continue };
            let Some(installed) = &mut place.installed else { continue };
            let registry = installed.binding.registry.stream(target.tenant);
            if registry != at.stream || installed.binding.release != review.release {
                continue;
            }
            place.head = life_next(&place.head, REVOKED, cause.as_bytes());
            installed.quarantined = true;
            installed.changed_index = at.index;
            place.history.push(change(at, Step::Revoked, &installed.binding));
        }
    }

    fn bind(&mut self, target: &Stream, at: &Moment, binding: &Binding, step: Step, head: LifeHash) {
        let place = self.places.entry(*target).or_default().entry(binding.plugin.clone());
        let place = place.or_insert_with(|| Place { head, installed: None, history: Vec::new() });
        place.head = head;
        let step = if binding.rollback { Step::RolledBack } else { step };
        place.history.push(change(at, step, binding));
        let (installed_index, installed_by) = match &place.installed {
            Some(before) => (before.installed_index, before.installed_by),
            None => (at.index, at.actor),
        };
        place.installed = Some(Installed {
            binding: binding.clone(),
            quarantined: false,
            installed_index,
            installed_by,
            changed_index: at.index,
        });
    }

    fn configure(&mut self, target: &Stream, plugin: &PluginId, at: &Moment, config: &Config, head: LifeHash) {
        let Some(place) = self.place_mut(target, plugin) else { return };
        let Some(installed) = &mut place.installed else { return };
        place.head = head;
        installed.binding.config = config.clone();
        installed.quarantined = false;
        installed.changed_index = at.index;
        place.history.push(change(at, Step::Configured, &installed.binding));
    }

    fn stop(&mut self, target: &Stream, plugin: &PluginId, at: &Moment, step: Step, head: LifeHash) {
        let Some(place) = self.place_mut(target, plugin) else { return };
        let Some(installed) = &mut place.installed else { return };
        place.head = head;
        installed.quarantined = true;
        installed.changed_index = at.index;
        place.history.push(change(at, step, &installed.binding));
        if step == Step::Removed {
            place.installed = None;
        }
    }
}

/// The valid key of a signature that is neither too old nor ahead of the log (S-179).
fn signing_key(at: &Moment, signed: &Signed, agents: &dyn Agents) -> Result<PublicKey, LifeRefusal> {
    if signed.signed_at > at.now.saturating_add(ATTESTATION_SKEW) {
        return Err(LifeRefusal::SignatureAhead);
    }
    if at.now > signed.signed_at.saturating_add(ATTESTATION_AGE_MAX) {
        return Err(LifeRefusal::SignatureOld);
    }
    agents.valid_key(&at.stream, signed.agent_id, signed.key_id, at.now).ok_or(LifeRefusal::Key)
}

/// A lower version comes back only as a rollback to a release that ran here.
fn check_rollback(history: &[Change], binding: &Binding) -> Result<(), LifeRefusal> {
    if !binding.rollback {
        return Err(LifeRefusal::Downgrade);
    }
    let ran = history.iter().any(|change| change.release == binding.release);
    if ran { Ok(()) } else { Err(LifeRefusal::Rollback) }
}

const fn change(at: &Moment, step: Step, binding: &Binding) -> Change {
    Change {
        index: at.index,
        at: at.now,
        actor: at.actor,
        step,
        version: binding.version,
        release: binding.release,
        module: binding.module,
    }
}
