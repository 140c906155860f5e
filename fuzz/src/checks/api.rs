//! JSON over HTTP: the bodies of submissions on both surfaces, and the shapes that clients and the server exchange.
//!
//! The envelope's reader is the gateway's own source, compiled into this crate (`crate::envelope`): it needs the
//! protocol alone, and so the fuzzer needs neither the core nor its database. No refusal may repeat what was sent
//! (S-011): the seeds hold a canary.

use tally_api::event::{EventEnvelope, EventRecord};
use tally_api::feed::ResumeToken;
use tally_protocol::encrypted::EncryptedPayload;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{Frame, PayloadKind};
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;

use crate::envelope::{BodyError, Refusal, Request, Surface};
use crate::{Shape, Target};

pub(super) const ENVELOPE: Target = Target {
    name: "envelope",
    about: "submissions in JSON, as the VES and the native surface read them",
    files: &["sequencer/gateway/src/envelope.rs", "sequencer/gateway/src/json.rs"],
    words: &[
        b"\"events\":[",
        b"\"agentId\":\"04040404-0404-0404-0404-040404040404\",",
        b"\"payload\":",
        b"\"payload_encrypted\":null,",
        b"\"command_id\":\"x\",",
        b"\"base_version\":1,",
        b"\"agent_signature_scheme\":2,",
        b"\"\\u0065vents\"",
        b"\"CANARY\":1,",
        b"CANARY",
        b"null",
        b"{}",
        b",{}",
        b"\\u0000",
        b"\\ud800",
        b"9007199254740992",
        b"1.0",
        b"1e0",
        b"0x",
        b"\"ves_version\":1,",
        b"\xff",
        b" ",
    ],
    seeds: envelope_seeds,
    check: envelope,
};

pub(super) const SHAPES: Target = Target {
    name: "shapes",
    about: "bodies and answers of the API; the first byte chooses which",
    files: &["sdk/api/src/event.rs", "sdk/api/src/feed.rs", "sdk/api/src/text.rs"],
    words: &[b"null", b"0", b"-1", b"18446744073709551615", b"\"CANARY\":1,", b"[]", b"{}", b"\"\"", b"0x", b"=", b"Z"],
    seeds: shape_seeds,
    check: shapes,
};

/// Something only a client would say.
const CANARY: &str = "CANARY";

fn frames() -> Vec<Frame> {
    let key = SigningKey::from_seed([11; 32]);
    let payloads: [&[u8]; 2] = [b"{\"note\":\"CANARY\"}", b"null"];
    let frame = |payload: &&[u8]| {
        Frame::build(&super::wire::fields(payload), payload, |hash| key.sign(hash.as_bytes()))
            .expect("the seed is a lawful frame")
    };
    payloads.iter().map(frame).chain([super::wire::encrypted_frame()]).collect()
}

fn body(frames: &[Frame]) -> Vec<u8> {
    let events: Vec<EventEnvelope> =
        frames.iter().map(|frame| EventEnvelope::from_frame(frame).expect("a lawful payload is JSON")).collect();
    serde_json::to_vec(&tally_api::submit::SubmitRequest { events }).expect("an envelope can be written")
}

fn envelope_seeds() -> Vec<Vec<u8>> {
    let frames = frames();
    let native = body(&frames);
    let wrapper = b"{\"agentId\":\"04040404-0404-0404-0404-040404040404\",\"events\":[]}".to_vec();
    vec![body(&frames[..1]), body(&frames[2..]), [&wrapper[..wrapper.len() - 3], &native[10..]].concat(), wrapper]
}

