//! Anchors in bundles: what bytes alone can show of them is checked and named, and what they cannot is said.

#![expect(clippy::unwrap_used, reason = "tests")]

use tally_protocol::anchor::transaction::SignedTransaction;
use tally_protocol::anchor::{Anchor, AnchorCall};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::hash::{self, BlockHash, LeafHash, LogKind, NodeHash, NoteHash, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::jcs::{self, Value};
use tally_protocol::limits::TRANSACTION_BYTES_MAX;
use tally_protocol::outcome::EMPTY_BODY;
use tally_protocol::outcome_log;
use tally_protocol::time::LogTime;
use tally_testkit::{
    ChainKey, ReferenceLog, TestChain, TestLedger, Workload, WorkloadConfig, naive_inclusion_path, naive_root,
};
use tally_verify::{
    AnchorBlock, AnchoredLeaf, AnchoredOutcome, Bundle, BundleAnchor, BundleError, Check, Ledger, Outcome, Placed,
    TrustRoot, TrustedChain,
};

const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);
const AT: u64 = 20;
/// The size that was anchored; the log grew since.
const ANCHORED: u64 = 32;

struct World {
    ledger: TestLedger,
    model: ReferenceLog,
    chain: TestChain,
}

impl World {
    fn new() -> Self {
        let ledger = TestLedger::new("log.example/anchored", START);
        let mut workload = Workload::new(WorkloadConfig::honest(), 1, START);
        let mut model = ReferenceLog::new(ledger.genesis.clone());
        for frame in workload.setup(&ledger).into_iter().chain(workload.frames(40)) {
            model.submit(&frame, START);
        }
        Self { ledger, model, chain: TestChain::new(84_532_001) }
    }

    /// The same events, but the operator lost one of them before the anchored size, and signed what was left.
    fn altered(&self) -> Self {
        let mut model = ReferenceLog::new(self.ledger.genesis.clone());
        for (at, (frame, key, place)) in self.model.events().enumerate() {
            if at + 1 != 25 {
                model.append_unjudged(frame, key, place.sequenced_at);
            }
        }
        Self { ledger: self.ledger.clone(), model, chain: self.chain.clone() }
    }

    fn size(&self) -> u64 {
        self.model.size() as u64
    }

    fn bundle_at(&self, size: u64) -> Bundle {
        let ledger = Ledger::from_genesis(&self.ledger.genesis.encode()).unwrap();
        let leaves = self.model.leaves();
        let (frame, public_key, place) = self.model.events().nth(AT as usize - 1).unwrap();
        let (index, sequence, sequenced_at) = (place.index, place.sequence, place.sequenced_at);
        let placed = Placed { index, sequence, sequenced_at, public_key };
        let path = naive_inclusion_path(AT as usize, &leaves[..size as usize]);
        Bundle::assemble(&ledger, frame, &placed, path, self.ledger.sign(&leaves, size, true))
    }

    fn head(&self, leaves: &[LeafHash], size: u64) -> (String, Checkpoint) {
        let note = self.ledger.sign(leaves, size, true);
        (note, Checkpoint::new(&self.ledger.genesis.origin, TreeSize::new(size), naive_root(&leaves[..size as usize])))
    }

    /// The log of outcomes of a ledger without plugins: the empty outcome for each entry.
    fn outcomes(&self) -> (Vec<LeafHash>, String, Checkpoint) {
        let leaves = vec![hash::leaf(EMPTY_BODY); ANCHORED as usize];
        let origin = outcome_log::origin(&self.ledger.genesis.origin);
        let head = Checkpoint::new(&origin, TreeSize::new(ANCHORED), naive_root(&leaves));
        let note = SignedCheckpoint::sign(head.clone(), &[&self.ledger.receipt_key]).unwrap().note;
        (leaves, note, head)
    }

