//! Laws of the life of plugins: what the register allows, what it refuses, and that it is a function of the log.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tally_protocol::hash::{self, LedgerId, LifeHash, ManifestHash, ModuleHash, ProfileId, ReportHash, SchemaHash};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, StoreId, Stream, TenantId};
use tally_protocol::key::{PublicKey, Signature, SigningKey};
use tally_protocol::limits::{ATTESTATION_AGE_MAX, ATTESTATION_SKEW, BINDINGS_MAX};
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, LifeRefusal, Moment, PluginRegister, ReleaseStatus, Step};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Signed, Version, attest};
use tally_protocol::time::LogTime;

const ROOT: u8 = 1;
const PUBLISHER: u8 = 2;
const REVIEWER: u8 = 3;
/// Another agent, with the publisher's key.
const TWIN: u8 = 4;
/// An agent without a key.
const STRANGER: u8 = 9;

const NOW: LogTime = LogTime::from_micros(1_735_689_600_000_000);

fn agent(number: u8) -> AgentId {
    AgentId::from_bytes([number; 16])
}

fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

fn store(number: u8) -> StoreId {
    StoreId::from_bytes([number; 16])
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([if number == TWIN { PUBLISHER } else { number }; 32])
}

fn plugin(name: &str) -> PluginId {
    PluginId::new(name).unwrap()
}

/// Every agent but the stranger has a key 1 in every stream; the root agent is root in all of them.
struct Known;

impl Agents for Known {
    fn valid_key(&self, _: &Stream, agent_id: AgentId, key_id: KeyId, _: LogTime) -> Option<PublicKey> {
        let number = (1..=TWIN).find(|number| agent(*number) == agent_id)?;
        (key_id.get() == 1).then(|| key(number).public_key())
    }

    fn is_root(&self, _: &Stream, agent_id: AgentId) -> bool {
        agent_id == agent(ROOT)
    }
}

fn release(name: &str, version: Version) -> Release {
    let seed = format!("{name} {version}");
    Release {
        plugin: plugin(name),
        version,
        module: hash::module(seed.as_bytes()),
        manifest: hash::manifest(seed.as_bytes()),
        abi: 1,
        state_version: version.major,
        permissions: ["emit:order.paid", "kv"].map(str::to_owned).into(),
        limits: [("gas".to_owned(), 1000), ("memory_bytes".to_owned(), 1 << 20)].into(),
        price: Price { amount: 5, currency: *b"EUR", per: PricePer::Month },
        schemas: [("order.paid".to_owned(), hash::schema(b"{}"))].into(),
    }
}

/// A register, its place in the log, and shorthands for honest events.
#[derive(Clone)]
struct World {
    register: PluginRegister,
    index: u64,
    now: LogTime,
}

const V1: Version = Version::new(1, 0, 0);
const V1_1: Version = Version::new(1, 1, 0);
const V2: Version = Version::new(2, 0, 0);

fn own() -> Stream {
    Stream::control(tenant(1))
}

impl World {
    fn new() -> Self {
        Self { register: PluginRegister::new(LedgerId::from_bytes([7; 32])), index: 0, now: NOW }
    }

    fn moment(&self, stream: Stream) -> Moment {
        Moment { stream, actor: agent(ROOT), index: Index::new(self.index), now: self.now }
    }

    /// Applies an event at the next index, and sees that a refusal changes nothing.
    fn apply(&mut self, stream: Stream, event: &PluginEvent) -> Result<(), LifeRefusal> {
        self.index += 1;
        let at = self.moment(stream);
        // What the log holds is the payload.
        let event = PluginEvent::decode(event.event_type(), &event.payload()).unwrap();
        let (before, checked) = (format!("{:?}", self.register), self.register.check(&at, &event, &Known));
        let applied = self.register.apply(&at, &event, &Known);
        assert_eq!(checked, applied);
        assert_eq!(applied.is_err(), before == format!("{:?}", self.register));
        applied
    }

    fn submission(&self, stream: Stream, release: Release) -> PluginEvent {
        let release_hash = release.hash();
        let publisher = attest(&release_hash, agent(PUBLISHER), KeyId::new(1), self.now, &key(PUBLISHER)).unwrap();
        let previous = self.register.head(&stream, &release.plugin);
        PluginEvent::Submitted(Submission { release, release_hash, publisher, previous })
    }

    fn review(&self, stream: Stream, release: &Release, decision: Decision) -> Review {
        Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release.hash(),
            decision,
            overrides: false,
            report: ReportHash::from_bytes([4; 32]),
            blocking: 0,
            reason: "read it".to_owned(),
            previous: self.register.head(&stream, &release.plugin),
        }
    }

    fn signed(&self, review: Review, by: u8) -> PluginEvent {
        let reviewer = review.sign(agent(by), KeyId::new(1), self.now, &key(by)).unwrap();
        PluginEvent::Reviewed { review, reviewer }
    }

    fn binding(&self, release: &Release) -> Binding {
        Binding {
            store_id: store(1),
            plugin: release.plugin.clone(),
            registry: Registry::Tenant,
            version: release.version,
            release: release.hash(),
            module: release.module,
            profile: ProfileId::from_bytes([5; 32]),
            state_version: release.state_version,
            granted: ["kv".to_owned()].into(),
            limits: release.limits.clone(),
            config: Config::empty(),
            rollback: false,
            previous: self.register.head(&target(), &release.plugin),
        }
    }

    fn approve(&mut self, stream: Stream, release: &Release) {
        self.apply(stream, &self.submission(stream, release.clone())).unwrap();
        self.apply(stream, &self.signed(self.review(stream, release, Decision::Approved), REVIEWER)).unwrap();
    }

    fn configured(&self, resume: bool) -> PluginEvent {
        let previous = self.register.head(&target(), &plugin("a"));
        let config = Config::new(b"{\"a\":1}").unwrap();
        PluginEvent::Configured { store_id: store(1), plugin: plugin("a"), config, resume, previous }
    }

    fn quarantined(&self) -> PluginEvent {
        let previous = self.register.head(&target(), &plugin("a"));
        PluginEvent::Quarantined { store_id: store(1), plugin: plugin("a"), reason: "slow".to_owned(), previous }
    }

    fn removed(&self) -> PluginEvent {
        let previous = self.register.head(&target(), &plugin("a"));
        PluginEvent::Removed { store_id: store(1), plugin: plugin("a"), reason: "old".to_owned(), previous }
    }

    fn status(&self, release: &Release) -> ReleaseStatus {
        self.register.release(&own(), &release.plugin, release.version).unwrap().status()
    }
}

