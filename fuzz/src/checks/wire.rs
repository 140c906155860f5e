//! Frames as they arrive: one, many in a stream, and the encrypted payload inside.
//!
//! Seeds are frames this crate builds and signs itself.

use bytes::Bytes;
use tally_protocol::encrypted::{EncryptedPayload, Recipient};
use tally_protocol::frame::{EventFields, Frame, FrameError, PayloadKind};
use tally_protocol::hash::{CipherHash, PayloadHash};
use tally_protocol::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;

use crate::{Shape, Target, shape_of};

pub(super) const FRAME: Target = Target {
    name: "frame",
    about: "one wire frame, and its payload's form and hashes",
    files: &["sdk/protocol/src/frame.rs"],
    words: &[
        b"VES_EVENTSIG_V1",
        b"\0\0\0\x01",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"{\"a\":1}",
        b"{\"a\":1,\"a\":1}",
        b"\0",
    ],
    seeds: frame_seeds,
    check: frame,
};

pub(super) const FRAMES: Target = Target {
    name: "frames",
    about: "frames one after the other, as a request's body carries them",
    files: &["sdk/protocol/src/frame.rs"],
    words: &[b"VES_EVENTSIG_V1", b"\0\0\0\x01", b"\0\0\x01\0", b"\xff\xff\xff\xff"],
    seeds: frames_seeds,
    check: frames,
};

pub(super) const ENCRYPTED: Target = Target {
    name: "encrypted",
    about: "the JSON of an encrypted payload (VES-ENC-1)",
    files: &["sdk/protocol/src/encrypted.rs"],
    words: &[
        b"\"recipients\":[]",
        b"\"aead\":\"AES-256-GCM\"",
        b"\"enc_version\":2",
        b"null",
        b"=",
        b"-",
        b"_",
        b"4294967296",
    ],
    seeds: || vec![encrypted_payload().encode()],
    check: encrypted,
};

/// One event of a fixed stream; the payload decides the hashes.
pub(super) fn fields(payload: &[u8]) -> EventFields {
    let stream = Stream { tenant: TenantId::from_bytes([1; 16]), store: StoreId::from_bytes([2; 16]) };
    EventFields {
        stream,
        event_id: EventId::from_bytes([3; 16]),
        agent_id: AgentId::from_bytes([4; 16]),
        key_id: KeyId::new(1),
        entity_type: "order".to_owned(),
        entity_id: "ORD-001".to_owned(),
        event_type: "order.created".to_owned(),
        created_at: "2026-01-02T03:04:05.678Z".to_owned(),
        payload_kind: PayloadKind::Plain,
        payload_plain_hash: tally_protocol::hash::payload_plain(payload),
        payload_cipher_hash: CipherHash::ZERO,
    }
}

fn encrypted_payload() -> EncryptedPayload {
    let recipient = |kid| Recipient { kid, enc: [5; 32], ct: [6; 48] };
    EncryptedPayload {
        nonce: [7; 12],
        ciphertext: vec![8; 40],
        tag: [9; 16],
        recipients: vec![recipient(1), recipient(7)],
    }
}

fn built(fields: &EventFields, payload: &[u8]) -> Frame {
    let key = SigningKey::from_seed([11; 32]);
    Frame::build(fields, payload, |hash| key.sign(hash.as_bytes())).expect("the seed is a lawful frame")
}

fn plain_frame(payload: &[u8]) -> Frame {
    built(&fields(payload), payload)
}

pub(super) fn encrypted_frame() -> Frame {
    let payload = encrypted_payload();
    let mut fields = fields(b"{}");
    fields.payload_kind = PayloadKind::Encrypted;
    fields.payload_plain_hash = PayloadHash::from_bytes([10; 32]);
    let aad = fields.payload_aad().expect("the seed's strings are lawful");
    fields.payload_cipher_hash = payload.cipher_hash(&aad);
    built(&fields, &payload.encode())
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let frames = [plain_frame(b"{\"amount\":12,\"sku\":\"a-1\"}"), plain_frame(b"null"), encrypted_frame()];
    frames.iter().map(|frame| frame.bytes().to_vec()).collect()
}

fn frames_seeds() -> Vec<Vec<u8>> {
    let seeds = frame_seeds();
    vec![seeds.concat(), seeds[0].repeat(3), Vec::new()]
}

fn frame(input: &[u8]) -> Shape {
    let frame = match Frame::decode(Bytes::copy_from_slice(input)) {
        Ok(frame) => frame,
        Err(error) => {
            assert!(!error.reject().message.is_empty(), "a refusal without words");
            return shape_of(&error);
        }
    };
    assert_eq!(frame.bytes(), input, "decoding kept other bytes");
    let fields = frame.fields();
    let again = Frame::from_parts(&fields, frame.payload(), frame.signature()).expect("its own parts are lawful");
    assert_eq!(again.bytes(), input, "encoding what was decoded gave other bytes");
    assert_eq!(fields.signing_hash().ok(), Some(frame.signing_hash()), "two ways to the signing hash disagree");
    assert_eq!(fields.payload_aad().ok(), Some(frame.payload_aad()), "two ways to the associated data disagree");
    assert_eq!(fields.preimage().as_deref().ok(), Some(frame.preimage()), "two ways to the preimage disagree");
    match frame.check_payload() {
        Ok(()) => format!("whole {:?}", frame.payload_kind()),
        Err(error) => format!("decoded, then {}", shape_of(&error)),
    }
}

fn frames(input: &[u8]) -> Shape {
    let mut rest = Bytes::copy_from_slice(input);
    let mut shape = String::new();
    let mut told = |step: Shape| {
        // The first trouble and the end; every mixture of troubles would be a new shape.
        if shape.is_empty() || step.starts_with("end") || step.starts_with("half") {
            shape.push_str(&step);
        }
    };
    loop {
        let before = rest.clone();
        let step = Frame::decode_prefix(&mut rest);
        let taken = before.len() - rest.len();
        // One frame alone decodes as it does at the front of a stream.
        let alone = |taken: usize| Frame::decode(before.slice(..taken)).map(|frame| frame.bytes().clone());
        match step {
            Ok(None) => {
                assert_eq!(taken, 0, "half a frame was taken");
                told(if rest.is_empty() { "end".to_owned() } else { "half".to_owned() });
                break;
            }
            Ok(Some(frame)) => {
                assert!(taken == frame.bytes().len() && taken > 0, "a frame of other bytes than taken");
                assert_eq!(alone(taken).as_ref(), Ok(frame.bytes()));
            }
            Err(error) if taken == 0 => {
                assert!(matches!(error, FrameError::Length(_)) && error.loses_framing(), "{error:?} took nothing");
                told(shape_of(&error));
                break;
            }
            Err(error) => {
                assert_eq!(alone(taken), Err(error.clone()), "the same bytes failed in two ways");
                told(shape_of(&error));
            }
        }
    }
    shape
}

fn encrypted(input: &[u8]) -> Shape {
    match EncryptedPayload::decode(input) {
        Ok(payload) => {
            assert_eq!(payload.encode(), input, "encoding what was decoded gave other bytes");
            format!("accepted {}", payload.recipients.len().min(3))
        }
        Err(error) => shape_of(&error),
    }
}
