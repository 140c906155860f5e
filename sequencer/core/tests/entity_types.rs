//! Laws of the entity types that a store takes: its list and what plugins bring decide where events are ordered, from
//! their own index on, and from the log alone (S-003).
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{
    AGENT, AGENT_KEY, Node, OPERATOR, OPERATOR_KEY, STORE, STREAM, TENANT, TENANT_KEY, TENANT_ROOT, World, accepted,
    duplicate, key, sign,
};
use proptest::prelude::*;
use tally_core::{Clock, EventResult};
use tally_protocol::control::ControlEvent;
use tally_protocol::error::RejectCode;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{self, ProfileId, ReportHash};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, Sequence, StoreId, Stream};
use tally_protocol::key::PublicKey;
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Version, attest};
use tally_protocol::time::LogTime;

const REVIEWER: AgentId = AgentId::from_bytes([4; 16]);
const REVIEWER_KEY: u8 = 103;
const OTHER_STORE: StoreId = StoreId::from_bytes([5; 16]);
const REGISTRY: Stream = Stream::control(TENANT);

fn event(world: &World, store: StoreId, entity_type: &str) -> Frame {
    let fields = EventFields::plain(
        Stream::new(TENANT, store),
        world.event_id(),
        (AGENT, KeyId::new(1)),
        (entity_type, "x-1"),
        "thing.done",
        &world.created_at(),
        b"{}",
    );
    sign(&fields, b"{}", AGENT_KEY)
}