fn target() -> Stream {
    Stream::new(tenant(1), store(1))
}

/// A world in which three versions of a plugin are approved in the tenant's registry.
fn approved() -> World {
    let mut world = World::new();
    for version in [V1, V1_1, V2] {
        world.approve(own(), &release("a", version));
    }
    world
}

fn reviewed_as(status: ReleaseStatus) -> World {
    let (mut world, release) = (World::new(), release("a", V1));
    world.apply(own(), &world.submission(own(), release.clone())).unwrap();
    let decisions: &[Decision] = match status {
        ReleaseStatus::Pending => &[],
        ReleaseStatus::Approved => &[Decision::Approved],
        ReleaseStatus::Rejected => &[Decision::Rejected],
        ReleaseStatus::Revoked => &[Decision::Approved, Decision::Revoked],
    };
    for decision in decisions {
        world.apply(own(), &world.signed(world.review(own(), &release, *decision), REVIEWER)).unwrap();
    }
    assert_eq!(world.status(&release), status);
    world
}

/// A change of a binding, with what it is called.
fn changed_binding(world: &World, release: &Release, change: impl FnOnce(&mut Binding)) -> Binding {
    let mut binding = world.binding(release);
    change(&mut binding);
    binding
}

#[test]
fn a_plugin_lives_from_submission_to_removal_and_every_step_stays_in_its_history() {
    let mut world = approved();
    let (one, two) = (release("a", V1), release("a", V2));
    world.apply(own(), &PluginEvent::Installed(world.binding(&one))).unwrap();
    let installed_at = Index::new(world.index);
    world.apply(own(), &world.configured(false)).unwrap();
    world.apply(own(), &PluginEvent::Upgraded(world.binding(&two))).unwrap();
    world.apply(own(), &world.quarantined()).unwrap();
    assert!(world.register.installed(&target(), &plugin("a")).unwrap().is_quarantined());
    world.apply(own(), &world.configured(true)).unwrap();
    let back = changed_binding(&world, &one, |binding| binding.rollback = true);
    world.apply(own(), &PluginEvent::Upgraded(back)).unwrap();
    let installed = world.register.installed(&target(), &plugin("a")).unwrap();
    assert_eq!((installed.installed_index(), installed.installed_by()), (installed_at, agent(ROOT)));
    assert_eq!(installed.changed_index(), Index::new(world.index));
    assert_eq!(installed.binding().version, V1);
    world.apply(own(), &world.removed()).unwrap();
    assert!(world.register.installed(&target(), &plugin("a")).is_none());
    let history = world.register.history(&target(), &plugin("a"));
    let steps: Vec<_> = history.iter().map(|change| (change.step, change.version)).collect();
    use Step::{Configured, Installed, Quarantined, Removed, RolledBack, Upgraded};
    let expected = [
        (Installed, V1),
        (Configured, V1),
        (Upgraded, V2),
        (Quarantined, V2),
        (Configured, V2),
        (RolledBack, V1),
        (Removed, V1),
    ];
    assert_eq!(steps, expected);
    assert!(history.windows(2).all(|pair| pair[0].index < pair[1].index));
    assert!(history.iter().all(|change| change.actor == agent(ROOT) && change.at == NOW));
}

#[test]
fn the_same_version_twice_is_refused_also_in_a_race() {
    let (mut world, first) = (World::new(), release("a", V1));
    let mut second = first.clone();
    second.price.amount += 1;
    // Both made before either was applied.
    let (left, right) = (world.submission(own(), first.clone()), world.submission(own(), second));
    world.apply(own(), &left).unwrap();
    for again in [left, right, world.submission(own(), first.clone())] {
        assert_eq!(world.apply(own(), &again), Err(LifeRefusal::VersionExists));
    }
    // Also after it was rejected.
    world.apply(own(), &world.signed(world.review(own(), &first, Decision::Rejected), REVIEWER)).unwrap();
    let again = world.submission(own(), first.clone());
    assert_eq!(world.apply(own(), &again), Err(LifeRefusal::VersionExists));
    // Another registry is another place.
    world.apply(Stream::LEDGER, &world.submission(Stream::LEDGER, first)).unwrap();
}

#[test]
fn two_events_made_side_by_side_are_never_both_applied() {
    let mut world = approved();
    let (left, right) = (world.binding(&release("a", V1)), world.binding(&release("a", V2)));
    world.apply(own(), &PluginEvent::Installed(left)).unwrap();
    assert_eq!(world.apply(own(), &PluginEvent::Installed(right)), Err(LifeRefusal::AlreadyInstalled));
    let (left, right) = (world.binding(&release("a", V1_1)), world.binding(&release("a", V2)));
    world.apply(own(), &PluginEvent::Upgraded(left)).unwrap();
    assert_eq!(world.apply(own(), &PluginEvent::Upgraded(right)), Err(LifeRefusal::Previous));
    let (left, right) = (world.submission(own(), release("b", V1)), world.submission(own(), release("b", V2)));
    world.apply(own(), &left).unwrap();
    assert_eq!(world.apply(own(), &right), Err(LifeRefusal::Previous));
}

