//! The auditor's corpus: every way to damage a stored log is found, and named at the first bad entry (S-137).
//!
//! Two adversaries. The *intruder* changes what is stored and repairs everything he can compute (checksums, hashes of
//! runs, sequences), but cannot sign. The *dishonest operator* has every key and stores and signs what the rules
//! forbid.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bytes::Bytes;
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::control::ControlEvent;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, ProfileId, ReportHash, RootHash, RunHash, StateRoot, VesNode};
use tally_protocol::id::{AgentId, Epoch, Index, KeyId, PluginId, Sequence, Stream, TreeSize};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Version, attest};
use tally_protocol::run::{Record, RecordIn, RunBuilder, StoredRun};
use tally_protocol::time::LogTime;
use tally_testkit::{
    LogUnderTest, ReferenceLog, TestAgent, TestLedger, TestRng, TestTenant, Workload, WorkloadConfig, check_log,
    event_id,
};
use tally_verify::audit::{Finding, LogAudit, Place, Rule, Signed, Verdict};

const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);
const RUN_EVENTS: usize = 32;

fn ledger() -> TestLedger {
    TestLedger::new("log.example/audit", START)
}

/// 615 events in runs of 32, with checkpoints, tiles and commitments.
fn honest() -> (TestLedger, ReferenceLog, LogUnderTest) {
    static MADE: OnceLock<(TestLedger, ReferenceLog, LogUnderTest)> = OnceLock::new();
    MADE.get_or_init(make_honest).clone()
}

fn make_honest() -> (TestLedger, ReferenceLog, LogUnderTest) {
    let ledger = ledger();
    let mut workload = Workload::new(WorkloadConfig::honest(), 11, START);
    let mut model = ReferenceLog::new(ledger.genesis.clone());
    for (n, frame) in workload.setup(&ledger).into_iter().chain(workload.frames(600)).enumerate() {
        model.submit(&frame, LogTime::from_micros(START.micros() + n as u64 * 10));
    }
    let log = LogUnderTest::of(&ledger, &model, RUN_EVENTS, 16);
    (ledger, model, log)
}

fn audit(log: &LogUnderTest) -> Verdict {
    check_log(log).expect("genesis is genesis")
}

fn first_bad(log: &LogUnderTest) -> Finding {
    let verdict = audit(log);
    verdict.first_bad().unwrap_or_else(|| panic!("nothing found: {verdict}")).clone()
}

fn entry(index: u64) -> Place {
    Place::Entry(Index::new(index))
}

/// The intruder: changes the records, then stores them again as well as can be without signing.
fn rewrite(log: &mut LogUnderTest, change: impl FnOnce(&mut Vec<Record>)) {
    let ledger = StoredRun::decode(log.runs[0].clone()).unwrap().header().ledger;
    let decode = |bytes: &Bytes| StoredRun::decode(bytes.clone()).unwrap().records().collect::<Vec<_>>();
    let mut records: Vec<Record> = log.runs.iter().flat_map(decode).collect();
    change(&mut records);
    log.runs.clear();
    let (mut previous, mut next) = (RunHash::ZERO, 1);
    for chunk in records.chunks(RUN_EVENTS) {
        let base = chunk.iter().map(|record| record.sequenced_at).min().unwrap();
        let mut run = RunBuilder::new(ledger, Epoch::new(1), Index::new(next), previous, base);
        for record in chunk {
            // A run cannot even hold falling times; the intruder stores them level.
            let Record { sequence, sequenced_at, public_key, frame, .. } = record;
            run.push(RecordIn { sequence: *sequence, sequenced_at: *sequenced_at, public_key: *public_key, frame })
                .unwrap();
        }
        let run = run.finish().unwrap();
        next += chunk.len() as u64;
        previous = run.hash;
        log.runs.push(run.bytes);
    }
}

/// Numbers every stream anew, so that no sequence tells.
fn resequence(records: &mut [Record]) {
    let mut heads: BTreeMap<Stream, Sequence> = BTreeMap::new();
    for record in records {
        let head = heads.entry(record.frame.stream()).or_default();
        *head = head.next();
        record.sequence = *head;
    }
}

/// The same, for what the intruder did, with and without tiles at hand: with them the entry is named, without them the
/// stretch between two signed roots that holds it.
fn intrusion(at: u64, rule: Rule, change: impl Fn(&mut Vec<Record>)) {
    let (_, _, mut log) = honest();
    rewrite(&mut log, &change);
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (entry(at), rule), "{found}");
    log.tiles = None;
    let found = first_bad(&log);
    match found.place {
        Place::Entry(index) => assert_eq!((index.get(), found.rule), (at, rule), "{found}"),
        Place::Range(from, to) => {
            assert_eq!(found.rule, Rule::CheckpointRoot);
            assert!((from.get()..to.get()).contains(&at) && to.get() - from.get() <= RUN_EVENTS as u64, "{found}");
        }
        Place::Commitment(..) => panic!("{found}"),
    }
}

fn with_payload(frame: &Frame, payload: &[u8]) -> Frame {
    Frame::from_parts(&frame.fields(), payload, frame.signature()).unwrap()
}