fn types(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn list(names: &[&str]) -> ControlEvent {
    ControlEvent::EntityTypesSet { store_id: STORE, entity_types: types(names) }
}

const LIFTED: ControlEvent = ControlEvent::EntityTypesLifted { store_id: STORE };

/// What became of each: its sequence, or the code that it was refused with.
fn fates(results: Vec<EventResult>) -> Vec<Result<u64, RejectCode>> {
    let fate = |result| match result {
        EventResult::Accepted(receipt) => Ok(receipt.sequence.get()),
        EventResult::Rejected(reject) => Err(reject.code),
        EventResult::Duplicate(_) => panic!("nothing is sent twice"),
    };
    results.into_iter().map(fate).collect()
}

#[test]
fn a_store_with_a_list_takes_what_is_on_it_and_the_rest_uses_no_sequence() {
    let world = World::new();
    let node = world.start_ready();
    assert_eq!(node.accept_one(event(&world, STORE, "anything")).sequence, Sequence::new(1));
    assert_eq!(node.reader.entity_types(STREAM), None);
    node.accept_one(world.tenant_control(&list(&["item", "order"])));
    let refused = node.refuse(event(&world, STORE, "parcel"));
    assert_eq!((refused.code, refused.field), (RejectCode::EntityTypeUnknown, Some("entity_type")));
    assert!(!refused.message.contains("parcel"), "{}", refused.message);
    for near in ["Order", "order ", "orde", "orders", "*"] {
        assert_eq!(node.refuse_code(event(&world, STORE, near)), RejectCode::EntityTypeUnknown, "{near}");
    }
    assert_eq!(node.accept_one(event(&world, STORE, "order")).sequence, Sequence::new(2));
    assert_eq!(node.accept_one(event(&world, OTHER_STORE, "parcel")).sequence, Sequence::new(1), "another store's");
    // The next list stands in place of the last; an empty one names nothing.
    node.accept_one(world.tenant_control(&list(&["parcel"])));
    assert_eq!(node.refuse_code(event(&world, STORE, "order")), RejectCode::EntityTypeUnknown);
    assert_eq!(node.accept_one(event(&world, STORE, "parcel")).sequence, Sequence::new(3));
    node.accept_one(world.tenant_control(&list(&[])));
    assert_eq!(node.refuse_code(event(&world, STORE, "parcel")), RejectCode::EntityTypeUnknown);
    node.accept_one(world.tenant_control(&LIFTED));
    assert_eq!(node.accept_one(event(&world, STORE, "anything")).sequence, Sequence::new(4));
    node.stop();
}

#[test]
fn a_list_counts_from_its_own_index_on_also_within_one_run() {
    let world = World::new();
    let node = world.start_ready();
    let parcel = || event(&world, STORE, "parcel");
    let unknown = Err(RejectCode::EntityTypeUnknown);
    let results = node.submit(vec![
        parcel(),
        world.tenant_control(&list(&["order"])),
        parcel(),
        event(&world, STORE, "order"),
        parcel(),
        world.tenant_control(&LIFTED),
        parcel(),
    ]);
    // The tenant's control stream has the agent's key already.
    assert_eq!(fates(results), [Ok(1), Ok(2), unknown, Ok(2), unknown, Ok(3), Ok(3)]);
    node.stop();
}

#[test]
fn what_is_in_the_log_keeps_its_receipt_when_its_type_is_listed_no_more() {
    let world = World::new();
    let node = world.start_ready();
    let early = event(&world, STORE, "parcel");
    let receipt = node.accept_one(early.clone());
    node.accept_one(world.tenant_control(&list(&["order"])));
    assert_eq!(duplicate(node.submit_one(early.clone())).index, receipt.index);
    node.stop();
    let node = world.start();
    assert_eq!(duplicate(node.submit_one(early)).index, receipt.index);
    assert_eq!(node.refuse_code(event(&world, STORE, "parcel")), RejectCode::EntityTypeUnknown, "a restart forgot it");
    assert_eq!(node.reader.entity_types(STREAM).unwrap().listed(), &types(&["order"]));
    node.stop();
}

#[test]
fn a_list_is_set_by_who_rules_the_tenant_and_in_its_control_stream_only() {
    let world = World::new();
    let node = world.start_ready();
    let by = |stream, signer, event: &ControlEvent| node.refuse_code(world.control(stream, signer, event));
    let (operator, agent) = ((OPERATOR, 1, OPERATOR_KEY), (AGENT, 1, AGENT_KEY));
    for event in [list(&["order"]), LIFTED] {
        assert_eq!(by(REGISTRY, agent, &event), RejectCode::ReservedStream);
        assert_eq!(by(STREAM, agent, &event), RejectCode::ReservedEventType);
        assert_eq!(by(Stream::LEDGER, operator, &event), RejectCode::ControlRefused);
    }
    let of_the_control_stream =
        ControlEvent::EntityTypesSet { store_id: StoreId::NIL, entity_types: types(&["order"]) };
    assert_eq!(by(REGISTRY, (TENANT_ROOT, 1, TENANT_KEY), &of_the_control_stream), RejectCode::ControlRefused);
    assert_eq!(node.reader.entity_types(STREAM), None, "nothing of it counted");
    // The tenant is managed by the operator, so the ledger's root agent may.
    node.accept_one(world.control(REGISTRY, operator, &list(&["order"])));
    assert_eq!(node.refuse_code(event(&world, STORE, "parcel")), RejectCode::EntityTypeUnknown);
    node.accept_one(world.key_registered(AGENT, 2, 104));
    node.stop();
}

/// Publisher is the agent; whoever it is has its key, and the tenant's root agent rules.
struct Known;

impl Agents for Known {
    fn valid_key(&self, _: &Stream, agent: AgentId, _: KeyId, _: LogTime) -> Option<PublicKey> {
        Some(key(if agent == AGENT { AGENT_KEY } else { REVIEWER_KEY }).public_key())
    }

    fn is_root(&self, _: &Stream, agent: AgentId) -> bool {
        agent == TENANT_ROOT
    }
}

/// Makes the events of plugins' lives as they are allowed.
struct Shop<'w> {
    world: &'w World,
    register: PluginRegister,
}

fn plugin(name: &str) -> PluginId {
    PluginId::new(name).unwrap()
}

fn release(name: &str, version: u32, brings: &[&str]) -> Release {
    Release {
        plugin: plugin(name),
        version: Version::new(version, 0, 0),
        module: hash::module(format!("{name} {version}").as_bytes()),
        manifest: hash::manifest(b"{}"),
        abi: 1,
        state_version: 1,
        permissions: brings.iter().map(|entity_type| format!("entity:{entity_type}")).collect(),
        limits: BTreeMap::new(),
        price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    }
}