#[test]
fn nobody_reviews_a_release_of_their_own_by_agent_or_by_key() {
    for decision in Decision::ALL {
        let (mut world, release) = (reviewed_as(ReleaseStatus::Pending), release("a", V1));
        if decision == Decision::Revoked {
            world.apply(own(), &world.signed(world.review(own(), &release, Decision::Rejected), REVIEWER)).unwrap();
        }
        for by in [PUBLISHER, TWIN] {
            let event = world.signed(world.review(own(), &release, decision), by);
            assert_eq!(world.apply(own(), &event), Err(LifeRefusal::SelfReview), "{decision:?} by {by}");
        }
        world.apply(own(), &world.signed(world.review(own(), &release, decision), REVIEWER)).unwrap();
    }
}

#[test]
fn a_review_is_a_step_of_the_state_machine_and_nothing_else_is() {
    use ReleaseStatus::{Approved, Pending, Rejected, Revoked};
    // From, decision, override; to.
    let steps = BTreeMap::from([
        ((Pending, Decision::Approved, false), Approved),
        ((Pending, Decision::Rejected, false), Rejected),
        ((Approved, Decision::Revoked, false), Revoked),
        ((Rejected, Decision::Revoked, false), Revoked),
        ((Rejected, Decision::Approved, true), Approved),
    ]);
    for from in ReleaseStatus::ALL {
        for decision in Decision::ALL {
            for overrides in [false, true] {
                let (mut world, release) = (reviewed_as(from), release("a", V1));
                let mut review = world.review(own(), &release, decision);
                review.overrides = overrides;
                let applied = world.apply(own(), &world.signed(review, if overrides { ROOT } else { REVIEWER }));
                match steps.get(&(from, decision, overrides)) {
                    Some(to) => {
                        assert_eq!(applied, Ok(()), "{from:?} {decision:?} {overrides}");
                        assert_eq!(world.status(&release), *to);
                        let record = world.register.release(&own(), &plugin("a"), V1).unwrap();
                        assert_eq!(record.reviews().last().unwrap().overrides, overrides);
                    }
                    None => {
                        assert!(applied.is_err(), "{from:?} {decision:?} {overrides}");
                        assert_eq!(world.status(&release), from);
                    }
                }
            }
        }
    }
}

#[test]
fn only_a_root_agent_overrides_what_blocks_and_it_is_marked() {
    let (mut world, release) = (reviewed_as(ReleaseStatus::Pending), release("a", V1));
    let blocked = |world: &World, overrides: bool| Review {
        blocking: 2,
        overrides,
        ..world.review(own(), &release, Decision::Approved)
    };
    let event = world.signed(blocked(&world, false), REVIEWER);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Blocked));
    let event = world.signed(blocked(&world, false), ROOT);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Blocked));
    let event = world.signed(blocked(&world, true), REVIEWER);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::OverrideRight));
    let mut needless = world.review(own(), &release, Decision::Approved);
    needless.overrides = true;
    assert_eq!(world.apply(own(), &world.signed(needless, ROOT)), Err(LifeRefusal::OverrideNeedless));
    world.apply(own(), &world.signed(blocked(&world, true), ROOT)).unwrap();
    let record = world.register.release(&own(), &plugin("a"), V1).unwrap();
    let last = record.reviews().last().unwrap();
    assert!(last.overrides && last.blocking == 2 && last.reviewer == agent(ROOT));
    // A finding does not keep anybody from rejecting or revoking.
    let revoke = Review { blocking: 2, ..world.review(own(), &release, Decision::Revoked) };
    world.apply(own(), &world.signed(revoke, REVIEWER)).unwrap();
}

#[test]
fn a_signature_counts_for_a_day_and_not_before_its_time() {
    for (signed_at, expected) in [
        (NOW, Ok(())),
        (NOW.saturating_add(ATTESTATION_SKEW), Ok(())),
        (LogTime::from_micros(NOW.saturating_add(ATTESTATION_SKEW).micros() + 1), Err(LifeRefusal::SignatureAhead)),
        (LogTime::from_micros(NOW.micros() - ATTESTATION_AGE_MAX.as_micros() as u64), Ok(())),
        (
            LogTime::from_micros(NOW.micros() - ATTESTATION_AGE_MAX.as_micros() as u64 - 1),
            Err(LifeRefusal::SignatureOld),
        ),
        (LogTime::EPOCH, Err(LifeRefusal::SignatureOld)),
        (LogTime::MAX, Err(LifeRefusal::SignatureAhead)),
    ] {
        let mut world = World::new();
        world.now = signed_at;
        let submission = world.submission(own(), release("a", V1));
        world.now = NOW;
        assert_eq!(world.apply(own(), &submission), expected, "{signed_at:?}");
        let mut world = reviewed_as(ReleaseStatus::Pending);
        world.now = signed_at;
        let review = world.signed(world.review(own(), &release("a", V1), Decision::Approved), REVIEWER);
        world.now = NOW;
        assert_eq!(world.apply(own(), &review), expected, "{signed_at:?}");
    }
}

#[test]
fn a_submission_needs_its_own_hash_and_a_known_key() {
    let mut world = World::new();
    let PluginEvent::Submitted(good) = world.submission(own(), release("a", V1)) else { unreachable!() };
    let with = |change: &dyn Fn(&mut Submission)| {
        let mut changed = good.clone();
        change(&mut changed);
        PluginEvent::Submitted(changed)
    };
    let hash = with(&|submission| submission.release_hash = release("a", V2).hash());
    assert_eq!(world.apply(own(), &hash), Err(LifeRefusal::ReleaseHash));
    let stranger = with(&|submission| submission.publisher.agent_id = agent(STRANGER));
    assert_eq!(world.apply(own(), &stranger), Err(LifeRefusal::Key));
    let no_key = with(&|submission| submission.publisher.key_id = KeyId::new(2));
    assert_eq!(world.apply(own(), &no_key), Err(LifeRefusal::Key));
    let other = with(&|submission| submission.publisher.agent_id = agent(REVIEWER));
    assert_eq!(world.apply(own(), &other), Err(LifeRefusal::Signature));
    // The same key, and still another agent.
    let twin = with(&|submission| submission.publisher.agent_id = agent(TWIN));
    assert_eq!(world.apply(own(), &twin), Err(LifeRefusal::Signature));
    let unsigned = with(&|submission| submission.publisher.signature = Signature::from_bytes([0; 64]));
    assert_eq!(world.apply(own(), &unsigned), Err(LifeRefusal::Signature));
    for bit in [0, 7, 100, 255, 256, 300, 511] {
        let mut signature = *good.publisher.signature.as_bytes();
        signature[bit / 8] ^= 1 << (bit % 8);
        let flipped = with(&|submission| submission.publisher.signature = Signature::from_bytes(signature));
        assert_eq!(world.apply(own(), &flipped), Err(LifeRefusal::Signature));
    }
    world.apply(own(), &PluginEvent::Submitted(good)).unwrap();
}

