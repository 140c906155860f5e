//! Every bound of the protocol, with its reason.
//!
//! A decoder checks a length against its bound before it uses it. Relations between bounds that other code relies
//! on are checked by the compiler at the end of this file. Bytes are bytes of UTF-8 where a bound is on a text.

use core::time::Duration;

/// `entity_type`: the reference implementation's bound, so that its agents keep working.
pub const ENTITY_TYPE_BYTES_MAX: usize = 128;
/// Entity types on the list of one store: far more kinds of thing than one store keeps. Lists are held in memory, and a
/// whole one is one control event.
pub const ENTITY_TYPES_MAX: usize = 1024;
/// `entity_id`: the reference implementation's bound.
pub const ENTITY_ID_BYTES_MAX: usize = 512;
/// `event_type`: the reference implementation's bound.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;
/// `created_at`: the longest text `time` reads is 35 bytes; the rest is room for nothing but refusal.
pub const CREATED_AT_BYTES_MAX: usize = 64;
/// A payload slot: the reference implementation's bound, and what one AES-GCM call seals comfortably.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The signing preimage without its four strings: tag 15, version 4, ids 64, key id 4, string lengths 16, kind 4,
/// hashes 64.
pub const PREIMAGE_FIXED_BYTES: usize = 171;
/// The longest signing preimage.
pub const PREIMAGE_BYTES_MAX: usize =
    PREIMAGE_FIXED_BYTES + ENTITY_TYPE_BYTES_MAX + ENTITY_ID_BYTES_MAX + EVENT_TYPE_BYTES_MAX + CREATED_AT_BYTES_MAX;
/// A frame without strings and payload: length 4, fixed preimage, payload length 4, signature 64.
pub const FRAME_FIXED_BYTES: usize = 4 + PREIMAGE_FIXED_BYTES + 4 + 64;
/// The longest frame, its length field included.
pub const FRAME_BYTES_MAX: usize = 4 + PREIMAGE_BYTES_MAX + 4 + PAYLOAD_BYTES_MAX + 64;
/// Recipients of one encrypted payload. The canonical text of one takes about 150 bytes, so this many fit a payload
/// slot with room for the ciphertext, and sorting and hashing them stays cheap.
pub const RECIPIENTS_MAX: usize = 1024;
/// Events of one request: the reference implementation's bound.
pub const EVENTS_PER_REQUEST_MAX: usize = 1000;
/// A request body: the reference implementation's bound.
pub const BODY_BYTES_MAX: usize = 10 << 20;
/// Nesting of JSON containers: deep enough for people, shallow enough for the stack of every reader.
pub const JSON_DEPTH_MAX: usize = 64;
/// Events committed together: one sync and one signature serve them all, and a run stays quick to read back.
pub const RUN_EVENTS_MAX: usize = 8192;
/// Bytes committed together: bounds the memory of a run and the time of its sync.
pub const RUN_BYTES_MAX: usize = 8 << 20;
/// An event entry of the log.
pub const EVENT_ENTRY_BYTES: usize = 191;
/// Any entry of the log: tlog-tiles gives an entry a 16-bit length.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Signatures of one note: C2SP signed-note asks for at least 16; a log with all its witnesses stays below this.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// A signed note: this many signatures of the largest assigned type (post-quantum, 5 kB, in base64), with their names,
/// and the text.
pub const NOTE_BYTES_MAX: usize = 512 << 10;
/// Hashes of an inclusion path: the depth of the largest tree that a 64-bit size describes.
pub const INCLUSION_PATH_MAX: usize = 64;
/// Hashes of a consistency proof: one more than the depth (RFC 6962 section 2.1.2).
pub const CONSISTENCY_PATH_MAX: usize = 65;
/// Logs of one anchoring call: a ledger has two; the rest is room for ledgers that share an account.
pub const ANCHORS_MAX: usize = 16;
/// A signed transaction of a chain: what the pools of common nodes take (128 KiB).
pub const TRANSACTION_BYTES_MAX: usize = 128 << 10;
/// Hashes of a tile: fixed by C2SP tlog-tiles.
pub const TILE_WIDTH: u16 = 256;
/// Levels of tiles are numbered 0 to this one: fixed by C2SP tlog-tiles.
pub const TILE_LEVEL_MAX: u8 = 63;
/// Leaves of one VES commitment: its whole tree is rebuilt in memory for a proof, 64 MiB at this size.
pub const COMMITMENT_LEAVES_MAX: u32 = 1 << 20;
/// A log's origin: it is a note's key name and one line of a checkpoint, meant to be read by people.
pub const ORIGIN_BYTES_MAX: usize = 255;
/// A profile's name.
pub const PROFILE_BYTES_MAX: usize = 64;
/// The reason of a revocation: a sentence or two.
pub const REASON_BYTES_MAX: usize = 512;
/// An API key in a QUIC `Hello`: keys have about 50 characters; the rest is room for other kinds of credential.
pub const API_KEY_BYTES_MAX: usize = 256;
/// A sentence for people in a QUIC message.
pub const TEXT_BYTES_MAX: usize = 512;
/// The name of a field in a QUIC message.
pub const FIELD_BYTES_MAX: usize = 64;
/// Hashes of one multiproof: as if no two events of a submission shared a node of their paths.
pub const MULTIPROOF_HASHES_MAX: usize = EVENTS_PER_REQUEST_MAX * INCLUSION_PATH_MAX;
/// Events of one message of the QUIC feed.
pub const FEED_EVENTS_MAX: usize = 4096;
/// Bytes of one message of the QUIC feed: the longest event, or many short ones, and the memory of one reader.
pub const FEED_BYTES_MAX: usize = 2 << 20;
/// A plugin's id.
pub const PLUGIN_ID_BYTES_MAX: usize = 64;
/// The code of a plugin's refusal: a word that goes into the outcome.
pub const REJECTED_CODE_BYTES_MAX: usize = 32;
/// Plugins installed for one stream at a time, so that the outcome of an event that all of them see is an entry.
pub const BINDINGS_MAX: usize = 128;
/// One binding's part of an outcome: id, module, profile, flags, code, gas, three hashes.
pub const BINDING_BYTES_MAX: usize =
    4 + PLUGIN_ID_BYTES_MAX + 32 + 32 + 1 + 1 + 4 + REJECTED_CODE_BYTES_MAX + 8 + 3 * 32;