impl<'w> Shop<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, register: PluginRegister::new(world.genesis.ledger_id()) }
    }

    fn now(&self) -> LogTime {
        self.world.clock.wall()
    }

    /// The frame of an event that will be taken.
    fn frame(&mut self, event: &PluginEvent) -> Frame {
        let at = Moment { stream: REGISTRY, actor: TENANT_ROOT, index: Index::new(1), now: self.now() };
        self.register.apply(&at, event, &Known).unwrap_or_else(|refusal| panic!("{refusal}"));
        let payload = event.payload();
        let (entity_type, entity_id) = event.entity();
        let fields = EventFields::plain(
            REGISTRY,
            self.world.event_id(),
            (TENANT_ROOT, KeyId::new(1)),
            (entity_type, &entity_id),
            event.event_type(),
            &self.world.created_at(),
            &payload,
        );
        sign(&fields, &payload, TENANT_KEY)
    }

    fn published(&mut self, release: &Release) -> Vec<Frame> {
        let release_hash = release.hash();
        let publisher = attest(&release_hash, AGENT, KeyId::new(1), self.now(), &key(AGENT_KEY)).unwrap();
        let previous = self.register.head(&REGISTRY, &release.plugin);
        let submitted =
            PluginEvent::Submitted(Submission { release: release.clone(), release_hash, publisher, previous });
        vec![self.frame(&submitted), self.reviewed(release, Decision::Approved)]
    }

    fn reviewed(&mut self, release: &Release, decision: Decision) -> Frame {
        let review = Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release.hash(),
            decision,
            overrides: false,
            report: ReportHash::from_bytes([4; 32]),
            blocking: 0,
            reason: "read it".to_owned(),
            previous: self.register.head(&REGISTRY, &release.plugin),
        };
        let reviewer = review.sign(REVIEWER, KeyId::new(1), self.now(), &key(REVIEWER_KEY)).unwrap();
        self.frame(&PluginEvent::Reviewed { review, reviewer })
    }

    /// Installs or upgrades to a release, with these grants.
    fn bound(&mut self, store: StoreId, release: &Release, granted: &[&str]) -> Frame {
        let stream = Stream::new(TENANT, store);
        let upgrades = self.register.installed(&stream, &release.plugin).is_some();
        let binding = Binding {
            store_id: store,
            plugin: release.plugin.clone(),
            registry: Registry::Tenant,
            version: release.version,
            release: release.hash(),
            module: release.module,
            profile: ProfileId::from_bytes([6; 32]),
            state_version: 1,
            granted: granted.iter().map(|entity_type| format!("entity:{entity_type}")).collect(),
            limits: BTreeMap::new(),
            config: Config::empty(),
            rollback: false,
            previous: self.register.head(&stream, &release.plugin),
        };
        self.frame(&if upgrades { PluginEvent::Upgraded(binding) } else { PluginEvent::Installed(binding) })
    }

    fn quarantined(&mut self, store_id: StoreId, name: &str) -> Frame {
        let previous = self.register.head(&Stream::new(TENANT, store_id), &plugin(name));
        let reason = "enough".to_owned();
        self.frame(&PluginEvent::Quarantined { store_id, plugin: plugin(name), reason, previous })
    }

    fn resumed(&mut self, store_id: StoreId, name: &str) -> Frame {
        let previous = self.register.head(&Stream::new(TENANT, store_id), &plugin(name));
        let (plugin, config) = (plugin(name), Config::empty());
        self.frame(&PluginEvent::Configured { store_id, plugin, config, resume: true, previous })
    }

    fn removed(&mut self, store_id: StoreId, name: &str) -> Frame {
        let previous = self.register.head(&Stream::new(TENANT, store_id), &plugin(name));
        let reason = "enough".to_owned();
        self.frame(&PluginEvent::Removed { store_id, plugin: plugin(name), reason, previous })
    }
}