/// A release with one part after the other changed.
fn one_part_each(base: &Release) -> Vec<Release> {
    let with = |change: &dyn Fn(&mut Release)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    vec![
        with(&|r| r.plugin = plugin("b")),
        with(&|r| r.version.major += 1),
        with(&|r| r.version.minor += 1),
        with(&|r| r.version.patch += 1),
        with(&|r| r.module = ModuleHash::from_bytes([9; 32])),
        with(&|r| r.manifest = ManifestHash::from_bytes([9; 32])),
        with(&|r| r.abi += 1),
        with(&|r| r.state_version += 1),
        with(&|r| r.permissions = set(&["effect:payment", "emit:order.paid", "kv"])),
        with(&|r| r.permissions = set(&["kv"])),
        with(&|r| r.permissions = set(&["emit:order.paid:kv"])),
        with(&|r| r.permissions = set(&["emit", "kv", "order.paid"])),
        with(&|r| r.permissions = set(&["emit:order.paid,kv"])),
        with(&|r| r.limits = [("gas".to_owned(), 1001), ("memory_bytes".to_owned(), 1 << 20)].into()),
        with(&|r| r.limits = [("gas".to_owned(), 1000)].into()),
        with(&|r| r.limits = [("gas".to_owned(), 1 << 20), ("memory_bytes".to_owned(), 1000)].into()),
        with(&|r| r.price.amount = 0),
        with(&|r| r.price.currency = *b"USD"),
        with(&|r| r.price.per = PricePer::Install),
        with(&|r| r.schemas = BTreeMap::new()),
        with(&|r| r.schemas = [("order.paid".to_owned(), SchemaHash::from_bytes([9; 32]))].into()),
        with(&|r| r.schemas = [("order.paid:".to_owned(), hash::schema(b"{}"))].into()),
    ]
}

#[test]
fn every_changed_part_of_a_release_breaks_both_signatures() {
    let base = release("a", V1);
    let mut hashes = BTreeSet::from([base.hash()]);
    for changed in one_part_each(&base) {
        assert!(hashes.insert(changed.hash()), "{changed:?}");
        let mut world = World::new();
        let PluginEvent::Submitted(mut forged) = world.submission(own(), base.clone()) else { unreachable!() };
        forged.release = changed.clone();
        forged.previous = world.register.head(&own(), &changed.plugin);
        // The forger leaves the hash, or writes the right one.
        assert_eq!(world.apply(own(), &PluginEvent::Submitted(forged.clone())), Err(LifeRefusal::ReleaseHash));
        forged.release_hash = changed.hash();
        assert_eq!(world.apply(own(), &PluginEvent::Submitted(forged)), Err(LifeRefusal::Signature), "{changed:?}");
        // A review of the one release is none of the other, though everything else is as it was.
        world.apply(own(), &world.submission(own(), changed.clone())).unwrap();
        let mut review = world.review(own(), &changed, Decision::Approved);
        review.release = base.hash();
        let PluginEvent::Reviewed { mut review, reviewer } = world.signed(review, REVIEWER) else { unreachable!() };
        let event = PluginEvent::Reviewed { review: review.clone(), reviewer };
        assert_eq!(world.apply(own(), &event), Err(LifeRefusal::ReleaseHash));
        review.release = changed.hash();
        let event = PluginEvent::Reviewed { review, reviewer };
        assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Signature));
    }
}

#[test]
fn every_changed_part_of_a_review_breaks_its_signature() {
    let (mut world, release) = (reviewed_as(ReleaseStatus::Pending), release("a", V1));
    let good = world.review(own(), &release, Decision::Approved);
    let PluginEvent::Reviewed { review: good, reviewer } = world.signed(good, REVIEWER) else { unreachable!() };
    let with = |change: &dyn Fn(&mut Review, &mut Signed)| {
        let (mut review, mut reviewer) = (good.clone(), reviewer);
        change(&mut review, &mut reviewer);
        PluginEvent::Reviewed { review, reviewer }
    };
    for event in [
        with(&|review, _| review.decision = Decision::Rejected),
        with(&|review, _| review.report = ReportHash::ZERO),
        with(&|review, _| review.reason.push('.')),
        with(&|_, reviewer| reviewer.signed_at = LogTime::from_micros(NOW.micros() - 1)),
        with(&|_, reviewer| reviewer.agent_id = agent(ROOT)),
        with(&|_, reviewer| reviewer.signature = Signature::from_bytes([0; 64])),
    ] {
        assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Signature), "{event:?}");
    }
    // What the state refuses first is refused all the same.
    for event in [
        with(&|review, _| review.previous = LifeHash::ZERO),
        with(&|review, _| review.blocking = 1),
        with(&|review, _| review.overrides = true),
        with(&|review, _| review.version = V2),
        with(&|review, _| review.plugin = plugin("b")),
        with(&|_, reviewer| reviewer.key_id = KeyId::new(2)),
    ] {
        assert!(world.apply(own(), &event).is_err(), "{event:?}");
    }
    world.apply(own(), &PluginEvent::Reviewed { review: good, reviewer }).unwrap();
}