    fn call(&self) -> AnchorCall {
        let (note, head) = self.head(&self.model.leaves(), ANCHORED);
        let (_, outcomes_note, outcomes_head) = self.outcomes();
        let id = |kind| hash::log_id(&self.ledger.id(), kind);
        AnchorCall::Many(vec![
            self.chain.anchor(id(LogKind::Events), &note, &head, vec![NodeHash::ZERO; 3]),
            self.chain.anchor(id(LogKind::Outcomes), &outcomes_note, &outcomes_head, Vec::new()),
        ])
    }

    fn anchor_of(&self, call: &AnchorCall) -> BundleAnchor {
        let leaves = self.model.leaves();
        let (index, leaf) = (Index::new(AT), leaves[AT as usize]);
        let (note, head) = self.head(&leaves, ANCHORED);
        let path = naive_inclusion_path(AT as usize, &leaves[..ANCHORED as usize]);
        let id = |kind| hash::log_id(&self.ledger.id(), kind);
        let event = AnchoredLeaf::assemble(id(LogKind::Events), 7, (&note, &head), (leaf, index), path);
        let (outcomes, note, head) = self.outcomes();
        let path = naive_inclusion_path(AT as usize, &outcomes);
        let outcome = (hash::leaf(EMPTY_BODY), index);
        BundleAnchor {
            chain_id: self.chain.chain_id,
            contract: self.chain.contract,
            authority: self.chain.authority.address(),
            transaction: self.chain.transaction(call, 7).encode(),
            block: Some(AnchorBlock { number: 41, hash: BlockHash::from_bytes([0xb1; 32]), time: START }),
            event,
            outcome: Some(AnchoredOutcome {
                body: EMPTY_BODY.to_vec(),
                leaf: AnchoredLeaf::assemble(id(LogKind::Outcomes), 7, (&note, &head), outcome, path),
            }),
        }
    }

    fn bundle(&self) -> Bundle {
        self.bundle_at(self.size()).anchored(vec![self.anchor_of(&self.call())])
    }

    fn trust(&self) -> TrustRoot {
        TrustRoot::ledger(self.ledger.id())
    }

    fn pinned(&self) -> TrustRoot {
        let (chain_id, contract) = (self.chain.chain_id, self.chain.contract);
        self.trust().and_chain(TrustedChain { chain_id, contract, authorities: vec![self.chain.authority.address()] })
    }
}

/// The check at which the bundle fails.
fn fails_at(bundle: &Bundle, trust: &TrustRoot) -> Check {
    let report = bundle.verify(trust);
    assert!(!report.verified() && report.proven().is_none(), "{report}");
    report.first_failure().unwrap().check
}

fn damage(world: &World, change: impl FnOnce(&mut BundleAnchor)) -> Check {
    let mut bundle = world.bundle();
    change(&mut bundle.anchors[0]);
    fails_at(&bundle, &world.pinned())
}

#[test]
fn an_anchored_bundle_verifies_and_says_what_was_checked_and_what_was_not() {
    let world = World::new();
    let report = world.bundle().verify(&world.pinned());
    assert!(report.verified(), "{report}");
    let checks: Vec<Check> = report.lines().iter().map(|line| line.check).collect();
    assert_eq!(checks, [Check::OF_AN_EVENT, Check::OF_AN_ANCHOR, &[Check::AnchorOutcome]].concat());
    assert!(report.lines().iter().all(|line| matches!(&line.outcome, Outcome::Passed(words) if !words.is_empty())));
    let [anchor] = &report.proven().unwrap().anchors[..] else { panic!("{report}") };
    assert_eq!((anchor.size.get(), anchor.root), (ANCHORED, world.model.root_at(ANCHORED as usize)));
    assert_eq!((anchor.sender, anchor.authority), (world.chain.gas.address(), world.chain.authority.address()));
    assert!(anchor.pinned && anchor.outcome);
    assert!(report.caveats().iter().any(|caveat| caveat.contains("ask the chain") && caveat.contains("block 41")));
    assert!(report.caveats().iter().all(|caveat| !caveat.contains("as the bundle claims")), "{report}");
}