/// A node with the tenant, a publisher and a reviewer.
fn start_with_shop(world: &World) -> (Node, Shop<'_>) {
    let node = world.start_ready();
    node.accept_one(world.key_registered(REVIEWER, 1, REVIEWER_KEY));
    (node, Shop::new(world))
}

#[test]
fn a_plugin_extends_the_list_while_it_runs_with_the_grant_and_no_longer() {
    let world = World::new();
    let (node, mut shop) = start_with_shop(&world);
    let taken = |node: &Node, entity_type: &str| match node.submit_one(event(&world, STORE, entity_type)) {
        EventResult::Accepted(_) => true,
        EventResult::Rejected(reject) if reject.code == RejectCode::EntityTypeUnknown => false,
        other => panic!("{other:?}"),
    };
    let (one, two, three) = (
        release("shipping", 1, &["crate", "parcel"]),
        release("shipping", 2, &[]),
        release("shipping", 3, &["parcel"]),
    );
    for release in [&one, &two, &three] {
        node.accept(shop.published(release));
    }
    node.accept_one(world.tenant_control(&list(&["order"])));
    assert!(!taken(&node, "parcel"), "approved is not installed");
    node.accept_one(shop.bound(STORE, &one, &["parcel"]));
    assert!(taken(&node, "parcel") && taken(&node, "order"));
    assert!(!taken(&node, "crate"), "asked for, and not granted");
    assert!(!taken(&node, "entity:parcel"));
    // A list that is set later leaves it what it brings.
    node.accept_one(world.tenant_control(&list(&["item"])));
    assert!(taken(&node, "parcel") && taken(&node, "item") && !taken(&node, "order"));
    let shown = node.reader.entity_types(STREAM).unwrap();
    assert_eq!(shown.brought(), &BTreeSet::from([(plugin("shipping"), "parcel".to_owned())]));

    node.accept_one(shop.quarantined(STORE, "shipping"));
    assert!(!taken(&node, "parcel"), "a quarantined plugin brings nothing");
    node.accept_one(shop.resumed(STORE, "shipping"));
    assert!(taken(&node, "parcel"));
    node.accept_one(shop.bound(STORE, &two, &[]));
    assert!(!taken(&node, "parcel"), "the newer release does not bring it");
    node.accept_one(shop.bound(STORE, &three, &["parcel"]));
    assert!(taken(&node, "parcel"));
    node.stop();
    let node = world.start();
    assert!(taken(&node, "parcel") && !taken(&node, "crate"), "a restart forgot it");
    node.accept_one(shop.reviewed(&three, Decision::Revoked));
    assert!(!taken(&node, "parcel"), "a revoked release brings nothing");
    node.accept_one(shop.removed(STORE, "shipping"));
    let four = release("shipping", 4, &["parcel"]);
    node.accept(shop.published(&four));
    node.accept_one(shop.bound(STORE, &four, &["parcel"]));
    assert!(taken(&node, "parcel"));
    node.accept_one(shop.removed(STORE, "shipping"));
    assert!(!taken(&node, "parcel"), "removed");
    assert!(!taken(&node, "order") && taken(&node, "item"));
    node.stop();
}

#[test]
fn what_plugins_bring_counts_within_the_run_that_installs_and_removes_them() {
    let world = World::new();
    let (node, mut shop) = start_with_shop(&world);
    let shipping = release("shipping", 1, &["parcel"]);
    node.accept(shop.published(&shipping));
    node.accept_one(world.tenant_control(&list(&[])));
    let parcel = || event(&world, STORE, "parcel");
    let submission = vec![
        parcel(),
        shop.bound(STORE, &shipping, &["parcel"]),
        parcel(),
        shop.quarantined(STORE, "shipping"),
        parcel(),
        shop.resumed(STORE, "shipping"),
        parcel(),
        event(&world, OTHER_STORE, "parcel"),
        shop.removed(STORE, "shipping"),
        parcel(),
    ];
    let results = fates(node.submit(submission));
    let taken: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [false, true, true, true, false, true, true, true, true, false]);
    let unknown = |fate: &&Result<u64, RejectCode>| **fate == Err(RejectCode::EntityTypeUnknown);
    assert_eq!(results.iter().filter(unknown).count(), 3);
    assert_eq!(node.accept_one(event(&world, OTHER_STORE, "x")).sequence, Sequence::new(2));
    node.accept_one(world.tenant_control(&LIFTED));
    assert_eq!(node.accept_one(parcel()).sequence, Sequence::new(3));
    node.stop();
}