#[test]
fn a_review_holds_on_its_ledger_and_in_its_registry_only() {
    let release = release("a", V1);
    let (mut world, mut elsewhere) = (World::new(), World::new());
    elsewhere.register = PluginRegister::new(LedgerId::from_bytes([8; 32]));
    world.apply(own(), &world.submission(own(), release.clone())).unwrap();
    elsewhere.apply(own(), &elsewhere.submission(own(), release.clone())).unwrap();
    let other = Stream::control(tenant(2));
    world.apply(other, &world.submission(other, release.clone())).unwrap();
    let review = world.signed(world.review(own(), &release, Decision::Approved), REVIEWER);
    for (world, stream) in [(&mut elsewhere, own()), (&mut world, other)] {
        assert_eq!(world.apply(stream, &review), Err(LifeRefusal::Previous));
        // With the head put right, the signature is of another.
        let PluginEvent::Reviewed { review: mut moved, reviewer } = review.clone() else { unreachable!() };
        moved.previous = world.register.head(&stream, &plugin("a"));
        let moved = PluginEvent::Reviewed { review: moved, reviewer };
        assert_eq!(world.apply(stream, &moved), Err(LifeRefusal::Signature));
    }
    world.apply(own(), &review).unwrap();
}

#[test]
fn only_an_approved_release_of_the_named_registry_is_installed() {
    for status in ReleaseStatus::ALL {
        let mut world = reviewed_as(status);
        let event = PluginEvent::Installed(world.binding(&release("a", V1)));
        let expected = match status {
            ReleaseStatus::Approved => Ok(()),
            ReleaseStatus::Revoked => Err(LifeRefusal::Revoked),
            _ => Err(LifeRefusal::NotApproved),
        };
        assert_eq!(world.apply(own(), &event), expected, "{status:?}");
    }
    let mut world = approved();
    let release = release("a", V1);
    let other = changed_binding(&world, &release, |binding| binding.registry = Registry::Ledger);
    assert_eq!(world.apply(own(), &PluginEvent::Installed(other)), Err(LifeRefusal::ReleaseUnknown));
    // What one tenant approved is unknown to another.
    let there = world.binding(&release);
    let there = PluginEvent::Installed(there);
    assert_eq!(world.apply(Stream::control(tenant(2)), &there), Err(LifeRefusal::ReleaseUnknown));
    for (name, binding) in [
        ("release_hash", changed_binding(&world, &release, |binding| binding.release = self::release("a", V2).hash())),
        ("module_hash", changed_binding(&world, &release, |binding| binding.module = ModuleHash::ZERO)),
        ("state_version", changed_binding(&world, &release, |binding| binding.state_version += 1)),
    ] {
        assert_eq!(world.apply(own(), &PluginEvent::Installed(binding)), Err(LifeRefusal::Differs(name)));
    }
}

#[test]
fn what_the_ledger_s_registry_approved_is_installed_by_every_tenant() {
    let (mut world, release) = (World::new(), release("a", V1));
    world.approve(Stream::LEDGER, &release);
    for number in [1, 2] {
        let target = Stream::new(tenant(number), store(1));
        let mut binding = world.binding(&release);
        (binding.registry, binding.previous) = (Registry::Ledger, world.register.head(&target, &release.plugin));
        world.apply(Stream::control(tenant(number)), &PluginEvent::Installed(binding)).unwrap();
        assert!(world.register.installed(&target, &release.plugin).is_some());
    }
    // Nothing is installed in the ledger itself.
    let event = PluginEvent::Installed(world.binding(&release));
    assert_eq!(world.apply(Stream::LEDGER, &event), Err(LifeRefusal::Stream));
    let submission = world.submission(own(), self::release("b", V1));
    assert_eq!(world.apply(target(), &submission), Err(LifeRefusal::Stream));
}

#[test]
fn more_than_the_release_asks_for_is_never_granted() {
    let mut world = approved();
    let first = release("a", V1);
    let grants: [(&[&str], bool); 5] = [
        (&[], true),
        (&["kv"], true),
        (&["emit:order.paid", "kv"], true),
        (&["effect:payment", "kv"], false),
        (&["emit:order"], false),
    ];
    for (granted, fits) in grants {
        let binding = changed_binding(&world, &first, |binding| {
            binding.granted = granted.iter().map(|text| (*text).to_owned()).collect();
        });
        let expected = if fits { Ok(()) } else { Err(LifeRefusal::OverGrant) };
        assert_eq!(world.clone().apply(own(), &PluginEvent::Installed(binding)), expected, "{granted:?}");
    }
    let limits: [(&[(&str, u64)], bool); 6] = [
        (&[("gas", 1000), ("memory_bytes", 1 << 20)], true),
        (&[("gas", 1), ("memory_bytes", 0)], true),
        (&[("gas", 1001), ("memory_bytes", 1 << 20)], false),
        (&[("gas", 1000)], false),
        (&[("gas", 1000), ("memory_byte", 1)], false),
        (&[("gas", 1000), ("memory_bytes", 1), ("stack", 1)], false),
    ];
    for (limits, fits) in limits {
        let binding = changed_binding(&world, &first, |binding| {
            binding.limits = limits.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        });
        let expected = if fits { Ok(()) } else { Err(LifeRefusal::Limits) };
        assert_eq!(world.clone().apply(own(), &PluginEvent::Installed(binding)), expected, "{limits:?}");
    }
    // An upgrade is judged alike.
    world.apply(own(), &PluginEvent::Installed(world.binding(&first))).unwrap();
    let over = changed_binding(&world, &release("a", V2), |binding| {
        binding.granted.insert("effect:payment".to_owned());
    });
    assert_eq!(world.apply(own(), &PluginEvent::Upgraded(over)), Err(LifeRefusal::OverGrant));
}

