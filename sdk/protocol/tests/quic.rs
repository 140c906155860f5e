//! Messages of the QUIC door: whatever is written reads back as it was, whatever reads is what would be written, also
//! under mutation and cut at every byte; and the bounds that a hostile side would like to pass.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index as At;
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{EventFields, Frame, FrameError};
use tally_protocol::hash::NodeHash;
use tally_protocol::id::{AgentId, EventId, Index, KeyId, Sequence, StoreId, Stream, TenantId, TreeSize};
use tally_protocol::key::{PublicKey, Signature, SigningKey};
use tally_protocol::quic::{
    CheckpointNote, Duplicate, EventsBuilder, Fate, Follow, FollowFrom, GoAway, HEAD_BYTES, Head, Heartbeat, Hello,
    Kind, MessageError, Outcome, Refused, Rejection, SUBMIT_HEAD_BYTES, Span, Submit, ToClient, ToServer, Welcome,
};
use tally_protocol::time::LogTime;

fn frame(number: u8, payload: &[u8]) -> Frame {
    let stream = Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
    let id = EventId::from_bytes([number; 16]);
    let agent = AgentId::from_bytes([3; 16]);
    let fields = EventFields::plain(
        stream,
        id,
        (agent, KeyId::new(1)),
        ("order", "ORD-1"),
        "order.created",
        "2026-01-02T03:04:05Z",
        payload,
    );
    Frame::from_parts(&fields, payload, Signature::from_bytes([9; 64])).unwrap()
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((any::<u8>(), payload).prop_map(|(number, payload)| frame(number, &payload)), 1..6)
}

fn hashes(max: usize) -> impl Strategy<Value = Vec<NodeHash>> {
    prop::collection::vec(any::<[u8; 32]>().prop_map(NodeHash::from_bytes), 0..max)
}

fn time() -> impl Strategy<Value = LogTime> {
    any::<u64>().prop_map(LogTime::from_micros)
}

/// What is pushed for one event; places rise by the gap.
#[derive(Debug, Clone)]
enum Push {
    Placed { gap: u8, sequence: u16, later: u8 },
    Duplicate(Duplicate),
    Rejected(Reject),
}

fn push() -> impl Strategy<Value = Push> {
    let duplicate =
        (1u64.., 1u64.., time(), 1u32.., hashes(5)).prop_map(|(index, sequence, sequenced_at, checkpoint, path)| {
            let (index, sequence) = (Index::new(index.min(u64::MAX - 1)), Sequence::new(sequence.min(u64::MAX - 1)));
            Push::Duplicate(Duplicate { index, sequence, sequenced_at, checkpoint, path })
        });
    let fields = prop::sample::select(vec![None, Some("payload"), Some("created_at")]);
    let rejected = (prop::sample::select(RejectCode::ALL.to_vec()), "[ -~é]{0,40}", fields)
        .prop_map(|(code, message, field)| Push::Rejected(Reject { code, message, field }));
    prop_oneof![
        4 => (0u8..2, 1u16..4, 0u8..2)
            .prop_map(|(gap, sequence, later)| Push::Placed { gap, sequence, later }),
        1 => duplicate,
        1 => rejected,
    ]
}

prop_compose! {
    fn outcome()(
        number: u64, first in 1u64..1000, at in 0u64..1000, checkpoint in 1u32.., proof in hashes(8),
        pushes in prop::collection::vec(push(), 1..12),
    ) -> Outcome {
        let mut outcome = Outcome::new(number);
        let (mut index, mut time, mut placed) = (first, at, false);
        for push in &pushes {
            match push {
                Push::Placed { gap, sequence, later } => {
                    index += u64::from(*gap);
                    time += u64::from(*later);
                    let sequence = Sequence::new(u64::from(*sequence));
                    outcome.push_placed(Index::new(index), sequence, LogTime::from_micros(time));
                    (index, placed) = (index + 1, true);
                }
                Push::Duplicate(duplicate) => outcome.push_duplicate(duplicate.clone()),
                Push::Rejected(reject) => outcome.push_rejected(Rejection::from(reject)),
            }
        }
        if placed {
            outcome.certify(checkpoint, proof);
        }
        outcome
    }
}