fn same_stream_pair(records: &[Record]) -> usize {
    (200..400).find(|&at| records[at].frame.stream() == records[at + 1].frame.stream()).unwrap()
}

#[test]
fn an_honest_log_is_clean() {
    let (_, model, log) = honest();
    let verdict = audit(&log);
    assert!(verdict.clean() && verdict.first_bad().is_none(), "{verdict}");
    assert_eq!((verdict.root, verdict.signed), (model.root(), Some(TreeSize::new(model.size() as u64))));
    let tally = verdict.tally;
    assert_eq!((tally.events, tally.signatures), (model.size() as u64 - 1, model.size() as u64 - 1));
    assert_eq!((tally.checkpoints, tally.runs, tally.tiles), (20, 20, 2));
    assert_eq!(tally.commitments, log.commitments.len() as u64);
    assert!(verdict.to_string().contains("clean: size 616"), "{verdict}");
}

#[test]
fn an_edited_payload_is_named() {
    intrusion(301, Rule::PayloadHash, |records| {
        records[300].frame = with_payload(&records[300].frame, br#"{"amount":1}"#);
    });
}

#[test]
fn an_edited_signed_field_is_named() {
    intrusion(301, Rule::AgentSignature, |records| {
        let frame = &records[300].frame;
        let mut fields = frame.fields();
        fields.entity_id = "ORD-99999".to_owned();
        records[300].frame = Frame::from_parts(&fields, frame.payload(), frame.signature()).unwrap();
    });
}

#[test]
fn an_edited_signature_is_named() {
    intrusion(301, Rule::AgentSignature, |records| {
        let frame = &records[300].frame;
        let signature = Signature::from_bytes([1; 64]);
        records[300].frame = Frame::from_parts(&frame.fields(), frame.payload(), signature).unwrap();
    });
}

#[test]
fn an_edited_log_time_is_named() {
    intrusion(301, Rule::TileDiffers, |records| {
        records[300].sequenced_at = LogTime::from_micros(records[300].sequenced_at.micros() + 1);
    });
}

#[test]
fn an_edited_key_is_named() {
    intrusion(301, Rule::KeyNotValid, |records| {
        records[300].public_key = tally_testkit::signing_key("stranger").public_key();
    });
}

#[test]
fn a_deleted_entry_is_named() {
    let (_, _, log) = honest();
    let run = StoredRun::decode(log.runs[9].clone()).unwrap();
    let stream = run.record(Index::new(301)).unwrap().frame.stream();
    // The gap shows where the stream goes on.
    let decode = |bytes: &Bytes| StoredRun::decode(bytes.clone()).unwrap().records().collect::<Vec<_>>();
    let all: Vec<Record> = log.runs.iter().flat_map(decode).collect();
    let goes_on = all[301..].iter().find(|record| record.frame.stream() == stream).unwrap().index.get() - 1;
    let mut deleted = log.clone();
    rewrite(&mut deleted, |records| drop(records.remove(300)));
    // The tiles name the place itself, the sequences the next event of the stream.
    assert_eq!(first_bad(&deleted).place, entry(301));
    deleted.tiles = None;
    deleted.checkpoints.clear();
    let found = first_bad(&deleted);
    assert_eq!((found.place, found.rule), (entry(goes_on), Rule::SequenceGap), "{found}");
    intrusion(301, Rule::TileDiffers, |records| {
        records.remove(300);
        resequence(records);
    });
}

#[test]
fn reordered_entries_are_named() {
    let (_, _, log) = honest();
    let mut at = 0;
    let mut reordered = log.clone();
    rewrite(&mut reordered, |records| {
        at = same_stream_pair(records);
        let times = (records[at].sequenced_at, records[at + 1].sequenced_at);
        records.swap(at, at + 1);
        (records[at].sequenced_at, records[at + 1].sequenced_at) = times;
    });
    let found = first_bad(&reordered);
    assert_eq!((found.place, found.rule), (entry(at as u64 + 1), Rule::SequenceGap), "{found}");
    // Of two streams, where no sequence tells.
    intrusion(301, Rule::TileDiffers, |records| {
        let other = (301..).find(|&at| records[at].frame.stream() != records[300].frame.stream()).unwrap();
        let times: Vec<LogTime> = records.iter().map(|record| record.sequenced_at).collect();
        records.swap(300, other);
        records.iter_mut().zip(times).for_each(|(record, time)| record.sequenced_at = time);
        resequence(records);
    });
}

#[test]
fn a_duplicated_entry_is_named() {
    let twice = |records: &mut Vec<Record>| {
        let copy = records[300].clone();
        records.insert(301, copy);
    };
    let (_, _, mut log) = honest();
    rewrite(&mut log, twice);
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (entry(302), Rule::SequenceGap), "{found}");
    rewrite(&mut log, |records| resequence(records));
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (entry(302), Rule::EventIdRepeated), "{found}");
}