#[test]
fn a_lower_version_comes_back_only_by_a_rollback_to_what_ran_here() {
    let mut world = approved();
    let (low, middle, high) = (release("a", V1), release("a", V1_1), release("a", V2));
    let upgrade = |world: &World, release: &Release, rollback: bool| {
        PluginEvent::Upgraded(changed_binding(world, release, |binding| binding.rollback = rollback))
    };
    let install = |world: &World, release: &Release, rollback: bool| {
        PluginEvent::Installed(changed_binding(world, release, |binding| binding.rollback = rollback))
    };
    let event = install(&world, &low, true);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Rollback));
    world.apply(own(), &install(&world, &low, false)).unwrap();
    for (release, rollback, refusal) in [
        (&low, false, LifeRefusal::SameVersion),
        (&low, true, LifeRefusal::SameVersion),
        (&high, true, LifeRefusal::Rollback),
    ] {
        let event = upgrade(&world, release, rollback);
        assert_eq!(world.apply(own(), &event), Err(refusal));
    }
    world.apply(own(), &upgrade(&world, &high, false)).unwrap();
    for (release, rollback, refusal) in [
        (&low, false, LifeRefusal::Downgrade),
        (&middle, false, LifeRefusal::Downgrade),
        // Approved, and never installed here.
        (&middle, true, LifeRefusal::Rollback),
    ] {
        let event = upgrade(&world, release, rollback);
        assert_eq!(world.apply(own(), &event), Err(refusal));
    }
    // Removing and installing is no way around.
    let mut around = world.clone();
    around.apply(own(), &around.removed()).unwrap();
    let event = install(&around, &low, false);
    assert_eq!(around.apply(own(), &event), Err(LifeRefusal::Downgrade));
    let event = install(&around, &middle, true);
    assert_eq!(around.apply(own(), &event), Err(LifeRefusal::Rollback));
    around.apply(own(), &install(&around, &low, true)).unwrap();
    world.apply(own(), &upgrade(&world, &low, true)).unwrap();
    let back = world.register.installed(&target(), &plugin("a")).unwrap();
    assert_eq!((back.binding().version, back.binding().module), (V1, low.module));
}

#[test]
fn a_revoked_release_stops_everywhere_at_the_revocation_and_never_comes_back() {
    let (mut world, one, two) = (World::new(), release("a", V1), release("a", V2));
    world.approve(Stream::LEDGER, &one);
    world.approve(Stream::LEDGER, &two);
    let bound = |world: &World, release: &Release, number: u8| {
        let mut binding = world.binding(release);
        let target = Stream::new(tenant(number), store(1));
        (binding.registry, binding.previous) = (Registry::Ledger, world.register.head(&target, &release.plugin));
        binding
    };
    for number in [1, 2] {
        let event = PluginEvent::Installed(bound(&world, &one, number));
        world.apply(Stream::control(tenant(number)), &event).unwrap();
    }
    // The second tenant goes on to another release before.
    let event = PluginEvent::Upgraded(bound(&world, &two, 2));
    world.apply(Stream::control(tenant(2)), &event).unwrap();
    let made_before = world.configured(false);
    world
        .apply(Stream::LEDGER, &world.signed(world.review(Stream::LEDGER, &one, Decision::Revoked), REVIEWER))
        .unwrap();
    let stopped = world.register.installed(&target(), &plugin("a")).unwrap();
    assert!(stopped.is_quarantined() && stopped.changed_index() == Index::new(world.index));
    assert_eq!(world.register.history(&target(), &plugin("a")).last().unwrap().step, Step::Revoked);
    let other = Stream::new(tenant(2), store(1));
    assert!(!world.register.installed(&other, &plugin("a")).unwrap().is_quarantined());
    assert_eq!(world.apply(own(), &made_before), Err(LifeRefusal::Quarantined));
    let event = world.configured(true);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Revoked));
    // Neither by going back to it.
    let mut back = bound(&world, &one, 2);
    back.rollback = true;
    assert_eq!(world.apply(Stream::control(tenant(2)), &PluginEvent::Upgraded(back)), Err(LifeRefusal::Revoked));
    // The way on is up.
    world.apply(own(), &PluginEvent::Upgraded(bound(&world, &two, 1))).unwrap();
    assert!(!world.register.installed(&target(), &plugin("a")).unwrap().is_quarantined());
}

#[test]
fn what_is_not_installed_or_not_quarantined_is_neither_configured_nor_resumed() {
    let mut world = approved();
    for event in [world.configured(false), world.configured(true), world.quarantined(), world.removed()] {
        assert_eq!(world.apply(own(), &event), Err(LifeRefusal::NotInstalled));
    }
    let event = PluginEvent::Upgraded(world.binding(&release("a", V2)));
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::NotInstalled));
    world.apply(own(), &PluginEvent::Installed(world.binding(&release("a", V1)))).unwrap();
    let event = world.configured(true);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::NotQuarantined));
    world.apply(own(), &world.quarantined()).unwrap();
    let event = world.quarantined();
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Quarantined));
    let event = world.configured(false);
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::Quarantined));
    world.apply(own(), &world.configured(true)).unwrap();
    let running = world.register.installed(&target(), &plugin("a")).unwrap();
    assert_eq!(running.binding().config.as_bytes(), b"{\"a\":1}");
}

#[test]
fn the_state_version_falls_only_by_a_rollback() {
    let mut world = World::new();
    let (old, mut new) = (release("a", V2), release("a", Version::new(3, 0, 0)));
    new.state_version = 1;
    world.approve(own(), &old);
    world.approve(own(), &new);
    world.apply(own(), &PluginEvent::Installed(world.binding(&old))).unwrap();
    let event = PluginEvent::Upgraded(world.binding(&new));
    assert_eq!(world.apply(own(), &event), Err(LifeRefusal::StateVersion));
}