fn genesis() -> Genesis {
    let key = |seed| SigningKey::from_seed([seed; 32]).public_key();
    Genesis {
        origin: "log.example/one".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: LogTime::from_micros(1),
        nonce: [4; 16],
        checkpoint_key: key(1),
        receipt_key: key(2),
        root_agent: AgentId::from_bytes([5; 16]),
        root_key: key(3),
    }
}

fn to_server() -> impl Strategy<Value = ToServer> {
    let filter = prop::option::of((any::<[u8; 16]>(), prop::option::of(any::<[u8; 16]>())));
    prop_oneof![
        "[!-~]{0,60}".prop_map(|key| ToServer::Hello(Hello::new(&key).unwrap())),
        (any::<u64>(), frames()).prop_map(|(number, frames)| ToServer::Submit(Submit::new(number, &frames).unwrap())),
        (any::<u64>(), filter).prop_map(|(from, filter)| {
            let from = if from == u64::MAX { FollowFrom::Now } else { FollowFrom::Index(Index::new(from)) };
            let filter = filter.map(|(tenant, store)| (TenantId::from_bytes(tenant), store.map(StoreId::from_bytes)));
            ToServer::Follow(Follow { from, filter })
        }),
    ]
}

fn events() -> impl Strategy<Value = Vec<u8>> {
    (1u64..1000, frames(), any::<[u8; 32]>(), 0u64..5).prop_map(|(first, frames, key, more)| {
        let mut builder = EventsBuilder::new();
        let mut index = first;
        for frame in &frames {
            assert!(builder.fits(frame.bytes().len()));
            let place = (Index::new(index), Sequence::new(index), LogTime::from_micros(index));
            builder.push(place.0, place.1, place.2, &PublicKey::from_bytes(key), frame);
            index += 1;
        }
        builder.finish(Index::new(index), TreeSize::new(index + more))
    })
}

/// Messages as they travel.
fn to_client() -> impl Strategy<Value = Vec<u8>> {
    let written = |message: ToClient| {
        let mut out = Vec::new();
        message.write(&mut out);
        out
    };
    let number = any::<u64>();
    prop_oneof![
        (10u64.., 1u32..10, 1u16..1000, 1u16.., any::<u16>()).prop_map(
            move |(window_bytes, submit_bytes_max, submit_events_max, streams_max, feeds_max)| {
                let genesis = genesis();
                written(ToClient::Welcome(Box::new(Welcome {
                    genesis,
                    window_bytes,
                    submit_bytes_max,
                    submit_events_max,
                    streams_max,
                    feeds_max,
                })))
            }
        ),
        (number, any::<u32>(), any::<u32>(), "[ -~é]{0,40}").prop_map(move |(number, code, after, text)| written(
            ToClient::Refused(Refused::new(number, code, after, &text))
        )),
        (1u32.., "[ -~\n]{1,200}")
            .prop_map(move |(id, note)| written(ToClient::Checkpoint(CheckpointNote::new(id, &note).unwrap()))),
        outcome().prop_map(move |outcome| {
            outcome.check().unwrap();
            written(ToClient::Outcome(outcome))
        }),
        events(),
        (any::<u64>(), any::<u64>()).prop_map(move |(next, size)| written(ToClient::Heartbeat(Heartbeat {
            next: Index::new(next),
            size: TreeSize::new(size),
        }))),
        (any::<u32>(), "[ -~é]{0,40}")
            .prop_map(move |(code, text)| written(ToClient::GoAway(GoAway::new(code, &text)))),
    ]
}

/// Reads a message of either side and writes it again.
fn again(bytes: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut left = Bytes::copy_from_slice(bytes);
    let (kind, body) = Head::take(&mut left)?.ok_or(MessageError::Truncated)?;
    let mut out = Vec::new();
    match ToServer::decode(kind, body.clone()) {
        Err(MessageError::Unexpected(_)) => ToClient::decode(kind, body)?.write(&mut out),
        other => other?.write(&mut out),
    }
    out.extend_from_slice(&left);
    Ok(out)
}

