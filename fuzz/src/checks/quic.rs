//! The messages of the QUIC door, as either side reads them.
//!
//! Takes what arrives on one stream: messages one after the other. Each is decoded, written again, and read again from
//! pieces cut at other places. Then the whole input is taken as one message whose length is put right, so that mutants
//! reach what lies behind the head.

use bytes::Bytes;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::Frame;
use tally_protocol::hash::NodeHash;
use tally_protocol::id::{Index, Sequence, StoreId, TenantId, TreeSize};
use tally_protocol::key::SigningKey;
use tally_protocol::quic::{
    CheckpointNote, Duplicate, EventsBuilder, Fate, Follow, FollowFrom, GoAway, HEAD_BYTES, Head, Heartbeat, Hello,
    Kind, MessageError, Outcome, Refused, Rejection, SUBMIT_HEAD_BYTES, Submit, ToClient, ToServer, Welcome,
};
use tally_protocol::time::LogTime;

use crate::{Shape, Target, shape_of};

pub(super) const TO_SERVER: Target = Target {
    name: "quic-to-server",
    about: "what a client sends over QUIC: hello, submissions, follow",
    files: &["sdk/protocol/src/quic.rs", "sdk/protocol/src/quic/submit.rs"],
    words: &[
        b"\0\0\0\x03\x01\0\0",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\0\x01",
        b"\0\x03",
        b"\x03\xe8",
        b"\0\0\0\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"CANARY",
        b"\0",
    ],
    seeds: to_server_seeds,
    check: to_server,
};

pub(super) const TO_CLIENT: Target = Target {
    name: "quic-to-client",
    about: "what a sequencer sends over QUIC: welcome, outcomes, checkpoints, events, refusals",
    files: &["sdk/protocol/src/quic.rs"],
    words: &[
        b"\x81",
        b"\x82",
        b"\x83",
        b"\x84",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x01\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x05",
        b"\x03\0\x01\0\0\0",
        b"\0\x01",
        b"\x03\xe8",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\n",
        b"\0",
    ],
    seeds: to_client_seeds,
    check: to_client,
};

/// Something only a client would say.
const CANARY: &str = "CANARY-of-a-client";

fn frames() -> Vec<Frame> {
    let key = SigningKey::from_seed([11; 32]);
    let payload = format!("{{\"note\":\"{CANARY}\"}}");
    let plain = [payload.as_bytes(), b"null"].map(|payload| {
        Frame::build(&super::wire::fields(payload), payload, |hash| key.sign(hash.as_bytes()))
            .expect("the seed is a lawful frame")
    });
    plain.into_iter().chain([super::wire::encrypted_frame()]).collect()
}