#[test]
fn an_authority_that_nobody_pinned_is_reported_as_the_bundles_claim() {
    let world = World::new();
    let report = world.bundle().verify(&world.trust());
    assert!(report.verified(), "{report}");
    assert!(!report.proven().unwrap().anchors[0].pinned);
    assert!(report.caveats().iter().any(|caveat| caveat.contains("as the bundle claims")), "{report}");
}

/// S-032.
#[test]
fn a_re_signed_altered_chain_passes_every_other_check_and_fails_on_the_anchored_checkpoint() {
    let (world, mut altered) = (World::new(), World::new().altered());
    let honest = world.anchor_of(&world.call());
    // With the real ledger keys the altered log is whole in itself, at the anchored size and at every other.
    for size in [ANCHORED, altered.size()] {
        assert!(altered.bundle_at(size).verify(&altered.trust()).verified());
    }
    // Without an anchor where one is asked for; with the real one; with its checkpoint signed again.
    assert_eq!(fails_at(&altered.bundle_at(ANCHORED), &world.pinned()), Check::AnchorTransaction);
    let with_the_real_one = altered.bundle_at(ANCHORED).anchored(vec![honest.clone()]);
    assert_eq!(fails_at(&with_the_real_one, &world.pinned()), Check::AnchorCheckpoint);
    let (note, _) = altered.head(&altered.model.leaves(), ANCHORED);
    let mut signed_again = with_the_real_one;
    signed_again.anchors[0].event.checkpoint = note;
    let report = signed_again.verify(&world.pinned());
    let failed = report.first_failure().unwrap();
    assert_eq!(failed.check, Check::AnchorCheckpoint);
    assert!(failed.why.contains("the log was rewritten"), "{failed}");
    // An anchor of the altered log by the stolen gas key, without the authority's.
    altered.chain.authority = ChainKey::named("stranger");
    let forged = altered.bundle_at(ANCHORED).anchored(vec![altered.anchor_of(&altered.call())]);
    assert_eq!(fails_at(&forged, &world.pinned()), Check::AnchorAuthority);
}

/// S-133, what bytes alone can show of it.
#[test]
fn the_recomputed_the_stored_and_the_anchored_root_are_one() {
    let world = World::new();
    let at = |stored: &World, recomputed: &World, anchored: &World| {
        let bundle = recomputed.bundle_at(ANCHORED);
        let stored = stored.ledger.sign(&stored.model.leaves(), ANCHORED, true);
        let anchor = anchored.anchor_of(&anchored.call());
        Bundle { checkpoint: stored, ..bundle }.anchored(vec![anchor])
    };
    let altered = world.altered();
    assert!(at(&world, &world, &world).verify(&world.pinned()).verified());
    // Event 25 is another one: the leaf of event 20 is the same, the roots are not.
    assert_eq!(fails_at(&at(&altered, &world, &world), &world.pinned()), Check::Inclusion);
    assert_eq!(fails_at(&at(&world, &altered, &world), &world.pinned()), Check::Inclusion);
    assert_eq!(fails_at(&at(&world, &world, &altered), &world.pinned()), Check::AnchorCheckpoint);
    assert_eq!(fails_at(&at(&altered, &altered, &world), &world.pinned()), Check::AnchorCheckpoint);
}