proptest! {
    #[test]
    fn messages_read_back_as_written(message in to_server(), answer in to_client()) {
        let mut out = Vec::new();
        message.write(&mut out);
        let mut bytes = Bytes::from(out.clone());
        let (kind, body) = Head::take(&mut bytes).unwrap().unwrap();
        prop_assert_eq!(ToServer::decode(kind, body).unwrap(), message);
        prop_assert_eq!(again(&out).unwrap(), out);
        prop_assert_eq!(again(&answer).unwrap(), answer);
    }

    #[test]
    fn what_reads_under_mutation_is_what_would_be_written(answer in to_client(), at: At, byte: u8, message in to_server()) {
        let mut out = Vec::new();
        message.write(&mut out);
        for mut bytes in [out, answer] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(written) = again(&bytes) {
                prop_assert_eq!(written, bytes);
            }
        }
    }

    #[test]
    fn a_message_cut_short_or_with_a_surplus_is_refused(answer in to_client(), at: At) {
        // The head says what is there, so that it is the body's own lengths that must not fit.
        let kind = Kind::from_number(answer[4]).unwrap();
        let body = Bytes::from(answer[HEAD_BYTES..].to_vec());
        let cut = body.slice(..at.index(body.len()));
        // A note is all of its body, so a shorter one is another note.
        if kind != Kind::Checkpoint {
            prop_assert!(ToClient::decode(kind, cut).is_err());
            let mut longer = body.to_vec();
            longer.push(0);
            prop_assert!(ToClient::decode(kind, longer.into()).is_err());
        }
    }

    #[test]
    fn the_results_of_an_outcome_are_those_pushed_in_their_order(outcome in outcome()) {
        let fates: Vec<Fate<'_>> = outcome.fates().collect();
        prop_assert_eq!(fates.len(), outcome.events());
        let mut packed = Outcome::new(outcome.number);
        for fate in fates {
            match fate {
                Fate::Placed { index, sequence, sequenced_at } => packed.push_placed(index, sequence, sequenced_at),
                Fate::Duplicate(duplicate) => packed.push_duplicate(duplicate.clone()),
                Fate::Rejected(_) => {
                    let Some(Span::Rejected(rejection)) = outcome.spans().iter().find(|span| matches!(span, Span::Rejected(_))) else {
                        panic!("a rejection without a span");
                    };
                    packed.push_rejected(rejection.as_ref().clone());
                }
            }
        }
        prop_assert_eq!(packed.spans().len(), outcome.spans().len());
        prop_assert_eq!(packed.events(), outcome.events());
    }

    #[test]
    fn a_submission_is_split_into_its_frames_without_a_copy(number: u64, frames in frames()) {
        let submit = Submit::new(number, &frames).unwrap();
        let mut out = Vec::new();
        submit.write(&mut out);
        prop_assert_eq!(&Submit::head(number, &frames).unwrap()[..], &out[..SUBMIT_HEAD_BYTES]);
        let body = Bytes::from(out).slice(HEAD_BYTES..);
        let range = body.as_ptr() as usize..body.as_ptr() as usize + body.len();
        let split = Submit::decode(body.clone()).unwrap().split();
        prop_assert!(split.malformed.is_empty());
        prop_assert_eq!(&split.frames, &frames);
        for frame in &split.frames {
            prop_assert!(range.contains(&(frame.bytes().as_ptr() as usize)));
        }
    }
}

#[test]
fn a_batch_of_one_stream_is_one_span() {
    let mut outcome = Outcome::new(1);
    for at in 0..1000 {
        outcome.push_placed(Index::new(5000 + at), Sequence::new(70 + at), LogTime::from_micros(9));
    }
    outcome.certify(1, vec![NodeHash::from_bytes([7; 32]); 40]);
    assert_eq!((outcome.spans().len(), outcome.events()), (1, 1000));
    let mut out = Vec::new();
    ToClient::Outcome(outcome).write(&mut out);
    assert_eq!(out.len(), HEAD_BYTES + 14 + 27 + 2 + 40 * 32);
}

