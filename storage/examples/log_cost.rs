//! What the log costs: appends runs of events, each synced, with their tiles, and reads single ones back.
//!
//! ```sh
//! cargo run --release -p tally-storage --example log_cost -- DIRECTORY EVENTS EVENTS_PER_RUN PAYLOAD_BYTES [COMPRESS]
//! ```
//!
//! Prints µs of CPU per event (all threads, so flushes count), bytes written by cause for each byte of frames, µs of a
//! run looked up at random. The directory is made and left behind.

#![allow(clippy::print_stdout, reason = "a measurement is for reading")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails has no answer")]

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{LedgerId, RunHash};
use tally_protocol::id::{AgentId, Epoch, EventId, Index, KeyId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::{PublicKey, Signature};
use tally_protocol::run::{RecordIn, RunBuilder};
use tally_protocol::time::LogTime;
use tally_storage::{Batch, Durability, EventLog, RocksConfig, TileStore, open_rocks};

/// Well-mixed bits: hashes and signatures do not compress.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn noise<const N: usize>(number: u64) -> [u8; N] {
    let mut out = [0; N];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = mix(number * 1000 + at as u64) as u8;
    }
    out
}

/// A JSON object of some text: half of it words, half hexadecimal.
fn payload(number: u64, bytes: usize) -> String {
    let mut text = format!("{{\"items\":[{{\"quantity\":{},\"sku\":\"", number % 9);
    while text.len() + 24 < bytes {
        text += &format!("{:016x} colour blue ", mix(number + text.len() as u64));
    }
    text.truncate(bytes.saturating_sub(4));
    text + "\"}]}"
}

fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().expect("a directory"));
    let mut number = || arguments.next().expect("a number").parse::<u64>().unwrap();
    let (events, per_run, payload_bytes) = (number(), number(), number() as usize);
    let compress_runs = arguments.next().is_none_or(|compress| compress == "1");
    let engine = open_rocks(&path, &RocksConfig { compress_runs, ..RocksConfig::STANDARD }).unwrap();
    let (log, tiles) = (EventLog::new(engine.clone()), TileStore::new(engine.clone()));
    let stream = Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]));
    let time = LogTime::from_micros(1_767_225_600_000_000);
    // A run's worth of frames, made before the clock starts.
    let frames: Vec<Frame> = (0..per_run)
        .map(|number| {
            let text = payload(number, payload_bytes);
            let fields = EventFields::plain(
                stream,
                EventId::from_bytes(noise(number)),
                (AgentId::from_bytes([3; 16]), KeyId::new(1)),
                ("order", "o-1"),
                "order.created",
                "2026-01-01T00:00:00Z",
                text.as_bytes(),
            );
            Frame::from_parts(&fields, text.as_bytes(), Signature::from_bytes(noise(number))).unwrap()
        })
        .collect();
    let frame_bytes: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
    let (mut next, mut previous, mut tile, mut spent) = (1, RunHash::ZERO, 0, 0.0);
    let start = Instant::now();
    while next <= events {
        let mut builder =
            RunBuilder::new(LedgerId::from_bytes([7; 32]), Epoch::new(1), Index::new(next), previous, time);
        for (frame, at) in frames.iter().zip(next..) {
            let public_key = PublicKey::from_bytes([5; 32]);
            builder.push(RecordIn { sequence: Sequence::new(at), sequenced_at: time, public_key, frame }).unwrap();
        }
        let run = builder.finish().unwrap();
        let before = cpu();
        let mut batch = Batch::new();
        log.append(&mut batch, &run, &[(stream, Sequence::new(next))]);
        while (tile + 1) * 256 < next {
            tiles.put(&mut batch, (0, tile), &noise(tile), &noise(tile));
            tile += 1;
            if tile % 256 == 0 {
                tiles.put(&mut batch, (1, tile / 256 - 1), &noise(tile), &noise(tile));
            }
        }
        engine.write(batch, Durability::Synced).unwrap();
        spent += cpu() - before;
        (next, previous) = (next + per_run, run.hash);
    }
    let wall = start.elapsed().as_secs_f64();
    let before = cpu();
    engine.flush().unwrap();
    spent += cpu() - before;
    let stats = engine.stats();
    let total = (frame_bytes as u64 / per_run * (next - 1)) as f64;
    let ratio = |bytes: u64| bytes as f64 / total;
    let per_event = 1e6 / (next - 1) as f64;
    println!(
        "frame bytes {}, cpu {:.2} us, wall {:.2} us per event",
        frame_bytes as u64 / per_run,
        spent * per_event,
        wall * per_event
    );
    println!(
        "per frame byte: wal {:.3}, flushed {:.3}, compacted {:.3}",
        ratio(stats.wal_bytes),
        ratio(stats.flushed_bytes),
        ratio(stats.compaction_written_bytes)
    );
    for family in stats.families.iter().filter(|family| family.disk_bytes > 1 << 20) {
        println!("{}: {} MiB", family.family.name(), family.disk_bytes >> 20);
    }
    for (what, whole) in [("record of a view", false), ("whole run", true)] {
        let (start, count) = (Instant::now(), 500);
        for number in 0..count {
            let index = Index::new(1 + mix(number) % (next - 1));
            if whole {
                assert!(log.run_containing(index).unwrap().unwrap().record(index).is_some());
            } else {
                assert!(log.view_containing(index).unwrap().unwrap().record(index).unwrap().is_some());
            }
        }
        println!("{what}: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    }
}
