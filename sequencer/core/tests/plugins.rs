//! Laws of plugin events at the door: the register decides what is ordered, the gate is asked before, and about nothing
//! else; what is in the log keeps its receipt, and a restart knows the register again.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use common::{AGENT, AGENT_KEY, Node, TENANT, TENANT_KEY, TENANT_ROOT, World, accepted, duplicate, key, sign};
use tally_core::{Clock, Parts, PluginGate, Sequencer};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash;
use tally_protocol::id::{AgentId, KeyId, PluginId, Stream};
use tally_protocol::plugin_event::{PluginEvent, Submission};
use tally_protocol::plugin_life::PluginRegister;
use tally_protocol::release::{Price, PricePer, Release, Version, attest};

/// Notes what it is asked, and refuses while it is told to.
#[derive(Default)]
struct Gate {
    asked: Mutex<Vec<String>>,
    closed: Mutex<bool>,
}

impl PluginGate for Gate {
    fn check(&self, stream: &Stream, event_type: &str, _: &[u8]) -> Result<(), Reject> {
        assert_eq!(*stream, Stream::control(TENANT));
        self.asked.lock().unwrap().push(event_type.to_owned());
        let closed = *self.closed.lock().unwrap();
        if closed { Err(Reject::new(RejectCode::ControlRefused, "not here")) } else { Ok(()) }
    }
}

fn start(world: &World, gate: &Arc<Gate>) -> Node {
    let gate = Arc::clone(gate) as Arc<dyn PluginGate>;
    let parts = Parts { gate: Some(gate), ..world.parts() };
    Node::of(Sequencer::start(world.config.clone(), parts).unwrap())
}

fn submission(world: &World, version: Version) -> PluginEvent {
    let plugin = PluginId::new("counter").unwrap();
    let release = Release {
        plugin: plugin.clone(),
        version,
        module: hash::module(b"module"),
        manifest: hash::manifest(b"{}"),
        abi: 1,
        state_version: 1,
        permissions: BTreeSet::new(),
        limits: BTreeMap::new(),
        price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    };
    let release_hash = release.hash();
    let publisher = attest(&release_hash, AGENT, KeyId::new(1), world.clock.wall(), &key(AGENT_KEY)).unwrap();
    let register = PluginRegister::new(world.genesis.ledger_id());
    let previous = register.head(&Stream::control(TENANT), &plugin);
    PluginEvent::Submitted(Submission { release, release_hash, publisher, previous })
}

fn frame(world: &World, (agent, seed): (AgentId, u8), event: &PluginEvent) -> Frame {
    let payload = event.payload();
    let (entity_type, entity_id) = event.entity();
    let fields = EventFields::plain(
        Stream::control(TENANT),
        world.event_id(),
        (agent, KeyId::new(1)),
        (entity_type, &entity_id),
        event.event_type(),
        &world.created_at(),
        &payload,
    );
    sign(&fields, &payload, seed)
}

#[test]
fn the_register_decides_and_the_gate_is_asked_about_plugin_events_of_who_has_a_say() {
    let world = World::new();
    let gate = Arc::new(Gate::default());
    let node = start(&world, &gate);
    node.accept_one(world.tenant_created(TENANT, true));
    node.accept_one(world.key_registered(AGENT, 1, AGENT_KEY));
    node.accept((0..50).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect());
    assert!(gate.asked.lock().unwrap().is_empty(), "asked about what is none of its business");
    let (one, two) = (submission(&world, Version::new(1, 0, 0)), submission(&world, Version::new(2, 0, 0)));
    let root = (TENANT_ROOT, TENANT_KEY);
    assert_eq!(node.refuse_code(frame(&world, (AGENT, AGENT_KEY), &one)), RejectCode::ReservedStream);
    assert!(gate.asked.lock().unwrap().is_empty(), "its signer has no say there");

    *gate.closed.lock().unwrap() = true;
    let first = frame(&world, root, &one);
    assert_eq!(node.refuse(first.clone()).message, "not here");
    *gate.closed.lock().unwrap() = false;
    let receipt = node.accept_one(first.clone());
    *gate.closed.lock().unwrap() = true;
    assert_eq!(duplicate(node.submit_one(first.clone())).index, receipt.index, "what is in the log is in the log");
    *gate.closed.lock().unwrap() = false;
    // Made before the first was taken: it goes on from a head that is not there any more.
    assert!(node.refuse(frame(&world, root, &two)).message.contains("`previous` is not its head"));
    assert!(node.refuse(frame(&world, root, &one)).message.contains("this version exists"));
    node.stop();

    let node = start(&world, &gate);
    assert!(node.refuse(frame(&world, root, &one)).message.contains("this version exists"), "a restart forgot it");
    accepted(node.submit_one(world.event("{}")));
    node.stop();
}
