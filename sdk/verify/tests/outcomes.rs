//! The auditor of outcomes: an honest log is clean, and every planted lie is found and named.

#![expect(clippy::unwrap_used, reason = "tests")]

use tally_merkle::{Frontier, NodeSource, RunTree, consistency_path, inclusion_path};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::hash::{
    self, EffectsHash, EmitsHash, LeafHash, ModuleHash, NodeHash, ProfileId, RootHash, StatesRoot, WritesHash,
};
use tally_protocol::id::{Index, PluginId, TreeSize};
use tally_protocol::key::{Signer, SigningKey};
use tally_protocol::outcome::{BindingOutcome, Outcome, OutcomeCode};
use tally_protocol::outcome_log;
use tally_protocol::time::LogTime;
use tally_testkit::TestLedger;
use tally_verify::{
    Check, ExtensionError, Ledger, OutcomeAudit, OutcomeEvidence, OutcomeVerdict, Place, Rule, Signed,
    open_outcome_checkpoint, verify_extension, verify_outcome,
};

const SIZE: usize = 300;
const STATES: StatesRoot = StatesRoot::from_bytes([8; 32]);

fn ledger() -> TestLedger {
    TestLedger::new("log.example/outcomes-audit", LogTime::from_micros(1_767_225_600_000_000))
}

fn auditors() -> Ledger {
    Ledger::from_genesis(&ledger().genesis.encode()).unwrap()
}

fn event(at: usize) -> LeafHash {
    hash::leaf(&at.to_be_bytes())
}

fn binding(plugin: &str, gas: u64) -> BindingOutcome {
    BindingOutcome {
        plugin: PluginId::new(plugin).unwrap(),
        module: ModuleHash::from_bytes([1; 32]),
        profile: ProfileId::from_bytes([2; 32]),
        fresh: gas.is_multiple_of(7),
        code: OutcomeCode::Accepted,
        gas,
        writes: WritesHash::from_bytes([3; 32]),
        emits: EmitsHash::from_bytes([4; 32]),
        effects: EffectsHash::from_bytes([5; 32]),
    }
}

fn outcome(at: usize) -> Outcome {
    let bindings = match at % 3 {
        0 => Vec::new(),
        1 => vec![binding("counter", at as u64)],
        _ => vec![binding("counter", at as u64), binding("registry", 9)],
    };
    Outcome { event_leaf: event(at), bindings }
}

fn bodies() -> Vec<Vec<u8>> {
    (0..SIZE).map(|at| outcome(at).encode()).collect()
}

fn root(bodies: &[Vec<u8>]) -> RootHash {
    let mut frontier = Frontier::new();
    bodies.iter().for_each(|body| frontier.append(hash::leaf(body)));
    frontier.root()
}

fn sign(checkpoint: Checkpoint, keys: &[&SigningKey]) -> String {
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| *key as &dyn Signer).collect();
    SignedCheckpoint::sign(checkpoint, &keys).unwrap().note
}

fn head(bodies: &[Vec<u8>], size: usize, states: Option<StatesRoot>) -> Checkpoint {
    let origin = &ledger().genesis.origin;
    outcome_log::checkpoint(origin, TreeSize::new(size as u64), root(&bodies[..size]), states)
}

fn note(bodies: &[Vec<u8>], size: usize) -> String {
    sign(head(bodies, size, Some(STATES)), &[&ledger().receipt_key])
}

fn audit(bodies: &[Vec<u8>], notes: &[String]) -> OutcomeVerdict {
    let mut audit = OutcomeAudit::new(auditors());
    for note in notes {
        audit.expect_checkpoint(note, Signed::ByAny);
    }
    for (at, body) in bodies.iter().enumerate() {
        audit.push(event(at), body);
    }
    audit.finish()
}

fn found(verdict: &OutcomeVerdict) -> (Place, Rule) {
    let first = verdict.first_bad().unwrap_or_else(|| panic!("nothing found: {verdict}"));
    (first.place, first.rule)
}

fn entry(at: u64) -> Place {
    Place::Entry(Index::new(at))
}

fn range(from: u64, to: u64) -> Place {
    Place::Range(Index::new(from), Index::new(to))
}