#[test]
fn every_member_of_an_anchor_that_is_changed_fails_by_the_right_name() {
    let world = World::new();
    let other = ChainKey::named("other").address();
    type Case = (&'static str, Check, fn(&mut BundleAnchor));
    let cases: [Case; 17] = [
        ("a transaction cut short", Check::AnchorTransaction, |a| a.transaction.truncate(200)),
        ("no transaction", Check::AnchorTransaction, |a| a.transaction.clear()),
        ("a transaction too long", Check::AnchorTransaction, |a| a.transaction = vec![2; TRANSACTION_BYTES_MAX + 1]),
        ("another log", Check::AnchorCall, |a| a.event.log_id = a.outcome.as_ref().unwrap().leaf.log_id),
        ("another anchored checkpoint", Check::AnchorCheckpoint, |a| {
            a.event.checkpoint.clone_from(&a.outcome.as_ref().unwrap().leaf.checkpoint);
        }),
        ("no checkpoint", Check::AnchorCheckpoint, |a| a.event.checkpoint.clear()),
        ("a path too short", Check::AnchorInclusion, |a| a.event.inclusion_path.truncate(4)),
        ("a path too long", Check::AnchorInclusion, |a| a.event.inclusion_path.push(NodeHash::ZERO)),
        ("a path in another order", Check::AnchorInclusion, |a| a.event.inclusion_path.swap(0, 1)),
        ("another seq", Check::AnchorQuery, |a| a.event.seq = 8),
        ("seq zero", Check::AnchorQuery, |a| a.event.seq = 0),
        ("no call data", Check::AnchorQuery, |a| a.event.call.clear()),
        ("the outcome's call data", Check::AnchorQuery, |a| {
            a.event.call.clone_from(&a.outcome.as_ref().unwrap().leaf.call);
        }),
        ("another outcome", Check::AnchorOutcome, |a| a.outcome.as_mut().unwrap().body.push(0)),
        ("an outcome's path too short", Check::AnchorOutcome, |a| {
            a.outcome.as_mut().unwrap().leaf.inclusion_path.truncate(4);
        }),
        ("the event's log as the outcome's", Check::AnchorOutcome, |a| {
            a.outcome.as_mut().unwrap().leaf.log_id = a.event.log_id;
        }),
        ("another seq of the outcome", Check::AnchorOutcome, |a| a.outcome.as_mut().unwrap().leaf.seq += 1),
    ];
    for (name, check, change) in cases {
        assert_eq!(damage(&world, change), check, "{name}");
    }
    assert_eq!(damage(&world, |a| a.contract = other), Check::AnchorTransaction);
    assert_eq!(damage(&world, |a| a.authority = other), Check::AnchorAuthority);
    let mut elsewhere = world.bundle();
    elsewhere.anchors[0].chain_id += 1;
    assert_eq!(fails_at(&elsewhere, &world.trust()), Check::AnchorTransaction);
}

#[test]
fn every_flipped_bit_of_the_transaction_fails_or_names_another_sender() {
    let world = World::new();
    let bundle = world.bundle();
    let honest = world.chain.gas.address();
    // Every byte of the head and the signature, and each thirty-first of the call: all of its words are met.
    let length = bundle.anchors[0].transaction.len();
    let bits = (0..length).filter(|at| *at < 64 || *at + 72 > length || at % 31 == 0).map(|at| at * 8 + at % 8);
    for bit in bits {
        let mut bent = bundle.clone();
        bent.anchors[0].transaction[bit / 8] ^= 1 << (bit % 8);
        let report = bent.verify(&world.pinned());
        // The proof in the call is the contract's to check; a changed one is a transaction that nobody trusted sent.
        let sender = report.proven().map(|proven| proven.anchors[0].sender);
        assert_ne!(sender, Some(honest), "bit {bit}");
    }
}

#[test]
fn a_call_that_the_authority_did_not_sign_for_this_chain_contract_size_root_and_note_is_refused() {
    let world = World::new();
    let changed = |change: &dyn Fn(&mut Anchor)| {
        let AnchorCall::Many(mut anchors) = world.call() else { panic!("two logs") };
        change(&mut anchors[0]);
        let anchor = world.anchor_of(&AnchorCall::Many(anchors));
        fails_at(&world.bundle_at(ANCHORED).anchored(vec![anchor]), &world.pinned())
    };
    assert_eq!(changed(&|a| a.size = TreeSize::new(ANCHORED + 1)), Check::AnchorAuthority);
    assert_eq!(changed(&|a| a.root = RootHash::ZERO), Check::AnchorAuthority);
    assert_eq!(changed(&|a| a.note_hash = NoteHash::ZERO), Check::AnchorAuthority);
    assert_eq!(changed(&|a| a.epoch += 1), Check::AnchorAuthority);
    assert_eq!(changed(&|a| a.log_id = hash::log_id(&world.ledger.id(), LogKind::Outcomes)), Check::AnchorCall);
    // Signed by the authority, but for another chain: its word there is no word here.
    let mut twin = world.chain.clone();
    twin.chain_id += 1;
    let (note, head) = world.head(&world.model.leaves(), ANCHORED);
    let log_id = hash::log_id(&world.ledger.id(), LogKind::Events);
    let replayed = AnchorCall::One(twin.anchor(log_id, &note, &head, Vec::new()));
    let bundle = world.bundle_at(ANCHORED).anchored(vec![world.anchor_of(&replayed)]);
    assert_eq!(fails_at(&bundle, &world.pinned()), Check::AnchorAuthority);
}

#[test]
fn a_log_that_one_call_moves_twice_is_refused() {
    let world = World::new();
    let AnchorCall::Many(anchors) = world.call() else { panic!("two logs") };
    let twice = AnchorCall::Many([&anchors[..], &anchors[..1]].concat());
    let bundle = world.bundle_at(ANCHORED).anchored(vec![world.anchor_of(&twice)]);
    assert_eq!(fails_at(&bundle, &world.pinned()), Check::AnchorCall);
    // The call for one log is as good as the call for several.
    let mut anchor = world.anchor_of(&AnchorCall::One(anchors[0].clone()));
    anchor.outcome = None;
    assert!(world.bundle_at(ANCHORED).anchored(vec![anchor.clone()]).verify(&world.pinned()).verified());
    let with_outcome = BundleAnchor { outcome: world.bundle().anchors[0].outcome.clone(), ..anchor };
    let bundle = world.bundle_at(ANCHORED).anchored(vec![with_outcome]);
    assert_eq!(fails_at(&bundle, &world.pinned()), Check::AnchorOutcome);
}

#[test]
fn trust_in_one_chain_asks_for_an_anchor_there_and_says_nothing_of_another() {
    let world = World::new();
    let mut elsewhere = world.pinned();
    elsewhere.chains[0].chain_id += 1;
    assert_eq!(fails_at(&world.bundle(), &elsewhere), Check::AnchorTransaction);
    let mut other_contract = world.pinned();
    other_contract.chains[0].contract = ChainKey::named("other").address();
    assert_eq!(fails_at(&world.bundle(), &other_contract), Check::AnchorAuthority);
    // Around a rotation two authorities are trusted.
    let mut rotating = world.pinned();
    rotating.chains[0].authorities.insert(0, ChainKey::named("successor").address());
    assert!(world.bundle().verify(&rotating).verified());
    // Two chains, one of them pinned: the other is the bundle's claim.
    let mut second = World::new();
    second.chain = TestChain::new(10);
    let both = [world.bundle().anchors, second.bundle().anchors].concat();
    let report = world.bundle().anchored(both).verify(&world.pinned());
    let pinned: Vec<bool> = report.proven().unwrap().anchors.iter().map(|anchor| anchor.pinned).collect();
    assert_eq!(pinned, [true, false], "{report}");
}

#[test]
fn a_report_lists_what_was_not_checked_behind_a_failing_anchor() {
    let world = World::new();
    let mut bundle = world.bundle();
    bundle.anchors = [&bundle.anchors[..], &bundle.anchors[..]].concat();
    bundle.anchors[1].event.inclusion_path.clear();
    let report = bundle.verify(&world.pinned());
    assert_eq!(report.first_failure().unwrap().check, Check::AnchorInclusion);
    let not_made: Vec<Check> =
        report.lines().iter().filter(|line| line.outcome == Outcome::NotMade).map(|line| line.check).collect();
    assert_eq!(not_made, [Check::AnchorQuery, Check::AnchorOutcome]);
    assert_eq!(report.lines().len(), Check::OF_AN_EVENT.len() + 2 * (Check::OF_AN_ANCHOR.len() + 1));
}

#[test]
fn an_anchored_bundle_reads_back_as_written_and_reading_is_strict() {
    let world = World::new();
    let bundle = world.bundle();
    let text = bundle.encode();
    assert_eq!(Bundle::decode(&text), Ok(bundle.clone()));
    assert!(jcs::is_canonical(&text).is_ok());
    let bare = bundle.clone().anchored(Vec::new());
    assert!(!String::from_utf8(bare.encode()).unwrap().contains("anchors"));
    assert_eq!(Bundle::decode(&bare.encode()), Ok(bare));
    let value = jcs::parse(&text).unwrap();
    let with = |anchors: Value| {
        let members = value.as_object().unwrap().iter().cloned();
        let members = members.map(|(name, old)| if name == "anchors" { (name, anchors.clone()) } else { (name, old) });
        Bundle::decode(&jcs::to_canonical(&Value::Object(members.collect())))
    };
    let anchor = &value.get("anchors").unwrap().as_array().unwrap()[0];
    assert_eq!(with(Value::Array(vec![anchor.clone(); 8])).map(|bundle| bundle.anchors.len()), Ok(8));
    for wrong in [Value::Null, Value::Array(Vec::new()), Value::Array(vec![anchor.clone(); 9]), anchor.clone()] {
        assert_eq!(with(wrong), Err(BundleError::Malformed("anchors")));
    }
    for (name, _) in anchor.as_object().unwrap() {
        let without =
            Value::Object(anchor.as_object().unwrap().iter().filter(|(other, _)| other != name).cloned().collect());
        match with(Value::Array(vec![without])) {
            Ok(_) => assert!(["block", "outcome"].contains(&name.as_str()), "{name}"),
            Err(BundleError::Missing(missing)) => assert_eq!(missing, name),
            other => panic!("without {name}: {other:?}"),
        }
    }
    for (part, depth) in [(anchor, 0), (anchor.get("event").unwrap(), 1)] {
        let more = part.as_object().unwrap().iter().cloned().chain([("extra".to_owned(), Value::Null)]);
        let more = Value::Object(more.collect());
        let changed = if depth == 0 { more } else { replaced(anchor, "event", more) };
        assert_eq!(with(Value::Array(vec![changed])), Err(BundleError::Unknown));
    }
    let text = String::from_utf8(text).unwrap();
    let upper = text.replace("\"contract\":\"0x", "\"contract\":\"0X");
    assert_eq!(Bundle::decode(upper.as_bytes()), Err(BundleError::Malformed("contract")));
    let parts_of_a_second = text.replace(".000000Z\"},\"chain_id\"", ".000001Z\"},\"chain_id\"");
    assert_ne!(parts_of_a_second, text);
    assert_eq!(Bundle::decode(parts_of_a_second.as_bytes()), Err(BundleError::Malformed("time")));
}

#[expect(clippy::needless_pass_by_value, reason = "what is put there is made there")]
fn replaced(value: &Value, name: &str, with: Value) -> Value {
    let members = value.as_object().unwrap().iter().cloned();
    Value::Object(
        members.map(|(member, old)| (member.clone(), if member == name { with.clone() } else { old })).collect(),
    )
}

#[test]
fn the_sample_transaction_is_what_the_worker_would_send() {
    let world = World::new();
    let raw = world.bundle().anchors[0].transaction.clone();
    let signed = SignedTransaction::decode(&raw).unwrap();
    assert_eq!(signed.sender(), Ok(world.chain.gas.address()));
    assert_eq!(AnchorCall::decode(&signed.transaction.data), Ok(world.call()));
}