fn envelope(input: &[u8]) -> Shape {
    let (ves, native) = (Request::read(input, Surface::Ves), Request::read(input, Surface::Native));
    let grammar = |result: &Result<Request<'_>, BodyError>| matches!(result, Err(BodyError::Malformed(_)));
    assert_eq!(grammar(&ves), grammar(&native), "one text, two grammars");
    if grammar(&ves) {
        // One way only: serde_json also refuses numbers, depths and surrogates that are a single event's business.
        assert!(serde_json::from_slice::<serde_json::Value>(input).is_err(), "JSON was called malformed");
    }
    let told = |error: &BodyError| {
        let text = format!("{error:?}");
        assert!(!text.contains(CANARY), "a refusal repeats what was sent");
        text.split(|c: char| !c.is_alphabetic()).take(3).collect::<Vec<_>>().join(" ")
    };
    let ves = match ves {
        Ok(ves) => ves,
        Err(error) => return format!("{} {:?}", told(&error), native.err().map(|error| told(&error))),
    };
    let read = ves.frames(Surface::Ves);
    assert_eq!(read.len(), ves.len());
    if let Ok(native) = &native {
        for (native, ves) in native.frames(Surface::Native).iter().zip(&read) {
            if let Ok(frame) = native {
                agree(frame, ves.as_ref());
            }
        }
    }
    let mut refused = None;
    for event in &read {
        match event {
            Ok(frame) => whole(frame),
            Err(refusal) => {
                let Reject { code, message, field } = &refusal.reject;
                assert!(!message.contains(CANARY), "a refusal repeats what was sent: {message}");
                refused.get_or_insert_with(|| format!("{} {field:?}", code.as_str()));
            }
        }
    }
    let accepted = read.iter().filter(|event| event.is_ok()).count();
    format!("{} {} {} {refused:?}", native.is_ok(), ves.agent_id().is_some(), accepted.min(3))
}

/// What the strict surface read, the lenient one reads too. A plain payload gives the same frame. An encrypted one is
/// brought into its one spelling for VES clients (the reference ignores other members and padding) and left as
/// it is for native ones, where the core refuses every other spelling: so the two agree on each frame the core takes.
fn agree(native: &Frame, ves: Result<&Frame, &Refusal>) {
    let same = ves.is_ok_and(|ves| ves.bytes() == native.bytes());
    if native.payload_kind() == PayloadKind::Plain {
        assert!(same, "the strict surface read what the lenient one did not");
        return;
    }
    assert!(same || native.check_payload().is_err(), "an encrypted payload in its one spelling was read in two ways");
    let value = jcs::parse(native.payload()).expect("a payload of a frame that was read is canonical");
    match (EncryptedPayload::read(&value), ves) {
        (Ok(payload), Ok(ves)) => {
            let spelled = Frame::from_parts(&native.fields(), &payload.encode(), native.signature());
            assert_eq!(
                spelled.expect("its own parts are lawful").bytes(),
                ves.bytes(),
                "more than the spelling changed"
            );
        }
        (Err(_), Err(refusal)) => {
            let Reject { code, field, .. } = &refusal.reject;
            assert_eq!((*code, *field), (RejectCode::SchemaValidation, Some("payload_encrypted")));
        }
        (read, _) => panic!("VES clients are promised what the reference reads: {:?}", read.err()),
    }
}

/// A frame that was read is one that can be sent, stored, and shown as an envelope that reads back as the same.
fn whole(frame: &Frame) {
    assert_eq!(Frame::decode(frame.bytes().clone()).map(|again| again.bytes().clone()).as_ref(), Ok(frame.bytes()));
    assert_eq!(jcs::is_canonical(frame.payload()), Ok(()), "a payload that is not canonical");
    let written = body(core::slice::from_ref(frame));
    let again = Request::read(&written, Surface::Native).expect("what was written can be read");
    match &again.frames(Surface::Native)[..] {
        [Ok(again)] => assert_eq!(again.bytes(), frame.bytes(), "the envelope of a frame reads as another frame"),
        other => panic!("the envelope of a frame is refused: {other:?}"),
    }
}