const TYPES: [&str; 4] = ["crate", "item", "order", "parcel"];
const STORES: [StoreId; 2] = [STORE, OTHER_STORE];
const PLUGINS: [&str; 2] = ["one", "two"];
const VERSIONS: u32 = 4;

/// Something that happens; numbers name a store, a plugin, an entity type, a set of types by its bits.
#[derive(Debug, Clone, Copy)]
enum Step {
    Event(usize, usize),
    Set(usize, u8),
    Lift(usize),
    Bind(usize, usize, u8),
    Quarantine(usize, usize),
    Resume(usize, usize),
    Remove(usize, usize),
    Revoke(usize, u32),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (store, plugin, set) = (|| 0..STORES.len(), || 0..PLUGINS.len(), || 0u8..16);
    prop_oneof![
        8 => (store(), 0..TYPES.len()).prop_map(|(store, entity_type)| Step::Event(store, entity_type)),
        3 => (store(), set()).prop_map(|(store, set)| Step::Set(store, set)),
        1 => store().prop_map(Step::Lift),
        3 => (store(), plugin(), set()).prop_map(|(store, plugin, set)| Step::Bind(store, plugin, set)),
        1 => (store(), plugin()).prop_map(|(store, plugin)| Step::Quarantine(store, plugin)),
        1 => (store(), plugin()).prop_map(|(store, plugin)| Step::Resume(store, plugin)),
        1 => (store(), plugin()).prop_map(|(store, plugin)| Step::Remove(store, plugin)),
        1 => (plugin(), 1..=VERSIONS).prop_map(|(plugin, version)| Step::Revoke(plugin, version)),
        1 => Just(Step::Restart),
    ]
}

fn of_bits(set: u8) -> Vec<&'static str> {
    (0..TYPES.len()).filter(|at| set & (1 << at) != 0).map(|at| TYPES[at]).collect()
}

/// The rule in words: the last list of the store, if any, and the grants of what runs there.
#[derive(Default)]
struct Naive {
    lists: BTreeMap<usize, Vec<&'static str>>,
    /// Version, grants, whether it is stopped.
    bound: BTreeMap<(usize, usize), (u32, Vec<&'static str>, bool)>,
    /// The highest version that ever ran in a store.
    highest: BTreeMap<(usize, usize), u32>,
    revoked: BTreeSet<(usize, u32)>,
}

impl Naive {
    fn takes(&self, store: usize, entity_type: &str) -> bool {
        let Some(list) = self.lists.get(&store) else { return true };
        let brings = |at: usize| {
            self.bound.get(&(store, at)).is_some_and(|(_, grants, stopped)| !stopped && grants.contains(&entity_type))
        };
        list.contains(&entity_type) || (0..PLUGINS.len()).any(brings)
    }