#[test]
fn a_store_holds_only_so_many_plugins_and_names_them_in_install_order() {
    let mut world = World::new();
    for at in (0..=BINDINGS_MAX).rev() {
        let release = release(&format!("p{at}"), V1);
        world.approve(own(), &release);
        let applied = world.apply(own(), &PluginEvent::Installed(world.binding(&release)));
        assert_eq!(applied, if at > 0 { Ok(()) } else { Err(LifeRefusal::TooManyBindings) });
    }
    let names: Vec<_> = world.register.bindings(&target()).iter().map(|one| one.binding().plugin.to_string()).collect();
    assert_eq!(names, (1..=BINDINGS_MAX).rev().map(|at| format!("p{at}")).collect::<Vec<_>>());
}

/// One try at changing something, as numbers.
#[derive(Debug, Clone)]
struct Try {
    kind: u8,
    tenant: u8,
    ledger: bool,
    plugin: bool,
    version: u8,
    store: u8,
    reviewer: u8,
    decision: usize,
    flag: bool,
    blocking: bool,
    over: bool,
    stale: bool,
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let rare = || prop::bool::weighted(0.05);
    let one = (
        (0u8..14, 1u8..3, any::<bool>(), rare(), 0u8..3, 1u8..3),
        (1u8..5, 0usize..3, prop::bool::weighted(0.3), rare(), rare(), rare()),
    );
    let one = one.prop_map(
        |((kind, tenant, ledger, plugin, version, store), (reviewer, decision, flag, blocking, over, stale))| Try {
            kind,
            tenant,
            ledger,
            plugin,
            version,
            store,
            reviewer,
            decision,
            flag,
            blocking,
            over,
            stale,
        },
    );
    prop::collection::vec(one, 1..120)
}

/// The naive model: everything that was accepted, and every question answered by reading all of it again.
#[derive(Default)]
struct Model(Vec<Fact>);

/// Registry, plugin, version: a release. Tenant, store, plugin: a place.
type Named = (u8, bool, u8);

#[derive(Clone, PartialEq)]
enum Fact {
    Submitted(Named),
    Reviewed(Named, usize),
    /// Place, release, as an upgrade.
    Bound((u8, u8, bool), Named),
    Configured((u8, u8, bool)),
    Quarantined((u8, u8, bool)),
    Removed((u8, u8, bool)),
}

impl Model {
    fn status(&self, release: Named) -> Option<&'static str> {
        let mut status = None;
        for fact in &self.0 {
            match fact {
                Fact::Submitted(named) if *named == release => status = Some("pending"),
                Fact::Reviewed(named, decision) if *named == release => {
                    status = Some(["approved", "rejected", "revoked"][*decision]);
                }
                _ => {}
            }
        }
        status
    }

    /// What runs in a place, if anything; whether it is stopped; everything that ever ran there.
    fn place(&self, place: (u8, u8, bool)) -> (Option<Named>, bool, Vec<Named>) {
        let (mut running, mut stopped, mut ran) = (None, false, Vec::new());
        for fact in &self.0 {
            match fact {
                Fact::Bound(at, release) if *at == place => {
                    (running, stopped) = (Some(*release), false);
                    ran.push(*release);
                }
                Fact::Configured(at) if *at == place => stopped = false,
                Fact::Quarantined(at) if *at == place => stopped = true,
                Fact::Removed(at) if *at == place => running = None,
                Fact::Reviewed(release, 2) if running == Some(*release) => stopped = true,
                _ => {}
            }
        }
        (running, stopped, ran)
    }

    /// The fact a try becomes, if it is allowed.
    fn judge(&self, try_: &Try) -> Option<Fact> {
        let registry = if try_.ledger { 0 } else { try_.tenant };
        let release = (registry, try_.plugin, try_.version);
        let place = (try_.tenant, try_.store, try_.plugin);
        let status = self.status(release);
        let (running, stopped, ran) = self.place(place);
        if try_.stale {
            return None;
        }
        let installable = status == Some("approved") && !try_.over;
        match try_.kind {
            0..=2 => status.is_none().then_some(Fact::Submitted(release)),
            3..=6 => {
                let stranger = try_.reviewer == ROOT || try_.reviewer == REVIEWER;
                let blocked = try_.decision == 0 && (try_.blocking || status == Some("rejected"));
                let step = matches!(
                    (status?, try_.decision),
                    ("pending", 0 | 1) | ("rejected", 0) | ("approved" | "rejected", 2)
                );
                let right = if blocked { try_.flag && try_.reviewer == ROOT } else { !try_.flag };
                (stranger && step && right).then_some(Fact::Reviewed(release, try_.decision))
            }
            7 | 8 => {
                let lower = ran.last().is_some_and(|last| try_.version < last.2);
                let right = if lower { try_.flag && ran.contains(&release) } else { !try_.flag };
                (installable && running.is_none() && right).then_some(Fact::Bound(place, release))
            }
            9 | 10 => {
                let current = running?;
                let right = if try_.version < current.2 { try_.flag && ran.contains(&release) } else { !try_.flag };
                (installable && right && try_.version != current.2).then_some(Fact::Bound(place, release))
            }
            11 => {
                let sound = self.status(running?) == Some("approved");
                (sound && stopped == try_.flag).then_some(Fact::Configured(place))
            }
            12 => running.filter(|_| !stopped).map(|_| Fact::Quarantined(place)),
            _ => running.map(|_| Fact::Removed(place)),
        }
    }
}