fn to_server_seeds() -> Vec<Vec<u8>> {
    let lawful = "the seed is a lawful message";
    let frames = frames();
    let (tenant, store) = (TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
    let follow = |from, filter| ToServer::Follow(Follow { from, filter });
    let messages = [
        ToServer::Hello(Hello::new(CANARY).expect(lawful)),
        ToServer::Hello(Hello::new("").expect(lawful)),
        ToServer::Submit(Submit::new(1, &frames[..1]).expect(lawful)),
        ToServer::Submit(Submit::new(u64::MAX, &frames).expect(lawful)),
        follow(FollowFrom::Index(Index::new(7)), None),
        follow(FollowFrom::Now, Some((tenant, None))),
        follow(FollowFrom::Index(Index::new(1)), Some((tenant, Some(store)))),
    ];
    one_by_one_and_together(messages.iter().map(|message| written(|out| message.write(out))).collect())
}

fn to_client_seeds() -> Vec<Vec<u8>> {
    let lawful = "the seed is a lawful message";
    let (index, sequence, time) = (Index::new(5), Sequence::new(3), LogTime::from_micros(1_767_322_800_000_000));
    let welcome = Welcome {
        genesis: super::records::genesis(),
        window_bytes: 1 << 24,
        submit_bytes_max: 1 << 20,
        submit_events_max: 1000,
        streams_max: 16,
        feeds_max: 4,
    };
    let mut builder = EventsBuilder::new();
    for (at, frame) in (5..).zip(&frames()) {
        let key = SigningKey::from_seed([11; 32]).public_key();
        builder.push(Index::new(2 * at), Sequence::new(at), time, &key, frame);
    }
    let messages = [
        ToClient::Welcome(Box::new(welcome)),
        ToClient::Refused(Refused::new(9, 7104, 250, "outcome unknown")),
        ToClient::Checkpoint(CheckpointNote::new(1, "tally\n5\nAAAA\n\n\u{2014} tally AAAA\n").expect(lawful)),
        ToClient::Heartbeat(Heartbeat { next: index, size: TreeSize::new(9) }),
        ToClient::GoAway(GoAway::new(7103, "draining")),
    ];
    let mut seeds: Vec<Vec<u8>> = messages.iter().map(|message| written(|out| message.write(out))).collect();
    seeds.push(builder.finish(Index::new(20), TreeSize::new(32)));
    seeds.extend(outcomes(index, sequence, time).iter().map(|outcome| written(|out| outcome.write(out))));
    one_by_one_and_together(seeds)
}

fn outcomes(index: Index, sequence: Sequence, time: LogTime) -> [Outcome; 3] {
    let hash = |byte| NodeHash::from_bytes([byte; 32]);
    let rejection =
        Rejection::from(&Reject::of_field(RejectCode::SchemaValidation, "entity_id", "entity_id is missing"));
    let duplicate = Duplicate { index, sequence, sequenced_at: time, checkpoint: 1, path: vec![hash(1), hash(2)] };
    let mut placed = Outcome::new(1);
    for at in 0..3 {
        placed.push_placed(Index::new(index.get() + at), Sequence::new(sequence.get() + at), time);
    }
    placed.certify(2, vec![hash(3)]);
    let mut mixed = Outcome::new(2);
    mixed.push_placed(index, sequence, time);
    mixed.push_duplicate(duplicate);
    mixed.push_placed(index.next(), sequence.next(), time);
    mixed.push_rejected(rejection.clone());
    mixed.push_placed(Index::new(99), Sequence::new(1), time);
    mixed.certify(1, Vec::new());
    let mut none = Outcome::new(u64::MAX);
    none.push_rejected(rejection);
    [placed, mixed, none]
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn one_by_one_and_together(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.push(messages.concat());
    messages
}

fn to_server(input: &[u8]) -> Shape {
    stream(input, |kind, body| {
        let message = ToServer::decode(kind, body)?;
        let told = match &message {
            ToServer::Hello(hello) => {
                let again = Hello::new(hello.api_key().unwrap_or_default());
                assert_eq!(again.as_ref(), Ok(hello), "a key that was read cannot be sent");
                format!("hello {}", hello.api_key().is_some())
            }
            ToServer::Submit(submit) => submitted(submit),
            ToServer::Follow(follow) => {
                assert!(follow.filter.is_some() || follow.shows(super::wire::fields(b"").stream), "no filter hides");
                format!(
                    "follow {:?} {}",
                    follow.filter.map(|(_, store)| store.is_some()),
                    follow.from == FollowFrom::Now
                )
            }
        };
        assert!(!format!("{message:?}").contains("CANARY"), "what a client sent would end up in logs");
        Ok((written(|out| message.write(out)), told))
    })
}

/// Every event is read or refused alone, in its place, from the bytes that came.
fn submitted(submit: &Submit) -> Shape {
    let split = submit.clone().split();
    assert_eq!(split.frames.len() + split.malformed.len(), submit.events(), "an event was lost");
    let mut malformed = split.malformed.iter().peekable();
    let (mut frames, mut rest) = (split.frames.iter(), submit.bytes().clone());
    for at in 0..submit.events() {
        let length = rest.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
        let alone = Frame::decode(rest.split_to(4 + length)).map(|frame| frame.bytes().clone());
        match malformed.next_if(|(place, _)| *place == at) {
            Some((_, error)) => assert_eq!(alone, Err(error.clone()), "the same bytes failed in two ways"),
            None => assert_eq!(alone.as_ref().ok(), frames.next().map(Frame::bytes), "an event is not in its place"),
        }
    }
    assert!(rest.is_empty(), "bytes of no event");
    if split.malformed.is_empty() {
        assert_eq!(Submit::new(submit.number, &split.frames).as_ref(), Ok(submit), "its own frames make another one");
        let head = Submit::head(submit.number, &split.frames).expect("its own frames fit");
        assert_eq!(head, written(|out| submit.write(out))[..SUBMIT_HEAD_BYTES], "two ways to the head disagree");
    }
    let first = split.malformed.first().map(|(_, error)| shape_of(error));
    format!("submit {first:?}")
}

fn to_client(input: &[u8]) -> Shape {
    stream(input, |kind, body| {
        let message = ToClient::decode(kind, body)?;
        let told = match &message {
            ToClient::Welcome(welcome) => {
                assert_eq!(welcome.ledger_id(), welcome.genesis.ledger_id());
                "welcome".to_owned()
            }
            ToClient::Refused(refused) => {
                let Refused { number, code, retry_after_ms, .. } = *refused;
                let again = Refused::new(number, code, retry_after_ms, refused.message());
                assert_eq!(&again, refused, "a sentence that was read cannot be sent");
                "refused".to_owned()
            }
            ToClient::Checkpoint(note) => {
                assert_eq!(CheckpointNote::new(note.id, note.note()).as_ref(), Ok(note));
                "checkpoint".to_owned()
            }
            ToClient::Outcome(outcome) => told(outcome),
            ToClient::Events(events) => {
                let indexes: Vec<Index> = events.records().iter().map(|record| record.index).collect();
                assert!(indexes.is_sorted_by(|left, right| left < right), "events out of order");
                assert!(indexes.last().is_some_and(|last| *last < events.next), "it would send an event twice");
                assert!(events.next.get() <= events.size.get(), "events that are not signed");
                format!("events {}", indexes.len().min(3))
            }
            ToClient::Heartbeat(_) => "heartbeat".to_owned(),
            ToClient::GoAway(away) => {
                assert_eq!(&GoAway::new(away.code, away.message()), away, "a sentence that was read cannot be sent");
                "go away".to_owned()
            }
        };
        Ok((written(|out| message.write(out)), told))
    })
}

/// An outcome is the only one of its fates: said again event by event it is the same.
fn told(outcome: &Outcome) -> Shape {
    assert_eq!(outcome.check(), Ok(()), "an outcome that cannot travel has come");
    let mut again = Outcome::new(outcome.number);
    let (mut placed, mut others) = (0_usize, 0_usize);
    for fate in outcome.fates() {
        match fate {
            Fate::Placed { index, sequence, sequenced_at } => {
                again.push_placed(index, sequence, sequenced_at);
                placed += 1;
            }
            Fate::Duplicate(duplicate) => {
                again.push_duplicate(duplicate.clone());
                others += 1;
            }
            Fate::Rejected(rejection) => {
                again.push_rejected(rejection.clone());
                others += 1;
            }
        }
    }
    assert_eq!(placed + others, outcome.events(), "a submitted event has no fate");
    assert_eq!(placed > 0, outcome.checkpoint().is_some(), "placed under no checkpoint");
    again.certify(outcome.checkpoint().unwrap_or(0), outcome.proof().to_vec());
    assert_eq!(&again, outcome, "the same fates have two forms");
    format!("outcome {} {} {}", placed.min(2), others.min(2), outcome.spans().len().min(3))
}

/// Decodes a body; gives the whole message as it would be written, and what it is.
type Read = fn(Kind, Bytes) -> Result<(Vec<u8>, Shape), MessageError>;

/// Reads a stream as it came, then as one message of the right length.
fn stream(input: &[u8], read: Read) -> Shape {
    let (messages, end) = messages(input);
    assert_eq!(in_pieces(input), (messages.clone(), end.clone()), "cut elsewhere it is another stream");
    let mut taken = 0;
    let mut shapes = Vec::new();
    for (kind, body) in &messages {
        let whole = &input[taken..taken + HEAD_BYTES + body.len()];
        taken += whole.len();
        shapes.push(message(*kind, body, whole, read));
    }
    match &end {
        None => assert!(input.len() - taken < HEAD_BYTES + Kind::Submit.body_bytes_max(), "waits beyond every bound"),
        Some(error) => {
            assert!(!matches!(error, MessageError::Surplus | MessageError::Truncated), "{error:?} of a head");
        }
    }
    if let Some(first) = shapes.first() {
        // The first message and whether more came; every mixture of messages would be a new shape.
        return format!("{first}{}", if taken < input.len() { " +" } else { "" });
    }
    let Some((head, body)) = input.split_first_chunk::<HEAD_BYTES>() else { return "short".to_owned() };
    let Some(kind) = Kind::from_number(head[HEAD_BYTES - 1]) else { return "no kind".to_owned() };
    let repaired = [&Head { kind, body_bytes: body.len() }.encode(), body].concat();
    match Head::take(&mut Bytes::copy_from_slice(&repaired)) {
        Ok(Some((kind, body))) => message(kind, &body, &repaired, read),
        Ok(None) => panic!("a whole message is waited for"),
        Err(error) => {
            assert!(body.len() > kind.body_bytes_max(), "a lawful length was refused");
            shape_of(&error)
        }
    }
}

fn message(kind: Kind, body: &Bytes, whole: &[u8], read: Read) -> Shape {
    assert!(body.len() <= kind.body_bytes_max(), "longer than its kind may be");
    let other = if kind.number() < 0x80 {
        ToClient::decode(kind, body.clone()).err()
    } else {
        ToServer::decode(kind, body.clone()).err()
    };
    assert_eq!(other, Some(MessageError::Unexpected(kind)), "a message of one side was read by the same");
    match read(kind, body.clone()) {
        Ok((again, shape)) => {
            assert_eq!(again, whole, "encoding what was decoded gave other bytes");
            shape
        }
        Err(error) => {
            assert!(!format!("{error:?} {error}").contains("CANARY"), "a refusal repeats what was sent");
            format!("refused: {}", shape_of(&error))
        }
    }
}

type Messages = (Vec<(Kind, Bytes)>, Option<MessageError>);

/// All messages, and why the rest is none; nothing if it is one that has not arrived whole.
fn messages(input: &[u8]) -> Messages {
    let mut rest = Bytes::copy_from_slice(input);
    let mut messages = Vec::new();
    loop {
        let before = rest.len();
        match Head::take(&mut rest) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => {
                assert_eq!(rest.len(), before, "half a message was taken");
                return (messages, None);
            }
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// As [`messages`], from pieces whose lengths follow from the bytes.
fn in_pieces(input: &[u8]) -> Messages {
    let (mut messages, mut buffer, mut rest) = (Vec::new(), Vec::new(), input);
    loop {
        let mut bytes = Bytes::from(std::mem::take(&mut buffer));
        loop {
            match Head::take(&mut bytes) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        let Some(&next) = rest.first() else { return (messages, None) };
        let (piece, more) = rest.split_at((1 + usize::from(next) % 61).min(rest.len()));
        buffer = [&bytes, piece].concat();
        rest = more;
    }
}
