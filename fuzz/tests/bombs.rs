//! Inputs that claim much or repeat much: memory and time stay in proportion to the bytes that came (S-004, S-006).
//!
//! One test, because it watches the whole process: the kernel's high-water mark of resident memory, reset before each
//! input. A decoder that believed a length field, or compared every key with every other, would show at once.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use tally_fuzz::find;
use tally_protocol::control::ControlEvent;
use tally_protocol::encrypted::EncryptedPayload;
use tally_protocol::entry::Entry;
use tally_protocol::frame::{Frame, FrameError};
use tally_protocol::hash::LeafHash;
use tally_protocol::jcs;
use tally_protocol::note::Note;
use tally_protocol::outcome::Outcome;
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::proof::TlogProof;
use tally_protocol::run::StoredRun;
use tally_protocol::tile::{TileId, decode_bundle};
use tally_verify::Bundle;

const MIB: usize = 1 << 20;

/// A JSON value takes 32 bytes where its text takes two ("0,"), a growing vector holds its old half while it copies,
/// and the allocator keeps some of both.
const MEMORY_PER_BYTE: usize = 40;
/// What the process may need beside: pages of code not touched before.
const MEMORY_BASE: usize = 8 * MIB;
/// Dozens of times what the slowest needs on an idle machine, and still too little for anything quadratic.
const TIME_PER_MIB: Duration = Duration::from_secs(4);

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel tells this");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number of KiB") * 1024
}

/// Runs one decoder on one input and holds it to the bounds.
fn bounded(name: &str, input: Vec<u8>, decode: impl FnOnce(Vec<u8>)) {
    let length = input.len();
    // 5 resets the high-water mark to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").expect("the kernel allows it");
    let (before, start) = (status("VmRSS:"), Instant::now());
    decode(input);
    let (grown, took) = (status("VmHWM:").saturating_sub(before), start.elapsed());
    assert!(grown <= MEMORY_PER_BYTE * length + MEMORY_BASE, "{name}: {length} bytes of input took {grown} of memory");
    let patience = TIME_PER_MIB * u32::try_from(length.div_ceil(MIB)).expect("inputs are small");
    assert!(took <= patience, "{name}: {length} bytes of input took {took:?}");
}

/// A mebibyte of one piece, between a head and a tail.
fn filled(head: &str, piece: &str, tail: &str) -> Vec<u8> {
    [head, &piece.repeat(MIB / piece.len()), tail].concat().into_bytes()
}

/// An object of many members, in the order of their names or against it.
fn many_members(reversed: bool) -> Vec<u8> {
    let mut members: Vec<String> = (0..MIB / 12).map(|i| format!("\"k{i:06}\":0")).collect();
    if reversed {
        members.reverse();
    }
    format!("{{{}}}", members.join(",")).into_bytes()
}

fn texts() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("open arrays", filled("", "[", "")),
        ("nested arrays", [b"[".repeat(MIB / 2), b"]".repeat(MIB / 2)].concat()),
        ("open objects", filled("", "{\"\":", "")),
        ("numbers", filled("[0", ",0", "]")),
        ("empty arrays", filled("[[]", ",[]", "]")),
        ("empty strings", filled("[\"\"", ",\"\"", "]")),
        ("one number", filled("", "9", "")),
        ("one fraction", filled("0.", "0", "1")),
        ("one exponent", filled("1e", "9", "")),
        ("one string", filled("\"", "a", "\"")),
        ("escapes", filled("\"", "\\u00e9", "\"")),
        ("pairs", filled("\"", "\\ud83d\\ude00", "\"")),
        ("members in order", many_members(false)),
        ("members against the order", many_members(true)),
        ("one key many times", filled("{\"a\":0", ",\"a\":0", "}")),
        ("white space", filled("", " ", "0")),
        ("line ends", filled("", "\n", "")),
        ("signature lines", filled("o\n1\nAAAA\n\n", "\u{2014} o AAAAAAAA\n", "")),
        ("one long name", filled("o\n1\nAAAA\n\n\u{2014} ", "o", " AAAA\n")),
        ("hashes", filled("c2sp.org/tlog-proof@v1\nindex 0\n", &format!("{}=\n", "A".repeat(43)), "\n")),
        ("extra", filled("c2sp.org/tlog-proof@v1\nextra ", "AAAA", "\nindex 0\n\n")),
        ("path segments", filled("tile/0/", "x000/", "000")),
        ("zeros", vec![0; MIB]),
        ("ones", vec![0xff; MIB]),
        ("bundle path", filled("{\"format\":\"tally-bundle/1\",\"inclusion_path\":[\"\"", ",\"\"", "]}")),
    ]
}

fn decode_all(input: &[u8]) {
    // The first two bytes hold in every format that begins with a length, a magic or a brace; the rest is theirs.
    let _ = jcs::is_canonical(input);
    let _ = (Entry::decode(input), EncryptedPayload::decode(input), decode_bundle(input, 256), Bundle::decode(input));
    let _ = (ControlEvent::decode("tally.agent_key.revoked", input), tally_merkle::Frontier::decode(input));
    let _ = (PluginEvent::decode("tally.plugin.submitted", input), Outcome::decode(input, LeafHash::ZERO));
    let _ = (Frame::decode(Bytes::copy_from_slice(input)), StoredRun::decode(Bytes::copy_from_slice(input)));
    if let Ok(text) = core::str::from_utf8(input) {
        let _ = (Note::parse(text), TlogProof::parse(text), TileId::parse(text));
    }
}

/// All frames of a body, as a server would take them.
fn decode_frames(input: Vec<u8>) {
    let mut rest = Bytes::from(input);
    loop {
        match Frame::decode_prefix(&mut rest) {
            Ok(None) => break,
            Err(error) if error.loses_framing() => break,
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

#[test]
fn no_input_takes_more_than_its_share() {
    // What a first use costs is not an input's fault.
    decode_all(b"{}");
    for (name, text) in texts() {
        bounded(name, text.clone(), |input| drop(jcs::parse(&input)));
        bounded(name, text.clone(), |input| drop(jcs::canonicalize(&input)));
        bounded(name, text.clone(), |input| decode_all(&input));
        bounded(name, text, decode_frames);
    }
    // Every 32-bit field of every binary seed claims the most it can, and a little more than there is.
    for name in [
        "frame",
        "frames",
        "entry",
        "outcome",
        "commitment",
        "run",
        "run-view",
        "frontier",
        "bundle",
        "quic-to-server",
        "quic-to-client",
    ] {
        let target = find(name).expect("a target of that name");
        for seed in (target.seeds)() {
            for at in 0..seed.len().saturating_sub(4) {
                for claim in [u32::MAX, 0x0010_0000] {
                    let mut input = seed.clone();
                    input[at..at + 4].copy_from_slice(&claim.to_be_bytes());
                    if at % 16 == 0 {
                        bounded(name, input, |input| drop((target.check)(&input)));
                    } else {
                        // Reading the high-water mark costs more than the decoder; a breach stays visible to the next.
                        (target.check)(&input);
                    }
                }
            }
        }
    }
    assert!(status("VmHWM:") < 256 * MIB, "some input in between took far more than its share");
    assert!(matches!(Frame::decode(Bytes::from(vec![0xff; 64])), Err(FrameError::Length(_))));
}
