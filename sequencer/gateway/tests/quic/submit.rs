//! Events in, proofs out: batches, order, duplicates after a lost connection, refusals, the window, the drain.

use std::collections::BTreeSet;
use std::time::Duration;

use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_merkle::{paths_of_multiproof, root_of_multiproof};
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::hash::LeafHash;
use tally_protocol::id::Index;
use tally_protocol::quic::{CloseCode, Fate, Kind, ToClient};
use tally_verify::{Bundle, Ledger, Placed, TrustRoot, verify_receipt};

use crate::common::TestServer;
use crate::door::{Answer, Door, DoorSetup};

/// What a client does with an outcome: every placed event's leaf, the multiproof to the signed root, and each event's own
/// receipt as an offline bundle. Gives the indexes.
fn prove(server: &TestServer, ledger: &Ledger, frames: &[Frame], answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.outcome.events(), frames.len());
    let (mut leaves, mut places): (Vec<(Index, LeafHash)>, _) = (Vec::new(), Vec::new());
    for (frame, fate) in frames.iter().zip(answer.outcome.fates()) {
        let Fate::Placed { index, sequence, sequenced_at } = fate else { panic!("{fate:?}") };
        let tenant = server.tenants.iter().find(|tenant| tenant.id == frame.tenant_id()).unwrap();
        let agent = [1, 2].map(|n| tenant.agent(n)).into_iter().find(|agent| agent.id == frame.agent_id()).unwrap();
        let public_key = agent.public_key();
        let placed = Placed { index, sequence, sequenced_at, public_key };
        leaves.push((index, placed.entry_of(frame).leaf_hash()));
        places.push(placed);
    }
    let note = answer.note(answer.outcome.checkpoint().unwrap());
    let checkpoint = ledger.open_checkpoint(note).unwrap();
    let proof = answer.outcome.proof();
    assert_eq!(root_of_multiproof(&leaves, checkpoint.size, proof).unwrap(), checkpoint.root);
    let paths = paths_of_multiproof(&leaves, checkpoint.size, proof).unwrap();
    for (((frame, placed), path), (_, leaf)) in frames.iter().zip(&places).zip(paths).zip(&leaves) {
        verify_receipt(frame, placed, leaf, &path, &checkpoint).unwrap();
        let bundle = Bundle::assemble(ledger, frame, placed, path, note.to_owned());
        let report = Bundle::decode(&bundle.encode()).unwrap().verify(&TrustRoot::ledger(server.ledger.id()));
        assert!(report.first_failure().is_none());
    }
    places.iter().map(|placed| placed.index.get()).collect()
}