fn shape_seeds() -> Vec<Vec<u8>> {
    let id = "04040404-0404-0404-0404-040404040404";
    let hash = "7777c3fef466a0e9df7e07ea4ff13dc8ffbb9e487098f1b65530cdce7b6bbbe7";
    let time = "2026-01-02T03:04:05.000000Z";
    let record = serde_json::to_string(&record()).expect("a record can be written");
    let receipt = format!(
        r#"{{"event_id":"{id}","tenant_id":"{id}","store_id":"{id}","index":1,"sequence":1,"sequenced_at":"{time}","signing_hash":"{hash}","leaf_hash":"{hash}","path":["{hash}"],"checkpoint":0}}"#
    );
    let texts = [
        record.clone(),
        format!(r#"{{"checkpoints":["note"],"results":[{{"status":"accepted","receipt":{receipt}}}]}}"#),
        format!(r#"{{"receipt":{receipt},"checkpoints":[]}}"#),
        format!(
            r#"{{"batchId":"{id}","eventsAccepted":1,"eventsRejected":1,"sequenceStart":1,"sequenceEnd":null,"headSequence":1,"rejections":[{{"event_id":null,"reason":"r","message":"m","index":0}}]}}"#
        ),
        format!(r#"{{"index":1,"size":2,"leaf_hash":"{hash}","path":[]}}"#),
        format!(r#"{{"old":1,"new":2,"path":["{hash}"]}}"#),
        format!(r#"{{"type":"event","token":"0707070707070707-41","record":{record}}}"#),
        format!(r#"{{"tenantId":"{id}","agentId":"{id}","publicKey":"{hash}","validFrom":"{time}","keyId":1}}"#),
        format!(r#"{{"tenantId":"{id}","agentId":"{id}","publicKey":"{hash}","previousValidTo":"{time}"}}"#),
        format!(r#"{{"tenantId":"{id}","agentId":"{id}","keyId":1,"reason":"lost"}}"#),
        format!(
            r#"{{"tenant_id":"{id}","store_ids":["{id}"],"roles":["agent","reader"],"label":"l","expires_at":"{time}"}}"#
        ),
        format!(r#"{{"tenant_id":"{id}","root_agent_id":"{id}","root_public_key":"{hash}","operator_managed":true}}"#),
        format!(r#"{{"tenant_id":"{id}","store_id":"{id}","sequence_start":1}}"#),
        format!(r#"{{"leaf_hash":"{hash}","merkle_root":"0x{hash}","proof_path":["{hash}"],"leaf_index":1}}"#),
        "0707070707070707-41".to_owned(),
    ];
    (0_u8..).zip(&texts).map(|(which, text)| [&[which], text.as_bytes()].concat()).collect()
}

fn record() -> EventRecord {
    let [frame, ..] = &frames()[..] else { unreachable!("there are three") };
    let genesis = super::records::genesis();
    EventRecord {
        index: tally_protocol::id::Index::new(1),
        sequence: tally_protocol::id::Sequence::new(1),
        sequenced_at: genesis.created_at,
        public_key: genesis.root_key,
        signing_hash: frame.signing_hash(),
        leaf_hash: genesis.leaf_hash(),
        frame: frame.bytes().to_vec(),
        event: EventEnvelope::from_frame(frame).expect("a lawful payload is JSON"),
    }
}

/// Reads one type, writes it, reads and writes again: after the first reading nothing may change any more.
macro_rules! settled {
    ($type:ty, $text:expr) => {
        match serde_json::from_slice::<$type>($text) {
            Ok(value) => {
                let written = serde_json::to_vec(&value).expect("what was read can be written");
                let again: $type = serde_json::from_slice(&written).expect("what was written can be read");
                let twice = serde_json::to_vec(&again).expect("what was read can be written");
                assert!(written == twice, "what was written reads as something else");
                "accepted".to_owned()
            }
            Err(error) => refusal(&error.to_string()),
        }
    };
}

/// The kind of a refusal; names that came from the input are left out.
fn refusal(text: &str) -> Shape {
    let words = |count| text.split(|c: char| !c.is_alphabetic()).take(count).collect::<Vec<_>>().join(" ");
    if text.starts_with("unknown") || text.starts_with("invalid") { words(2) } else { words(3) }
}

fn shapes(input: &[u8]) -> Shape {
    let Some((which, text)) = input.split_first() else { return "empty".to_owned() };
    let which = which % 15;
    let shape = match which {
        0 => settled!(EventRecord, text),
        1 => settled!(tally_api::submit::SubmitAnswer, text),
        2 => settled!(tally_api::receipt::ReceiptAnswer, text),
        3 => settled!(tally_api::ves::VesIngestAnswer, text),
        4 => settled!(tally_api::proof::Inclusion, text),
        5 => settled!(tally_api::proof::Consistency, text),
        6 => settled!(tally_api::feed::FeedLine, text),
        7 => settled!(tally_api::agent_key::RegisterKeyRequest, text),
        8 => settled!(tally_api::agent_key::RotateKeyRequest, text),
        9 => settled!(tally_api::agent_key::RevokeKeyRequest, text),
        10 => settled!(tally_api::api_key::CreateApiKey, text),
        11 => settled!(tally_api::tenant::CreateTenant, text),
        12 => settled!(tally_api::ves::CommitRequest, text),
        13 => settled!(tally_api::proof::VesVerifyRequest, text),
        _ => resume_token(text),
    };
    format!("{which} {shape}")
}

fn resume_token(text: &[u8]) -> Shape {
    let Some(token) = core::str::from_utf8(text).ok().and_then(|text| text.parse::<ResumeToken>().ok()) else {
        return "refused".to_owned();
    };
    assert_eq!(token.to_string().as_bytes(), text, "encoding what was decoded gave other bytes");
    "accepted".to_owned()
}