#[test]
fn honest_outcomes_are_clean_and_the_state_root_is_read() {
    let bodies = bodies();
    let mut audit = OutcomeAudit::new(auditors());
    for size in [1, 100, SIZE] {
        let (checkpoint, states) = audit.expect_checkpoint(&note(&bodies, size), Signed::ForReceipts).unwrap();
        assert_eq!((checkpoint.size.get(), states), (size as u64, Some(STATES)));
    }
    for (at, body) in bodies.iter().enumerate() {
        assert_eq!(audit.push(event(at), body), Some(outcome(at)));
    }
    let verdict = audit.finish();
    assert!(verdict.clean(), "{verdict}");
    assert_eq!((verdict.root(), verdict.signed()), (root(&bodies), Some(TreeSize::new(SIZE as u64))));
    assert_eq!((verdict.size().get(), verdict.bindings), (SIZE as u64, 300));
}

#[test]
fn a_changed_outcome_is_found_between_the_signed_roots_around_it() {
    let honest = bodies();
    let notes = [note(&honest, 100), note(&honest, 200), note(&honest, SIZE)];
    let mut lie = honest;
    let mut changed = outcome(151);
    changed.bindings[0].gas += 1;
    lie[151] = changed.encode();
    assert_eq!(found(&audit(&lie, &notes)), (range(100, 200), Rule::CheckpointRoot));
}

#[test]
fn every_flipped_byte_of_an_outcome_is_found() {
    let honest = bodies();
    let notes = [note(&honest, SIZE)];
    for at in 0..honest[151].len() {
        let mut lie = honest.clone();
        lie[151][at] ^= 1;
        let verdict = audit(&lie, &notes);
        let (place, rule) = found(&verdict);
        assert!(
            (place, rule) == (entry(151), Rule::OutcomeBytes) || (place, rule) == (range(0, 300), Rule::CheckpointRoot),
            "byte {at}: {verdict}"
        );
    }
}

#[test]
fn an_outcome_of_another_event_is_named() {
    let honest = bodies();
    let mut lie = honest.clone();
    lie.swap(151, 154);
    assert_eq!(found(&audit(&lie, &[note(&lie, SIZE)])), (entry(151), Rule::OutcomeBytes));
}

#[test]
fn outcomes_that_are_missing_at_the_end_are_named() {
    let honest = bodies();
    let verdict = audit(&honest[..250], &[note(&honest, SIZE)]);
    assert_eq!(found(&verdict), (entry(250), Rule::Truncated));
}

#[test]
fn a_checkpoint_of_the_log_of_events_speaks_for_no_outcome() {
    let (honest, ledger) = (bodies(), ledger());
    let size = TreeSize::new(SIZE as u64);
    let events = sign(Checkpoint::new(&ledger.genesis.origin, size, root(&honest)), &[&ledger.receipt_key]);
    assert_eq!(found(&audit(&honest, &[events])), (range(0, 300), Rule::CheckpointSignature));
    let stranger = sign(head(&honest, SIZE, None), &[&ledger.root.key]);
    assert_eq!(found(&audit(&honest, &[stranger])), (range(0, 300), Rule::CheckpointSignature));
}

#[test]
fn a_checkpoint_by_the_wrong_one_of_the_ledgers_keys_is_found() {
    let honest = bodies();
    for (signed, clean) in [(Signed::ForReceipts, true), (Signed::ForThePublic, false)] {
        let mut audit = OutcomeAudit::new(auditors());
        audit.expect_checkpoint(&note(&honest, 100), signed);
        honest[..100].iter().enumerate().for_each(|(at, body)| drop(audit.push(event(at), body)));
        assert_eq!(audit.finish().clean(), clean);
    }
}

#[test]
fn a_checkpoint_that_says_more_than_a_state_root_is_found() {
    let honest = bodies();
    let mut head = head(&honest, SIZE, Some(STATES));
    head.extensions.push("more".to_owned());
    let note = sign(head, &[&ledger().receipt_key]);
    assert_eq!(found(&audit(&honest, std::slice::from_ref(&note))), (range(0, 300), Rule::CheckpointSignature));
    assert_eq!(open_outcome_checkpoint(&auditors(), &note).unwrap_err().check, Check::StateRoot);
}