fn ledger(door: &Door) -> Ledger {
    Ledger::from_genesis(&door.server.ledger.genesis.encode()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_comes_back_with_its_places_and_one_proof_that_holds_offline() {
    let door = Door::new().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    let session = door.session(&key).await;
    assert_eq!(session.welcome.ledger_id(), door.server.ledger.id());
    let frames: Vec<Frame> = (0..500).map(|n| door.server.event(&format!("{{\"n\":{n}}}"))).collect();
    let answer = session.submit(&frames).await.unwrap();
    let indexes = prove(&door.server, &ledger(&door), &frames, &answer);
    assert!(indexes.is_sorted());
    assert_eq!(answer.outcome.spans().len(), 1, "a batch of one stream is one span");
    assert!(answer.outcome.proof().len() < 40, "the shared part of the paths travels once");
    // Two stores alternate: more spans, still one proof.
    let mixed: Vec<Frame> =
        (0..40).map(|n| door.server.event_of(&door.server.tenants[0], n % 2 + 1, 1, "{}")).collect();
    let answer = session.submit(&mixed).await.unwrap();
    prove(&door.server, &ledger(&door), &mixed, &answer);
    assert_eq!(door.metric("quic_events_total").await, 540);
    assert_eq!(door.metric("quic_submissions_total").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_submissions_are_in_flight_and_those_of_a_stream_keep_their_order() {
    let door = Door::new().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    let ledger = ledger(&door);
    let mut all = BTreeSet::new();
    let mut lanes = Vec::new();
    for _ in 0..4 {
        let mut lane = session.stream().await;
        let mut sent = Vec::new();
        for _ in 0..50 {
            let frames = [door.server.event("{}"), door.server.event("{\"a\":1}")];
            sent.push((lane.submit(&frames).await, frames));
        }
        lane.send.finish().unwrap();
        lanes.push((lane, sent));
    }
    for (mut lane, sent) in lanes {
        let mut last = 0;
        for (number, frames) in sent {
            let answer = lane.answer().await.unwrap();
            assert_eq!(answer.outcome.number, number);
            for index in prove(&door.server, &ledger, &frames, &answer) {
                assert!(index > last, "submissions of one stream are taken in order");
                last = index;
                all.insert(index);
            }
        }
        assert!(lane.try_answer().await.is_none(), "the stream ends when all is answered");
    }
    assert_eq!(all.len(), 400);
}

/// S-008 over a lost connection: nothing acknowledged is lost, nothing is placed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_loses_nothing_and_the_same_frames_get_the_same_places() {
    let door = Door::new().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    let batches: Vec<Vec<Frame>> =
        (0..20).map(|n| (0..10).map(|m| door.server.event(&format!("[{n},{m}]"))).collect()).collect();
    let session = door.session(&key).await;
    let mut lane = session.stream().await;
    for batch in &batches {
        lane.submit(batch).await;
    }
    // One answer is read, so some submissions are in; then the connection breaks off.
    let first = lane.answer().await.unwrap();
    session.line.connection.close(0u32.into(), b"");
    drop((lane, session));
    let session = door.session(&key).await;
    let ledger = ledger(&door);
    let mut places: Vec<Vec<Option<u64>>> = Vec::new();
    for batch in &batches {
        places.push(session.submit(batch).await.unwrap().indexes());
    }
    assert_eq!(places[0], first.indexes());
    // Once more, on another connection: duplicates, each with its first place and a proof of its own.
    let session = door.session(&key).await;
    for (batch, places) in batches.iter().zip(&places) {
        let answer = session.submit(batch).await.unwrap();
        assert_eq!(&answer.indexes(), places);
        assert!(answer.outcome.proof().is_empty() && answer.outcome.checkpoint().is_none());
        for (frame, fate) in batch.iter().zip(answer.outcome.fates()) {
            let Fate::Duplicate(found) = fate else { panic!("{fate:?}") };
            let public_key = door.server.tenants[0].agent(1).public_key();
            let placed =
                Placed { index: found.index, sequence: found.sequence, sequenced_at: found.sequenced_at, public_key };
            let checkpoint = ledger.open_checkpoint(answer.note(found.checkpoint)).unwrap();
            let leaf = placed.entry_of(frame).leaf_hash();
            verify_receipt(frame, &placed, &leaf, &found.path, &checkpoint).unwrap();
        }
    }
    let all: BTreeSet<u64> = places.into_iter().flatten().flatten().collect();
    assert_eq!(all.len(), 200);
    assert_eq!(all.last().unwrap() - all.first().unwrap(), 199, "nothing is in the log twice");
}

/// S-012 over QUIC.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_never_changes_the_fate_of_its_neighbours() {
    let door = Door::new().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    let (first, last) = (door.server.event("{}"), door.server.event("{}"));
    let mut unsigned = door.server.event("{\"n\":1}").bytes().to_vec();
    *unsigned.last_mut().unwrap() ^= 1;
    let mut malformed = door.server.event("{\"n\":2}").bytes().to_vec();
    malformed[4] ^= 1;
    let mut body = 9u64.to_be_bytes().to_vec();
    body.extend_from_slice(&5u16.to_be_bytes());
    for frame in [first.bytes(), &unsigned[..], &malformed[..], last.bytes(), first.bytes()] {
        body.extend_from_slice(frame);
    }
    let mut lane = session.stream().await;
    lane.raw(Kind::Submit, &body).await;
    let answer = lane.answer().await.unwrap();
    let codes: Vec<Option<RejectCode>> = answer
        .outcome
        .fates()
        .map(|fate| match fate {
            Fate::Rejected(rejection) => Some(rejection.code),
            _ => None,
        })
        .collect();
    let bad = [None, Some(RejectCode::InvalidSignature), Some(RejectCode::SchemaValidation), None, None];
    assert_eq!(codes, bad);
    let fates: Vec<Fate<'_>> = answer.outcome.fates().collect();
    assert!(matches!(fates[4], Fate::Duplicate(found) if Some(found.index.get()) == answer.indexes()[0]));
    // Only malformed ones: an answer all the same.
    let mut body = 10u64.to_be_bytes().to_vec();
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&malformed);
    lane.raw(Kind::Submit, &body).await;
    assert_eq!(lane.answer().await.unwrap().indexes(), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_than_the_door_takes_are_refused_and_the_stream_goes_on() {
    let mut setup = DoorSetup::new();
    setup.limits.submit_bytes_max = 2000;
    let door = setup.start().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    assert_eq!(session.welcome.submit_bytes_max, 2000);
    let mut lane = session.stream().await;
    let many: Vec<Frame> = (0..20).map(|_| door.server.event("{}")).collect();
    lane.submit(&many).await;
    let refused = lane.answer().await.unwrap_err();
    assert_eq!((refused.number, refused.code), (1, ErrorCode::PayloadTooLarge.numeric_code()));
    lane.submit(&many[..1]).await;
    assert!(lane.answer().await.is_ok());
}

/// Backpressure: what is not answered for is bounded by the window, and the rest waits with the client.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_than_the_callers_window_holds() {
    let mut setup = DoorSetup::new();
    setup.limits.window_bytes = 64 << 10;
    setup.limits.submit_bytes_max = 32 << 10;
    setup.limits.receive_window_bytes = 64 << 10;
    let door = setup.start().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    door.server.engine.faults().hold_syncs();
    let payload = format!("{{\"x\":\"{}\"}}", "y".repeat(20_000));
    let frames: Vec<Frame> = (0..40).map(|_| door.server.event(&payload)).collect();
    let mut lane = session.stream().await;
    let (number, total) = (frames.len(), frames.iter().map(|frame| frame.bytes().len()).sum::<usize>());
    let mut writing = Box::pin(async {
        for frame in &frames {
            lane.submit(std::slice::from_ref(frame)).await;
        }
        lane
    });
    let stuck = tokio::time::timeout(Duration::from_millis(500), &mut writing).await;
    assert!(stuck.is_err(), "the client must be made to wait");
    let read = door.metric("quic_submission_bytes_total").await;
    assert!(read <= 64 << 10, "{read} of {total} bytes were read");
    door.server.engine.faults().release_syncs();
    let mut lane = writing.await;
    for _ in 0..number {
        assert!(lane.answer().await.is_ok());
    }
}

/// What was read before the drain is answered; nothing new is taken; the connection ends with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_was_read_and_says_goodbye() {
    let door = Door::new().await;
    let mut session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    door.server.engine.faults().hold_syncs();
    let frames = [door.server.event("{}"), door.server.event("{}")];
    let mut lane = session.stream().await;
    lane.submit(&frames).await;
    while door.metric("quic_submissions_total").await == 0 {
        tokio::task::yield_now().await;
    }
    let served = door.stop();
    let Some(ToClient::GoAway(away)) = session.control.next().await else { panic!("a farewell") };
    assert_eq!(away.code, ErrorCode::Draining.numeric_code());
    assert!(door.connect_with(door.tls()).await.is_err(), "nobody is let in any more");
    door.server.engine.faults().release_syncs();
    let answer = lane.answer().await.unwrap();
    prove(&door.server, &ledger(&door), &frames, &answer);
    assert!(lane.try_answer().await.is_none());
    assert_eq!(session.line.closed().await, Some(CloseCode::Draining));
    served.await.unwrap();
}

/// An outcome that nobody knows says so, with the same code as over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_core_leaves_the_outcome_unknown_and_then_refuses() {
    let mut setup = DoorSetup::new();
    setup.http = setup.http.without_publishing();
    let door = setup.start().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    door.server.engine.faults().fail_sync(1);
    let frame = [door.server.event("{}")];
    let unknown = session.submit(&frame).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::OutcomeUnknown.numeric_code());
    let refused = session.submit(&frame).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Poisoned.numeric_code());
    let http = door.server.submit(&door.server.operator(), &frame).await;
    assert_eq!(http.error(), "POISONED");
}