#[test]
fn a_truncated_log_is_named() {
    for cut in [1, 5, 32, 400] {
        let (_, model, mut log) = honest();
        let end = model.size() - cut;
        rewrite(&mut log, |records| records.truncate(end - 1));
        log.commitments.clear();
        let found = first_bad(&log);
        assert_eq!((found.place, found.rule), (entry(end as u64), Rule::Truncated), "{found}");
    }
    let (_, _, mut log) = honest();
    log.runs.clear();
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (entry(1), Rule::Truncated), "{found}");
}

#[test]
fn a_missing_repeated_or_displaced_run_is_named() {
    let check = |change: fn(&mut Vec<Bytes>), place: u64| {
        let (_, _, mut log) = honest();
        change(&mut log.runs);
        let verdict = audit(&log);
        let found = verdict.first_bad().unwrap();
        assert_eq!((found.place, found.rule), (entry(place), Rule::IndexGap), "{verdict}");
    };
    check(|runs| drop(runs.remove(4)), 129);
    check(|runs| runs.insert(5, runs[4].clone()), 161);
    check(|runs| runs.swap(4, 5), 129);
    check(|runs| drop(runs.remove(0)), 1);
}

#[test]
fn a_run_of_another_chain_epoch_or_ledger_is_found() {
    let (_, model, log) = honest();
    let run_of = |ledger, epoch, previous: RunHash| {
        let run = StoredRun::decode(log.runs[4].clone()).unwrap();
        let mut builder =
            RunBuilder::new(ledger, Epoch::new(epoch), run.header().first_index, previous, run.header().base_time);
        for Record { sequence, sequenced_at, public_key, frame, .. } in run.records() {
            builder.push(RecordIn { sequence, sequenced_at, public_key, frame: &frame }).unwrap();
        }
        builder.finish().unwrap().bytes
    };
    let header = *StoredRun::decode(log.runs[4].clone()).unwrap().header();
    let rules = |run: Bytes| -> Vec<Rule> {
        let mut log = log.clone();
        log.runs[4] = run;
        audit(&log).findings.iter().map(|finding| finding.rule).collect()
    };
    assert_eq!(rules(run_of(header.ledger, 1, header.previous)), []);
    assert_eq!(rules(run_of(header.ledger, 1, RunHash::ZERO)), [Rule::RunChain, Rule::RunChain]);
    assert_eq!(rules(run_of(header.ledger, 0, header.previous)), [Rule::RunEpoch, Rule::RunChain]);
    // A later epoch is no fault in itself, but the runs after it would have to follow.
    assert_eq!(rules(run_of(header.ledger, 2, header.previous))[..2], [Rule::RunChain, Rule::RunEpoch]);
    let other = hash::LedgerId::ZERO;
    assert_eq!(rules(run_of(other, 1, header.previous)), [Rule::RunLedger, Rule::RunChain]);
    assert_eq!(model.size(), 616);
}

#[test]
fn a_flipped_bit_in_a_stored_run_is_found_in_that_run() {
    let (_, _, log) = honest();
    let mut rng = TestRng::new(3);
    for _ in 0..120 {
        let run = rng.below(log.runs.len() as u64) as usize;
        let mut damaged = log.clone();
        let mut bytes = log.runs[run].to_vec();
        let bit = rng.below(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged.runs[run] = bytes.into();
        let found = first_bad(&damaged);
        let (first, end) = (run as u64 * 32 + 1, run as u64 * 32 + 33);
        let inside = match found.place {
            Place::Entry(at) => (first..end).contains(&at.get()),
            // A header that names another first index or count may claim a longer stretch.
            Place::Range(from, _) => from.get() == first,
            Place::Commitment(..) => false,
        };
        assert!(inside, "run {run}, bit {bit}: {found}");
    }
}

#[test]
fn a_flipped_bit_in_a_payload_names_its_entry_in_spite_of_the_checksum() {
    let (_, model, log) = honest();
    for index in [16u64, 100, 301, 615] {
        let (frame, ..) = model.events().nth(index as usize - 1).unwrap();
        let (run, _) = log.locate(Index::new(index)).unwrap();
        let mut bytes = log.runs[run].to_vec();
        let at = bytes.windows(frame.bytes().len()).position(|window| window == &frame.bytes()[..]).unwrap();
        bytes[at + frame.bytes().len() - 70] ^= 1;
        let mut damaged = log.clone();
        damaged.runs[run] = bytes.into();
        let verdict = audit(&damaged);
        let found = verdict.first_bad().unwrap();
        assert_eq!((found.place, found.rule), (entry(index), Rule::PayloadHash), "{verdict}");
        assert!(verdict.findings.iter().any(|finding| finding.rule == Rule::RunBytes));
    }
}

#[test]
fn a_damaged_or_missing_tile_is_told_from_a_damaged_entry() {
    let (_, _, mut log) = honest();
    log.tiles.as_mut().unwrap().get_mut(&(0, 1)).unwrap()[32 * 7] ^= 1;
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (entry(256 + 7), Rule::TileDamaged), "{found}");
    log.tiles.as_mut().unwrap().remove(&(0, 0));
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (Place::Range(Index::new(0), Index::new(256)), Rule::TileMissing), "{found}");
    log.tiles.as_mut().unwrap().insert((0, 0), vec![0; 100]);
    assert_eq!(first_bad(&log).rule, Rule::TileDamaged);
    // A middle row behind the hashes is theirs or damaged, and one that is cut is damaged.
    let (_, model, mut log) = honest();
    let derived = tally_merkle::Edge::new().append(&model.leaves()).remove(1);
    let mut rowed = [&derived.bytes[..], &derived.middle_row[..]].concat();
    log.tiles.as_mut().unwrap().insert((0, 1), rowed.clone());
    assert!(audit(&log).clean());
    let whole = Place::Range(Index::new(256), Index::new(512));
    rowed[8192 + 99] ^= 1;
    log.tiles.as_mut().unwrap().insert((0, 1), rowed.clone());
    let found = first_bad(&log);
    assert_eq!((found.place, found.rule), (whole, Rule::TileDamaged), "{found}");
    rowed.truncate(8192 + 480);
    log.tiles.as_mut().unwrap().insert((0, 1), rowed);
    assert_eq!(first_bad(&log).place, whole);
    // Without a signed root over them, nobody can tell which of the two is wrong.
    let (_, _, mut log) = honest();
    log.checkpoints.clear();
    log.tiles.as_mut().unwrap().get_mut(&(0, 1)).unwrap()[32 * 7] ^= 1;
    assert_eq!(first_bad(&log).rule, Rule::TileDiffers);
}