fn outcome_body(count: u16, checkpoint: u32, spans: &[(u16, u64, u64, u64)], hashes: u16) -> Bytes {
    let mut body = 1u64.to_be_bytes().to_vec();
    body.extend_from_slice(&count.to_be_bytes());
    body.extend_from_slice(&checkpoint.to_be_bytes());
    for (events, index, sequence, time) in spans {
        body.push(1);
        body.extend_from_slice(&events.to_be_bytes());
        for number in [index, sequence, time] {
            body.extend_from_slice(&number.to_be_bytes());
        }
    }
    body.extend_from_slice(&hashes.to_be_bytes());
    body.resize(body.len() + usize::from(hashes) * 32, 0);
    body.into()
}

#[test]
fn an_outcome_has_one_form() {
    let decode = |count, checkpoint, spans: &[_], hashes| {
        ToClient::decode(Kind::Outcome, outcome_body(count, checkpoint, spans, hashes))
    };
    assert!(decode(4, 1, &[(2, 10, 5, 0), (2, 12, 8, 0)], 3).is_ok(), "another sequence is another span");
    assert!(decode(4, 1, &[(2, 10, 5, 0), (2, 13, 7, 0)], 3).is_ok(), "so is a gap in the index");
    assert!(decode(4, 1, &[(2, 10, 5, 0), (2, 12, 7, 1)], 3).is_ok(), "and another time");
    for (why, bad) in [
        ("two spans that are one", decode(4, 1, &[(2, 10, 5, 0), (2, 12, 7, 0)], 0)),
        ("fewer results than counted", decode(3, 1, &[(2, 10, 5, 0)], 0)),
        ("more results than counted", decode(1, 1, &[(2, 10, 5, 0)], 0)),
        ("no result", decode(0, 1, &[], 0)),
        ("an empty span", decode(1, 1, &[(0, 10, 5, 0), (1, 10, 5, 0)], 0)),
        ("an index that falls", decode(2, 1, &[(1, 10, 5, 0), (1, 9, 9, 0)], 0)),
        ("an index twice", decode(2, 1, &[(1, 10, 5, 0), (1, 10, 9, 0)], 0)),
        ("a time that falls", decode(2, 1, &[(1, 10, 5, 3), (1, 12, 9, 2)], 0)),
        ("the genesis entry's index", decode(1, 1, &[(1, 0, 5, 0)], 0)),
        ("sequence 0", decode(1, 1, &[(1, 1, 0, 0)], 0)),
        ("an index beyond 64 bits", decode(2, 1, &[(2, u64::MAX - 1, 5, 0)], 0)),
        ("placed events without a checkpoint", decode(1, 0, &[(1, 1, 1, 0)], 0)),
        ("more hashes than a multiproof can have", decode(1, 1, &[(1, 1, 1, 0)], u16::MAX)),
    ] {
        assert!(bad.is_err(), "{why}");
    }
}

#[test]
fn a_malformed_frame_is_refused_alone_and_a_lost_length_condemns_the_submission() {
    let good = frame(1, b"{}");
    let mut bad = good.bytes().to_vec();
    bad[4] ^= 1;
    let body = |frames: &[&[u8]], count: u16| {
        let mut out = 7u64.to_be_bytes().to_vec();
        out.extend_from_slice(&count.to_be_bytes());
        frames.iter().for_each(|frame| out.extend_from_slice(frame));
        Bytes::from(out)
    };
    let split = Submit::decode(body(&[good.bytes(), &bad, good.bytes()], 3)).unwrap().split();
    assert_eq!((split.frames.len(), split.malformed), (2, vec![(1, FrameError::Tag)]));
    let mut long = good.bytes().to_vec();
    long[0] = 0xff;
    assert!(matches!(Submit::decode(body(&[&long], 1)), Err(MessageError::Frame(FrameError::Length(_)))));
    assert_eq!(Submit::decode(body(&[good.bytes()], 2)), Err(MessageError::Truncated));
    assert_eq!(Submit::decode(body(&[good.bytes(), good.bytes()], 1)), Err(MessageError::Surplus));
    assert_eq!(Submit::decode(body(&[], 0)), Err(MessageError::Count("number of events")));
    assert_eq!(Submit::decode(body(&[good.bytes()], 1001)), Err(MessageError::Count("number of events")));
}