/// The longest outcome: tag, leaf hash, count, bindings.
pub const OUTCOME_BYTES_MAX: usize = 16 + 32 + 2 + BINDINGS_MAX * BINDING_BYTES_MAX;
/// Permissions of one release: far more than there are capabilities.
pub const PERMISSIONS_MAX: usize = 64;
/// One permission, such as `effect:payment`.
pub const PERMISSION_BYTES_MAX: usize = 128;
/// Limits that a release declares, and those of a profile.
pub const PLUGIN_LIMITS_MAX: usize = 64;
/// The name of a limit.
pub const LIMIT_NAME_BYTES_MAX: usize = 64;
/// Event types for which a release declares a schema.
pub const SCHEMAS_MAX: usize = 256;
/// A plugin's configuration, as canonical JSON: it is an argument of `init` and lies in the log.
pub const PLUGIN_CONFIG_BYTES_MAX: usize = 64 << 10;
/// A plugin's manifest, as canonical JSON.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;
/// Releases of one plugin in one registry: history is kept for ever and in memory.
pub const RELEASES_MAX: usize = 10_000;
/// How old a publisher's or reviewer's signature may be when its event is sequenced (S-179): a working day for the
/// people between signing and submitting, too short for a stolen package to lie in wait.
pub const ATTESTATION_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How far such a signature's time may lie ahead of the log's clock: clocks of people's machines.
pub const ATTESTATION_SKEW: Duration = Duration::from_secs(300);
/// How far `created_at` may lie ahead of the log's clock; exactly this much is still accepted (S-005).
pub const CREATED_AT_SKEW: Duration = Duration::from_secs(3600);
/// How far the wall clock may leave the monotonic clock before ordering stops with an alarm.
pub const CLOCK_STEP_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(FRAME_BYTES_MAX <= BODY_BYTES_MAX, "one frame always fits a request");
    assert!(FRAME_BYTES_MAX <= RUN_BYTES_MAX, "one frame always fits a run");
    assert!(EVENTS_PER_REQUEST_MAX <= RUN_EVENTS_MAX, "a request may fit one run");
    assert!(FRAME_BYTES_MAX <= u32::MAX as usize, "lengths are 32 bits");
    assert!(ENTITY_ID_BYTES_MAX <= u16::MAX as usize, "a frame remembers string lengths in 16 bits");
    assert!(ENTITY_TYPE_BYTES_MAX <= ENTITY_ID_BYTES_MAX, "as above");
    assert!(EVENT_TYPE_BYTES_MAX <= ENTITY_ID_BYTES_MAX, "as above");
    assert!(CREATED_AT_BYTES_MAX <= ENTITY_ID_BYTES_MAX, "as above");
    assert!(EVENT_ENTRY_BYTES <= ENTRY_BYTES_MAX, "an event entry fits a tile's entry bundle");
    assert!(ORIGIN_BYTES_MAX + PROFILE_BYTES_MAX + 256 <= ENTRY_BYTES_MAX, "so does the genesis entry");
    assert!(
        NOTE_SIGNATURES_MAX * (6_800 + ORIGIN_BYTES_MAX) < NOTE_BYTES_MAX,
        "a full note of the largest signatures fits"
    );
    assert!(COMMITMENT_LEAVES_MAX.is_power_of_two(), "so that the padded count is bounded by it too");
    assert!(RECIPIENTS_MAX * 256 <= PAYLOAD_BYTES_MAX, "recipients leave room for the ciphertext");
    assert!(EVENTS_PER_REQUEST_MAX <= u16::MAX as usize, "an outcome counts events in 16 bits");
    assert!(MULTIPROOF_HASHES_MAX <= u16::MAX as usize, "and hashes too");
    assert!(FEED_EVENTS_MAX <= u16::MAX as usize, "and so does the feed");
    assert!(FRAME_BYTES_MAX + 128 <= FEED_BYTES_MAX, "one event always fits a message of the feed");
    assert!(OUTCOME_BYTES_MAX <= ENTRY_BYTES_MAX, "an outcome fits a tile's entry bundle");
    assert!(BINDINGS_MAX <= u16::MAX as usize, "an outcome counts bindings in 16 bits");
    assert!(
        PERMISSIONS_MAX * PERMISSION_BYTES_MAX + SCHEMAS_MAX * (EVENT_TYPE_BYTES_MAX * 6 + 70) < PAYLOAD_BYTES_MAX,
        "a submission of the largest release fits a payload, even with every character escaped"
    );
    assert!(
        ENTITY_TYPES_MAX * (ENTITY_TYPE_BYTES_MAX * 6 + 3) + 128 < PAYLOAD_BYTES_MAX,
        "so does the longest list of entity types"
    );
    assert!(PLUGIN_CONFIG_BYTES_MAX * 2 < PAYLOAD_BYTES_MAX, "and so does an installation");
    assert!(
        ANCHORS_MAX * 32 * (10 + CONSISTENCY_PATH_MAX) + 1024 < TRANSACTION_BYTES_MAX,
        "a call with as many logs as there may be fits a transaction"
    );
    assert!(JSON_DEPTH_MAX <= 64, "the canonical check keeps one bit per level in a u64");
};