#[test]
fn checkpoints_are_held_to_signature_root_and_length() {
    let (ledger, model, log) = honest();
    let root = |size: usize| model.root_at(size);
    let sign = |size: u64, root: RootHash| {
        let checkpoint = Checkpoint::new(&ledger.genesis.origin, TreeSize::new(size), root);
        SignedCheckpoint::sign(checkpoint, &[&ledger.receipt_key]).unwrap().note
    };
    let with = |note: String| {
        let mut log = log.clone();
        log.checkpoints.insert(3, note);
        first_bad(&log)
    };
    let mut forged = ledger.clone();
    forged.receipt_key = tally_testkit::signing_key("thief");
    assert_eq!(with(forged.sign(&model.leaves(), 70, false)).rule, Rule::CheckpointSignature);
    assert_eq!(with("not a note".to_owned()).rule, Rule::CheckpointSignature);
    let wrong = with(sign(70, root(71)));
    assert_eq!((wrong.rule, wrong.place), (Rule::CheckpointRoot, Place::Range(Index::new(65), Index::new(70))));
    assert_eq!(with(sign(65, root(64))).rule, Rule::TwoRoots);
    let longer = with(sign(700, root(600)));
    assert_eq!((longer.rule, longer.place), (Rule::Truncated, entry(616)));
    assert_eq!(with(sign(0, hash::empty_root())).rule, Rule::CheckpointRoot);
    // A checkpoint that holds is no finding, wherever it cuts the runs.
    let mut more = log.clone();
    more.checkpoints.extend((1..=616).step_by(3).map(|size| sign(size, root(size as usize))));
    let verdict = audit(&more);
    assert!(verdict.clean() && verdict.tally.checkpoints > 200, "{verdict}");
}

