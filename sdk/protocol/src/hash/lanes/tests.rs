//! Every engine this machine has, against `sha2`.

use super::*;

fn engines() -> Vec<(&'static str, Engine)> {
    let mut engines = vec![("single", Engine::Single)];
    #[cfg(target_arch = "x86_64")]
    {
        engines.extend(x86::avx2().map(|lanes| ("avx2", Engine::Avx2(lanes))));
        engines.extend(x86::avx512().map(|lanes| ("avx512", Engine::Avx512(lanes))));
    }
    engines
}

/// Bytes that differ from message to message and from place to place.
fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 + seed * 29 + at / 64) as u8).collect()
}

fn check(prefix: &[u8], lengths: &[usize]) {
    let messages: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(seed, &length)| bytes(length, seed)).collect();
    let expected: Vec<[u8; 32]> =
        messages.iter().map(|message| Sha256::digest([prefix, message].concat()).into()).collect();
    for (name, engine) in engines() {
        let mut out = Vec::new();
        engine.run(prefix, &mut messages.iter().map(Vec::as_slice), &mut out);
        assert!(out == expected, "{name}, prefix of {}, lengths {lengths:?}", prefix.len());
    }
}

const PREFIXES: [&[u8]; 4] = [b"", b"\x01", b"VES_PAYLOAD_PLAIN_V1", &[7; 63]];

#[test]
fn every_length_in_every_lane() {
    for prefix in PREFIXES {
        for length in 0..=700 {
            check(prefix, &[length; 17]);
        }
    }
}

#[test]
fn every_number_of_messages() {
    for count in 0..70 {
        for prefix in PREFIXES {
            check(prefix, &vec![119; count]);
            check(prefix, &(0..count).map(|at| at * 37 % 700).collect::<Vec<_>>());
        }
    }
}

#[test]
fn neighbours_of_block_borders_together() {
    let lengths: Vec<usize> =
        (0..12usize).flat_map(|block| (0..11).map(move |by| (block * 64 + by).saturating_sub(10))).collect();
    for prefix in PREFIXES {
        check(prefix, &lengths);
    }
}

#[test]
fn one_long_message_among_short_ones() {
    for at in 0..40 {
        let mut lengths = vec![3; 40];
        lengths[at] = 100_000;
        check(b"tag", &lengths);
    }
}

#[test]
fn challenges_are_sha512() {
    for count in 0..40 {
        let messages: Vec<Vec<u8>> = (0..count).map(|seed| bytes(96, seed)).collect();
        let expected: Vec<[u8; 64]> = messages.iter().map(|message| Sha512::digest(message).into()).collect();
        for (name, engine) in engines() {
            let parts = messages.iter().map(|message| {
                let (parts, _) = message.as_chunks::<32>();
                [&parts[0], &parts[1], &parts[2]]
            });
            assert!(wide_run(engine, parts) == expected, "{name}, {count}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_lengths(
        prefix in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        lengths in proptest::collection::vec(0usize..5000, 0..60),
    ) {
        check(&prefix, &lengths);
    }
}