#[test]
fn two_roots_and_two_state_roots_for_one_size_are_found() {
    let honest = bodies();
    let key = ledger().receipt_key;
    let other = sign(head(&honest, 200, Some(StatesRoot::ZERO)), &[&key]);
    assert_eq!(found(&audit(&honest, &[note(&honest, 200), other])), (range(0, 200), Rule::TwoRoots));
    let mut forked = honest.clone();
    forked[7] = outcome(9).encode();
    assert_eq!(found(&audit(&honest, &[note(&honest, 200), note(&forked, 200)])), (range(0, 200), Rule::TwoRoots));
}

/// Every perfect subtree of some leaves, by definition.
struct Nodes(Vec<LeafHash>);

impl NodeSource for Nodes {
    type Error = core::convert::Infallible;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Self::Error> {
        let width = 1usize << level;
        let from = usize::try_from(index).unwrap() * width;
        let mut frontier = Frontier::new();
        let tree = RunTree::extend(&mut frontier, &self.0[from..from + width]);
        Ok(NodeHash::from_bytes(*tree.root().as_bytes()))
    }
}

fn nodes(bodies: &[Vec<u8>]) -> Nodes {
    Nodes(bodies.iter().map(|body| hash::leaf(body)).collect())
}

#[test]
fn one_outcome_is_proven_with_nothing_but_its_bytes_path_and_note() {
    let (bodies, ledger) = (bodies(), auditors());
    let note = note(&bodies, SIZE);
    let size = TreeSize::new(SIZE as u64);
    for at in [0, 1, 2, 151, 255, 299] {
        let index = Index::new(at as u64);
        let path = inclusion_path(&nodes(&bodies), index, size).unwrap();
        let honest = OutcomeEvidence { index, event: event(at), body: &bodies[at], path: &path, note: &note };
        let proven = verify_outcome(&ledger, &honest).unwrap();
        assert_eq!((proven.outcome, proven.states), (outcome(at), Some(STATES)));
        let fails = |lie: OutcomeEvidence<'_>| verify_outcome(&ledger, &lie).unwrap_err().check;
        let next = Index::new((at as u64 + 3) % 300);
        assert_eq!(fails(OutcomeEvidence { index: next, ..honest }), Check::Inclusion);
        assert_eq!(fails(OutcomeEvidence { path: &path[1..], ..honest }), Check::Inclusion);
        assert_eq!(
            fails(OutcomeEvidence { note: &note.replace("/outcomes", "/outcome"), ..honest }),
            Check::CheckpointSignature
        );
        for byte in 0..bodies[at].len() {
            let mut body = bodies[at].clone();
            body[byte] ^= 1;
            let check = fails(OutcomeEvidence { body: &body, ..honest });
            assert!(matches!(check, Check::Outcome | Check::Inclusion), "byte {byte}: {check}");
        }
        if at % 3 != 0 {
            assert_eq!(fails(OutcomeEvidence { event: event(at + 1), ..honest }), Check::Outcome);
        }
    }
}

#[test]
fn a_newer_checkpoint_of_outcomes_extends_an_older_one_or_is_shown_not_to() {
    let (honest, ledger) = (bodies(), auditors());
    let open = |note: &str| open_outcome_checkpoint(&ledger, note).unwrap().0;
    let (older, newer) = (open(&note(&honest, 100)), open(&note(&honest, SIZE)));
    let path = consistency_path(&nodes(&honest), older.size, newer.size).unwrap();
    assert_eq!(verify_extension(&older, &newer, &path), Ok(()));
    let mut forked = honest;
    forked[7] = outcome(9).encode();
    let forked = open(&note(&forked, 100));
    assert!(matches!(verify_extension(&forked, &newer, &path), Err(ExtensionError::NotShown { .. })));
    // An event log's tree head is no older state of the log of outcomes.
    let events = Checkpoint::new(&ledger.genesis().origin, older.size, older.root);
    assert_eq!(verify_extension(&events, &newer, &path), Err(ExtensionError::OtherOrigin));
}