#[test]
fn a_checkpoint_must_be_signed_by_the_key_of_its_purpose_and_come_in_time() {
    let (ledger, model, log) = honest();
    let leaves = model.leaves();
    let rules = |note: &str, signed: Signed| {
        let mut audit = LogAudit::new(&log.genesis_entry).unwrap();
        audit.expect_checkpoint(note, signed);
        let verdict = audit.finish(&mut TestRng::new(1));
        verdict.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    let (online, published) = (ledger.sign(&leaves, 1, false), ledger.sign(&leaves, 1, true));
    assert_eq!(rules(&online, Signed::ByAny), []);
    assert_eq!(rules(&online, Signed::ForReceipts), []);
    assert_eq!(rules(&online, Signed::ForThePublic), [Rule::CheckpointSignature]);
    assert_eq!(rules(&published, Signed::ForThePublic), []);

    let mut rng = TestRng::new(1);
    let mut audit = LogAudit::new(&log.genesis_entry).unwrap();
    audit.push_run(&log.runs[0], &mut rng);
    assert_eq!(audit.size().get(), 33);
    audit.expect_checkpoint(&ledger.sign(&leaves, 33, false), Signed::ByAny);
    audit.expect_checkpoint(&ledger.sign(&leaves, 20, false), Signed::ByAny);
    let verdict = audit.finish(&mut rng);
    assert_eq!(verdict.signed, Some(TreeSize::new(33)));
    assert_eq!(verdict.findings.len(), 1);
    assert!(verdict.findings[0].why.contains("after the audit passed it"), "{verdict}");
}

#[test]
fn commitments_chain_without_gap_or_overlap_from_the_first_sequence_on() {
    let (ledger, _, log) = honest();
    assert!(log.commitments.len() > 12);
    let stream = log.commitments[0].stream;
    let again = |at: usize, first: u64, leaves: usize, root: VesNode, previous: StateRoot| {
        let made = log.commitments[at].committed_at;
        tally_protocol::batch::Commitment::new(&ledger.id(), stream, Sequence::new(first), leaves, root, previous, made)
            .unwrap()
    };
    let (first, second) = (&log.commitments[0], &log.commitments[1]);
    assert_eq!(second.stream, stream);
    let rule = |change: &dyn Fn(&mut Vec<tally_protocol::batch::Commitment>)| {
        let mut log = log.clone();
        log.commitments.retain(|commitment| commitment.stream == stream);
        change(&mut log.commitments);
        let found = first_bad(&log);
        assert!(matches!(found.place, Place::Commitment(named, _) if named == stream), "{found}");
        found.rule
    };
    assert_eq!(rule(&|all| all.retain(|one| one != first)), Rule::CommitmentChain);
    assert_eq!(rule(&|all| all.retain(|one| one != second)), Rule::CommitmentChain);
    assert_eq!(rule(&|all| all.swap(0, 1)), Rule::CommitmentChain);
    assert_eq!(rule(&|all| all.insert(1, first.clone())), Rule::CommitmentChain);
    let overlapping = again(1, 16, 16, second.merkle_root, first.new_state_root);
    assert_eq!(rule(&|all| all[1] = overlapping.clone()), Rule::CommitmentChain);
    let unbound = again(1, 17, 16, second.merkle_root, StateRoot::ZERO);
    assert_eq!(rule(&|all| all[1] = unbound.clone()), Rule::CommitmentChain);
    let mut renamed = first.clone();
    renamed.batch_id[0] ^= 1;
    assert_eq!(rule(&|all| all[0] = renamed.clone()), Rule::CommitmentChain);
    let other_root = again(0, 1, 16, second.merkle_root, StateRoot::ZERO);
    assert_eq!(
        rule(&|all| {
            all.truncate(1);
            all[0] = other_root.clone();
        }),
        Rule::CommitmentRoot
    );
    let beyond = again(0, 1, 5000, first.merkle_root, StateRoot::ZERO);
    assert_eq!(
        rule(&|all| {
            all.truncate(1);
            all[0] = beyond.clone();
        }),
        Rule::CommitmentRoot
    );
}

/// The dishonest operator: a tenant with one agent (entries 1 and 2), then what `write` puts into the log, then one
/// honest event; everything signed, all tiles right.
fn dishonest(write: impl FnOnce(&mut ReferenceLog, &TestLedger, &TestTenant, &TestAgent)) -> Verdict {
    let ledger = ledger();
    let (tenant, mut model) = (TestTenant::new(1), ReferenceLog::new(ledger.genesis.clone()));
    let agent = tenant.agent(1);
    model.submit(&ledger.create(&tenant, event_id(1), START), START);
    model.submit(&tenant.register(&agent, event_id(1), START), START);
    write(&mut model, &ledger, &tenant, &agent);
    let last = tenant.agent(7);
    model.submit(&tenant.register(&last, event_id(900), START), START);
    model.append_unjudged(&last.event(tenant.stream(9), event_id(901)).sign(), last.public_key(), START);
    audit(&LogUnderTest::of(&ledger, &model, 2, 1))
}

fn must_name(index: u64, rule: Rule, write: impl FnOnce(&mut ReferenceLog, &TestLedger, &TestTenant, &TestAgent)) {
    let verdict = dishonest(write);
    let found = verdict.first_bad().unwrap_or_else(|| panic!("{rule}: {verdict}"));
    assert_eq!((found.place, found.rule), (entry(index), rule), "{verdict}");
    assert!(verdict.signed.is_some(), "the operator signed it all");
}

fn at(seconds: u64) -> LogTime {
    LogTime::from_micros(START.micros() + seconds * 1_000_000)
}

#[test]
fn an_operator_that_writes_by_the_rules_is_clean() {
    let verdict = dishonest(|model, ledger, tenant, agent| {
        let managed = TestTenant::operator_managed(2);
        model.submit(&ledger.create(&managed, event_id(2), START), START);
        let mut by_operator = managed.clone();
        by_operator.root = TestAgent { tenant: managed.id, ..ledger.root.clone() };
        model.submit(&by_operator.register(&managed.agent(3), event_id(3), START), START);
        model.submit(&managed.agent(3).event(managed.stream(1), event_id(4)).sign(), START);
        model.submit(&tenant.rotate(&agent.successor(), at(5), event_id(5), START), at(1));
        model.submit(&agent.event(tenant.stream(1), event_id(6)).sign(), at(2));
        model.submit(&agent.successor().event(tenant.stream(1), event_id(7)).sign(), at(2));
        model.submit(&tenant.revoke(agent, event_id(8), START), at(3));
        let register = ControlEvent::AgentKeyRegistered {
            agent_id: ledger.root.id,
            key_id: KeyId::new(2),
            public_key: ledger.root.successor().public_key(),
            valid_from: None,
            valid_to: None,
        };
        model.submit(&ledger.root.control(Stream::LEDGER, &register, event_id(9), START), at(3));
        let third = TestTenant::new(3);
        let second_root = TestLedger { root: ledger.root.successor(), ..ledger.clone() };
        model.submit(&second_root.create(&third, event_id(10), START), at(3));
        assert_eq!(model.size(), 12, "every event above is in the log");
    });
    assert!(verdict.clean(), "{verdict}");
}

#[test]
fn events_under_keys_that_were_not_good_then_are_named() {
    let put = |model: &mut ReferenceLog, agent: &TestAgent, tenant: &TestTenant, n: u64, when: LogTime| {
        model.append_unjudged(&agent.event(tenant.stream(1), event_id(n)).sign(), agent.public_key(), when);
    };
    must_name(3, Rule::KeyNotValid, |model, _, tenant, _| put(model, &tenant.agent(2), tenant, 1, START));
    must_name(3, Rule::KeyNotValid, |model, _, tenant, agent| put(model, &agent.successor(), tenant, 1, START));
    must_name(5, Rule::KeyNotValid, |model, _, tenant, agent| {
        put(model, agent, tenant, 1, at(1));
        model.submit(&tenant.revoke(agent, event_id(2), START), at(1));
        put(model, agent, tenant, 2, at(1));
    });
    must_name(6, Rule::KeyNotValid, |model, _, tenant, agent| {
        model.submit(&tenant.expire(agent, at(9), event_id(2), START), at(1));
        put(model, agent, tenant, 1, at(8));
        put(model, agent, tenant, 2, LogTime::from_micros(at(9).micros() - 1));
        put(model, agent, tenant, 3, at(9));
    });
    must_name(4, Rule::KeyNotValid, |model, _, tenant, _| {
        let late = tenant.agent(3);
        model.submit(&tenant.register_in_window(&late, (Some(at(60)), None), event_id(2), START), START);
        put(model, &late, tenant, 1, at(59));
    });
    must_name(5, Rule::KeyNotValid, |model, _, tenant, agent| {
        model.submit(&tenant.rotate(&agent.successor(), at(9), event_id(2), START), START);
        put(model, &agent.successor(), tenant, 1, at(9));
        put(model, agent, tenant, 2, at(9));
    });
    // The right agent, but the stored key is somebody's own.
    must_name(3, Rule::KeyNotValid, |model, _, tenant, agent| {
        let thief = TestAgent { key: tally_testkit::signing_key("thief"), ..agent.clone() };
        put(model, &thief, tenant, 1, START);
    });
}

#[test]
fn control_events_without_right_or_against_the_state_are_named() {
    must_name(3, Rule::KeyNotValid, |model, _, tenant, agent| {
        let mut usurper = tenant.clone();
        usurper.root = agent.clone();
        let frame = usurper.register(&tenant.agent(2), event_id(2), START);
        model.append_unjudged(&frame, agent.public_key(), START);
    });
    must_name(3, Rule::KeyNotValid, |model, ledger, tenant, _| {
        // The ledger's root agent in the stream of a tenant that manages itself.
        let mut usurper = tenant.clone();
        usurper.root = TestAgent { tenant: tenant.id, ..ledger.root.clone() };
        let frame = usurper.register(&tenant.agent(2), event_id(2), START);
        model.append_unjudged(&frame, ledger.root.public_key(), START);
    });
    must_name(3, Rule::ControlRefused, |model, ledger, tenant, _| {
        model.append_unjudged(&ledger.create(tenant, event_id(2), START), ledger.root.public_key(), START);
    });
    must_name(3, Rule::ControlRefused, |model, _, tenant, agent| {
        let skipping = agent.successor().successor();
        let frame = tenant.register(&skipping, event_id(2), START);
        model.append_unjudged(&frame, tenant.root.public_key(), START);
    });
    must_name(4, Rule::ControlRefused, |model, _, tenant, agent| {
        model.submit(&tenant.expire(agent, at(5), event_id(2), START), START);
        let longer = tenant.expire(agent, at(6), event_id(3), START);
        model.append_unjudged(&longer, tenant.root.public_key(), START);
    });
    must_name(4, Rule::ControlRefused, |model, _, tenant, agent| {
        model.submit(&tenant.revoke(agent, event_id(2), START), START);
        let again = tenant.revoke(agent, event_id(3), START);
        model.append_unjudged(&again, tenant.root.public_key(), START);
    });
    must_name(3, Rule::ControlRefused, |model, _, tenant, _| {
        let unknown = tenant.root.event(Stream::control(tenant.id), event_id(2)).of_type("tally.unheard").sign();
        model.append_unjudged(&unknown, tenant.root.public_key(), START);
    });
    must_name(3, Rule::ControlRefused, |model, _, tenant, agent| {
        let reserved = agent.event(tenant.stream(1), event_id(2)).of_type("tally.agent_key.revoked").sign();
        model.append_unjudged(&reserved, agent.public_key(), START);
    });
}

/// The list of store 1.
fn list(tenant: &TestTenant, types: &[&str]) -> ControlEvent {
    let entity_types = types.iter().map(|name| (*name).to_owned()).collect();
    ControlEvent::EntityTypesSet { store_id: tenant.stream(1).store, entity_types }
}

/// An event about this type in store 1, whatever the rules say.
fn put_about(model: &mut ReferenceLog, (agent, tenant): (&TestAgent, &TestTenant), n: u64, entity_type: &str) {
    let frame = agent.event(tenant.stream(1), event_id(n)).about(entity_type, "1").sign();
    model.append_unjudged(&frame, agent.public_key(), START);
}

#[test]
fn an_entity_type_that_the_list_does_not_name_is_named() {
    must_name(5, Rule::EntityTypeUnknown, |model, _, tenant, agent| {
        model.submit(&tenant.control(&list(tenant, &["item", "order"]), event_id(2), START), START);
        put_about(model, (agent, tenant), 3, "order");
        put_about(model, (agent, tenant), 4, "parcel");
    });
    // Taken back, or set anew: from then on, and not before.
    must_name(8, Rule::EntityTypeUnknown, |model, _, tenant, agent| {
        let store_id = tenant.stream(1).store;
        put_about(model, (agent, tenant), 1, "parcel");
        model.submit(&tenant.control(&list(tenant, &[]), event_id(2), START), START);
        model.submit(&tenant.control(&ControlEvent::EntityTypesLifted { store_id }, event_id(3), START), START);
        put_about(model, (agent, tenant), 4, "parcel");
        model.submit(&tenant.control(&list(tenant, &["order"]), event_id(5), START), START);
        put_about(model, (agent, tenant), 6, "parcel");
    });
    // Another store's list is none of this store's.
    let verdict = dishonest(|model, _, tenant, agent| {
        let store_id = tenant.stream(2).store;
        let other = ControlEvent::EntityTypesSet { store_id, entity_types: BTreeSet::new() };
        model.submit(&tenant.control(&other, event_id(2), START), START);
        put_about(model, (agent, tenant), 3, "parcel");
    });
    assert!(verdict.clean(), "{verdict}");
    must_name(3, Rule::ControlRefused, |model, ledger, tenant, _| {
        let frame = ledger.root.control(Stream::LEDGER, &list(tenant, &["order"]), event_id(2), START);
        model.append_unjudged(&frame, ledger.root.public_key(), START);
    });
}

/// The agents of a tenant with their first keys.
struct FirstKeys<'t>(&'t TestTenant);