/// The event of a try, honest but for what the try says.
fn event(world: &World, try_: &Try) -> (Stream, PluginEvent) {
    let name = if try_.plugin { "b" } else { "a" };
    let release = release(name, [V1, V1_1, V2][usize::from(try_.version)]);
    let tenant = tenant(try_.tenant);
    let registry = if try_.ledger { Registry::Ledger } else { Registry::Tenant };
    let shelf = registry.stream(tenant);
    let (store_id, plugin) = (store(try_.store), release.plugin.clone());
    let place = Stream::new(tenant, store_id);
    let head = |stream: &Stream| {
        if try_.stale { LifeHash::from_bytes([1; 32]) } else { world.register.head(stream, &plugin) }
    };
    let binding = || {
        let mut binding = world.binding(&release);
        (binding.store_id, binding.registry, binding.previous) = (store_id, registry, head(&place));
        binding.rollback = try_.flag;
        if try_.over {
            binding.granted.insert("effect:payment".to_owned());
        }
        binding
    };
    let reason = "because".to_owned();
    let control = Stream::control(tenant);
    match try_.kind {
        0..=2 => {
            let PluginEvent::Submitted(mut submission) = world.submission(shelf, release) else { unreachable!() };
            submission.previous = head(&shelf);
            (shelf, PluginEvent::Submitted(submission))
        }
        3..=6 => {
            let mut review = world.review(shelf, &release, Decision::ALL[try_.decision]);
            (review.overrides, review.blocking) = (try_.flag, u32::from(try_.blocking));
            review.previous = head(&shelf);
            (shelf, world.signed(review, try_.reviewer))
        }
        7 | 8 => (control, PluginEvent::Installed(binding())),
        9 | 10 => (control, PluginEvent::Upgraded(binding())),
        11 => {
            let (config, previous) = (Config::empty(), head(&place));
            (control, PluginEvent::Configured { store_id, plugin, config, resume: try_.flag, previous })
        }
        12 => (control, PluginEvent::Quarantined { store_id, previous: head(&place), plugin, reason }),
        _ => (control, PluginEvent::Removed { store_id, previous: head(&place), plugin, reason }),
    }
}

/// What the model and the register say of every release and every place.
fn compare(model: &Model, world: &World) {
    for plugin_b in [false, true] {
        let name = plugin(if plugin_b { "b" } else { "a" });
        for (registry, stream) in [Stream::LEDGER, own(), Stream::control(tenant(2))].into_iter().enumerate() {
            for (number, version) in [V1, V1_1, V2].into_iter().enumerate() {
                let record = world.register.release(&stream, &name, version);
                let expected = model.status((registry as u8, plugin_b, number as u8));
                assert_eq!(record.map(|record| record.status().as_str()), expected);
            }
        }
        for (number, store_number) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let (running, stopped, _) = model.place((number, store_number, plugin_b));
            let place = Stream::new(tenant(number), store(store_number));
            let installed = world.register.installed(&place, &name);
            let seen = installed.map(|one| {
                let registry = if one.binding().registry == Registry::Ledger { 0 } else { number };
                let version = [V1, V1_1, V2].iter().position(|version| *version == one.binding().version).unwrap();
                ((registry, plugin_b, version as u8), one.is_quarantined())
            });
            assert_eq!(seen, running.map(|release| (release, stopped)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_register_allows_what_the_naive_model_allows_and_nothing_else(tries in tries()) {
        let (mut world, mut model) = (World::new(), Model::default());
        let mut log = Vec::new();
        for try_ in tries {
            let (stream, event) = event(&world, &try_);
            let place = Stream::new(tenant(try_.tenant), store(try_.store));
            let before = world.register.history(&place, event.plugin()).to_vec();
            let applied = world.apply(stream, &event);
            let fact = model.judge(&try_);
            prop_assert_eq!(applied.is_ok(), fact.is_some(), "{:?}: {:?}", try_, applied);
            model.0.extend(fact);
            // Append-only, and at most one install of a plugin in a place.
            prop_assert!(world.register.history(&place, event.plugin()).starts_with(&before));
            let names: Vec<_> = world.register.bindings(&place).iter().map(|one| &one.binding().plugin).collect();
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            if applied.is_ok() {
                log.push((world.moment(stream), event));
            }
        }
        compare(&model, &world);
        // The same log gives the same state, without the refused tries too.
        let mut again = PluginRegister::new(LedgerId::from_bytes([7; 32]));
        for (at, event) in &log {
            prop_assert_eq!(again.apply(at, event, &Known), Ok(()));
        }
        prop_assert_eq!(format!("{again:?}"), format!("{:?}", world.register));
        // No event applies twice.
        for (at, event) in &log {
            prop_assert!(again.apply(at, event, &Known).is_err());
        }
    }
}

/// Texts full of what other encodings use as boundaries.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec![":", ",", "|", ";", "kv", "a", "\"", "\\", "[", "}"]), 1..5)
        .prop_map(|parts| parts.concat())
}

prop_compose! {
    fn releases()(
        permissions in prop::collection::btree_set(text(), 0..4),
        schemas in prop::collection::btree_map(text(), any::<bool>(), 0..4),
        limits in prop::collection::btree_map("[a-c_]{1,3}", 0u64..3, 0..4),
        numbers in (0u32..3, 0u32..3, 1u32..3, 1u32..3, 0u64..3, 0usize..4),
    ) -> Release {
        let schemas = schemas.into_iter().map(|(name, one)| (name, SchemaHash::from_bytes([u8::from(one); 32])));
        let mut release = release("a", Version::new(1, numbers.0, numbers.1));
        (release.permissions, release.schemas, release.limits) = (permissions, schemas.collect(), limits);
        (release.abi, release.state_version) = (numbers.2, numbers.3);
        (release.price.amount, release.price.per) = (numbers.4, PricePer::ALL[numbers.5]);
        release
    }
}

proptest! {
    #[test]
    fn two_releases_never_share_a_hash_whatever_their_texts_hold(left in releases(), right in releases()) {
        prop_assert_eq!(left == right, left.hash() == right.hash());
    }

    #[test]
    fn joining_or_splitting_texts_changes_the_hash(base in releases(), join in ":|,|\\||;|") {
        let joined: String = base.permissions.iter().cloned().collect::<Vec<_>>().join(&join);
        let mut other = base.clone();
        other.permissions = if joined.is_empty() { BTreeSet::new() } else { [joined].into() };
        prop_assert_eq!(other == base, other.hash() == base.hash());
        // What left the permissions does not come back as a schema's name.
        let mut moved = base.clone();
        if let Some(last) = moved.permissions.pop_last() {
            moved.schemas.insert(last, SchemaHash::ZERO);
            prop_assert_ne!(moved.hash(), base.hash());
        }
    }
}