    /// The frame of a step that may happen now, which then has happened.
    fn step(&mut self, step: Step, shop: &mut Shop<'_>) -> Option<Frame> {
        let world = shop.world;
        Some(match step {
            Step::Event(store, entity_type) => event(world, STORES[store], TYPES[entity_type]),
            Step::Set(store, set) => {
                self.lists.insert(store, of_bits(set));
                let entity_types = types(&of_bits(set));
                world.tenant_control(&ControlEvent::EntityTypesSet { store_id: STORES[store], entity_types })
            }
            Step::Lift(store) => {
                self.lists.remove(&store);
                world.tenant_control(&ControlEvent::EntityTypesLifted { store_id: STORES[store] })
            }
            Step::Bind(store, at, set) => {
                let above = self.highest.get(&(store, at)).copied().unwrap_or(0);
                let version = (above + 1..=VERSIONS).find(|version| !self.revoked.contains(&(at, *version)))?;
                self.highest.insert((store, at), version);
                self.bound.insert((store, at), (version, of_bits(set), false));
                shop.bound(STORES[store], &release(PLUGINS[at], version, &TYPES), &of_bits(set))
            }
            Step::Quarantine(store, at) => {
                let (.., stopped) = self.bound.get_mut(&(store, at)).filter(|(.., stopped)| !*stopped)?;
                *stopped = true;
                shop.quarantined(STORES[store], PLUGINS[at])
            }
            Step::Resume(store, at) => {
                let revoked = &self.revoked;
                let bound = self.bound.get_mut(&(store, at));
                let (.., stopped) =
                    bound.filter(|(version, _, stopped)| *stopped && !revoked.contains(&(at, *version)))?;
                *stopped = false;
                shop.resumed(STORES[store], PLUGINS[at])
            }
            Step::Remove(store, at) => {
                self.bound.remove(&(store, at))?;
                shop.removed(STORES[store], PLUGINS[at])
            }
            Step::Revoke(at, version) => {
                if !self.revoked.insert((at, version)) {
                    return None;
                }
                let of = |((_, plugin), (bound, ..)): &(&(usize, usize), &mut (u32, Vec<&'static str>, bool))| {
                    *plugin == at && *bound == version
                };
                self.bound.iter_mut().filter(of).for_each(|(_, (.., stopped))| *stopped = true);
                shop.reviewed(&release(PLUGINS[at], version, &TYPES), Decision::Revoked)
            }
            Step::Restart => return None,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_lists_and_plugins_a_store_takes_what_the_rule_says(
        steps in prop::collection::vec(step(), 1..120),
        submission_events in 1usize..9,
    ) {
        let world = World::new();
        let (mut node, mut shop) = start_with_shop(&world);
        for name in PLUGINS {
            for version in 1..=VERSIONS {
                node.accept(shop.published(&release(name, version, &TYPES)));
            }
        }
        let (mut naive, mut waiting) = (Naive::default(), Vec::new());
        let submit = |node: &Node, waiting: &mut Vec<(Frame, bool)>| {
            let (frames, expected): (Vec<Frame>, Vec<bool>) = std::mem::take(waiting).into_iter().unzip();
            if frames.is_empty() {
                return;
            }
            for (fate, expected) in fates(node.submit(frames)).into_iter().zip(expected) {
                assert_eq!(fate.map(|_| ()), if expected { Ok(()) } else { Err(RejectCode::EntityTypeUnknown) });
            }
        };
        for step in steps {
            let expected = match step {
                Step::Event(store, entity_type) => naive.takes(store, TYPES[entity_type]),
                _ => true,
            };
            waiting.extend(naive.step(step, &mut shop).map(|frame| (frame, expected)));
            if waiting.len() >= submission_events || matches!(step, Step::Restart) {
                submit(&node, &mut waiting);
            }
            if matches!(step, Step::Restart) {
                node.stop();
                node = world.start();
            }
        }
        submit(&node, &mut waiting);
        for (at, store) in STORES.into_iter().enumerate() {
            let shown = node.reader.entity_types(Stream::new(TENANT, store));
            let listed = shown.as_ref().map(|types| types.listed().clone());
            prop_assert_eq!(listed, naive.lists.get(&at).map(|list| types(list)));
            for entity_type in TYPES {
                let taken = accepted_or_unknown(node.submit_one(event(&world, store, entity_type)));
                prop_assert_eq!(taken, naive.takes(at, entity_type));
            }
        }
        node.stop();
    }
}

fn accepted_or_unknown(result: EventResult) -> bool {
    match result {
        EventResult::Rejected(reject) if reject.code == RejectCode::EntityTypeUnknown => false,
        other => {
            accepted(other);
            true
        }
    }
}