impl Agents for FirstKeys<'_> {
    fn valid_key(&self, _: &Stream, agent: AgentId, _: KeyId, _: LogTime) -> Option<PublicKey> {
        (1..9).map(|n| self.0.agent(n)).find(|known| known.id == agent).map(|known| known.public_key())
    }

    fn is_root(&self, _: &Stream, agent: AgentId) -> bool {
        agent == self.0.root.id
    }
}

/// Writes the life of a plugin that brings `parcel` to store 1: registers its reviewer, publishes and approves it, and
/// installs it, granted or not. Five entries; gives the register.
fn install(model: &mut ReferenceLog, ledger: &TestLedger, tenant: &TestTenant, granted: bool) -> PluginRegister {
    let (publisher, reviewer, registry) = (tenant.agent(1), tenant.agent(2), Stream::control(tenant.id));
    model.submit(&tenant.register(&reviewer, event_id(50), START), START);
    model.submit(&tenant.control(&list(tenant, &["order"]), event_id(51), START), START);
    let mut register = PluginRegister::new(ledger.id());
    let permissions = BTreeSet::from(["entity:parcel".to_owned()]);
    let release = Release {
        plugin: PluginId::new("shipping").unwrap(),
        version: Version::new(1, 0, 0),
        module: hash::module(b"module"),
        manifest: hash::manifest(b"{}"),
        abi: 1,
        state_version: 1,
        permissions: permissions.clone(),
        limits: BTreeMap::new(),
        price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    };
    let (release_hash, id, first) = (release.hash(), release.plugin.clone(), KeyId::new(1));
    let signed = attest(&release_hash, publisher.id, first, START, &publisher.key).unwrap();
    let submission = Submission { release, release_hash, publisher: signed, previous: register.head(&registry, &id) };
    write_plugin(model, tenant, &mut register, 52, &PluginEvent::Submitted(submission));
    let review = Review {
        plugin: id.clone(),
        version: Version::new(1, 0, 0),
        release: release_hash,
        decision: Decision::Approved,
        overrides: false,
        report: ReportHash::from_bytes([4; 32]),
        blocking: 0,
        reason: "read it".to_owned(),
        previous: register.head(&registry, &id),
    };
    let signed = review.sign(reviewer.id, first, START, &reviewer.key).unwrap();
    write_plugin(model, tenant, &mut register, 53, &PluginEvent::Reviewed { review, reviewer: signed });
    let binding = Binding {
        store_id: tenant.stream(1).store,
        previous: register.head(&tenant.stream(1), &id),
        plugin: id,
        registry: Registry::Tenant,
        version: Version::new(1, 0, 0),
        release: release_hash,
        module: hash::module(b"module"),
        profile: ProfileId::from_bytes([6; 32]),
        state_version: 1,
        granted: if granted { permissions } else { BTreeSet::new() },
        limits: BTreeMap::new(),
        config: Config::empty(),
        rollback: false,
    };
    write_plugin(model, tenant, &mut register, 54, &PluginEvent::Installed(binding));
    register
}

fn write_plugin(
    model: &mut ReferenceLog,
    tenant: &TestTenant,
    register: &mut PluginRegister,
    n: u64,
    event: &PluginEvent,
) {
    let stream = Stream::control(tenant.id);
    let at = Moment { stream, actor: tenant.root.id, index: Index::new(model.size() as u64), now: START };
    register.apply(&at, event, &FirstKeys(tenant)).unwrap();
    let (kind, id) = event.entity();
    let draft = tenant.root.event(stream, event_id(n)).of_type(event.event_type()).about(kind, &id);
    model.append_unjudged(&draft.payload(&event.payload()).sign(), tenant.root.public_key(), START);
}

#[test]
fn an_entity_type_is_a_plugin_s_to_bring_only_while_it_runs_with_the_grant() {
    must_name(8, Rule::EntityTypeUnknown, |model, ledger, tenant, agent| {
        install(model, ledger, tenant, false);
        put_about(model, (agent, tenant), 60, "parcel");
    });
    must_name(9, Rule::EntityTypeUnknown, |model, ledger, tenant, agent| {
        install(model, ledger, tenant, true);
        put_about(model, (agent, tenant), 60, "parcel");
        put_about(model, (agent, tenant), 61, "crate");
    });
    let ended = |end: fn(PluginEvent) -> PluginEvent| {
        must_name(10, Rule::EntityTypeUnknown, |model, ledger, tenant, agent| {
            let mut register = install(model, ledger, tenant, true);
            put_about(model, (agent, tenant), 60, "parcel");
            let (stream, plugin) = (tenant.stream(1), PluginId::new("shipping").unwrap());
            let previous = register.head(&stream, &plugin);
            let (store_id, reason) = (stream.store, "enough".to_owned());
            let removed = PluginEvent::Removed { store_id, plugin, reason, previous };
            write_plugin(model, tenant, &mut register, 61, &end(removed));
            put_about(model, (agent, tenant), 62, "parcel");
        });
    };
    ended(|removed| removed);
    ended(|removed| match removed {
        PluginEvent::Removed { store_id, plugin, reason, previous } => {
            PluginEvent::Quarantined { store_id, plugin, reason, previous }
        }
        other => other,
    });
}

#[test]
fn events_that_break_their_own_rules_are_named_though_all_is_signed() {
    must_name(4, Rule::EventIdRepeated, |model, _, tenant, agent| {
        let order = agent.event(tenant.stream(1), event_id(5)).sign();
        model.append_unjudged(&order, agent.public_key(), START);
        model.append_unjudged(&order, agent.public_key(), START);
    });
    must_name(3, Rule::CreatedAhead, |model, _, tenant, agent| {
        let ahead = agent.event(tenant.stream(1), event_id(5)).created_at(at(3700)).sign();
        model.append_unjudged(&ahead, agent.public_key(), START);
    });
    must_name(3, Rule::CreatedAhead, |model, _, tenant, agent| {
        let timeless = agent.event(tenant.stream(1), event_id(5)).created_at_text("yesterday").sign();
        model.append_unjudged(&timeless, agent.public_key(), START);
    });
    must_name(3, Rule::PayloadHash, |model, _, tenant, agent| {
        let order = agent.event(tenant.stream(1), event_id(5)).sign();
        model.append_unjudged(&with_payload(&order, b"[]"), agent.public_key(), START);
    });
    must_name(3, Rule::AgentSignature, |model, _, tenant, agent| {
        let invented = agent.event(tenant.stream(1), event_id(5)).sign_as(Signature::from_bytes([3; 64]));
        model.append_unjudged(&invented, agent.public_key(), START);
    });
}

#[test]
fn the_audit_takes_events_one_by_one_too() {
    let (_, model, log) = honest();
    let mut rng = TestRng::new(5);
    let mut audit = LogAudit::new(&log.genesis_entry).unwrap();
    log.checkpoints.iter().for_each(|note| audit.expect_checkpoint(note, Signed::ByAny));
    for (frame, public_key, place) in model.events() {
        let record = record(frame, public_key, place);
        audit.push_event(&record, &mut rng);
    }
    let verdict = audit.finish(&mut rng);
    assert!(verdict.clean() && verdict.root == model.root(), "{verdict}");
}

fn record(frame: &Frame, public_key: PublicKey, place: tally_testkit::Placement) -> Record {
    let tally_testkit::Placement { index, sequence, sequenced_at, .. } = place;
    Record { index, sequence, sequenced_at, public_key, frame: frame.clone() }
}

#[test]
fn findings_are_bounded() {
    let (_, _, mut log) = honest();
    rewrite(&mut log, |records| {
        for record in records.iter_mut() {
            record.frame = with_payload(&record.frame, b"[]");
        }
    });
    let verdict = audit(&log);
    assert_eq!(verdict.findings.len(), 256);
    assert!(verdict.dropped > 300);
}
