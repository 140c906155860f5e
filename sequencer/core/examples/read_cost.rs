//! What reads and a start cost on a log of the stated size: fills the log in the database itself, starts a sequencer on
//! it (which folds and indexes everything), starts again, and asks.
//!
//! ```sh
//! cargo run --release -p tally-core --example read_cost -- DIRECTORY EVENTS
//! ```
//!
//! One core asks, in this process. Events are unsigned: nothing here verifies signatures. The directory is made and left
//! behind; one that is there is asked again without filling.

#![allow(clippy::print_stdout, reason = "a measurement is for reading")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails has no answer")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tally_core::{Config, FileFence, GenesisSource, Parts, Reader, Sequencer, SystemClock};
use tally_merkle::verify_inclusion;
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::RunHash;
use tally_protocol::id::{AgentId, Epoch, EventId, Index, KeyId, Sequence, StoreId, Stream, TenantId, TreeSize};
use tally_protocol::key::{Signature, SigningKey};
use tally_protocol::run::{RecordIn, RunBuilder};
use tally_protocol::tile::TileId;
use tally_protocol::time::LogTime;
use tally_storage::{Batch, Durability, Engine, EventLog, RocksConfig, open_rocks};

const RUN: u64 = 80;
const STREAMS: u64 = 64;
const TIME: LogTime = LogTime::from_micros(1_767_225_600_000_000);

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn id(number: u64) -> EventId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

fn stream(number: u64) -> Stream {
    Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([(number % STREAMS) as u8 + 1; 16]))
}

fn frame(number: u64) -> Frame {
    let payload = format!("{{\"note\":\"{:016x}{}\",\"quantity\":{}}}", mix(!number), "x".repeat(430), number % 9);
    let mut signature = [0; 64];
    for (at, chunk) in signature.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(number * 8 + at as u64).to_be_bytes());
    }
    let fields = EventFields::plain(
        stream(number),
        id(number),
        (AgentId::from_bytes([3; 16]), KeyId::new(1)),
        ("order", &format!("o-{}", number / 8)),
        "order.created",
        "2026-01-01T00:00:00Z",
        payload.as_bytes(),
    );
    Frame::from_parts(&fields, payload.as_bytes(), Signature::from_bytes(signature)).unwrap()
}

fn fill(engine: &Arc<dyn Engine>, genesis: &Genesis, events: u64) {
    let log = EventLog::new(Arc::clone(engine));
    let (mut next, mut previous) = (1, RunHash::ZERO);
    while next <= events {
        let mut batch = Batch::new();
        for _ in 0..20 {
            let mut run = RunBuilder::new(genesis.ledger_id(), Epoch::new(1), Index::new(next), previous, TIME);
            let mut firsts = Vec::new();
            for number in next..next + RUN {
                // Streams take turns, so a stream's sequence follows from the index.
                let sequence = Sequence::new(1 + (number - 1) / STREAMS);
                if number < next + STREAMS {
                    firsts.push((stream(number), sequence));
                }
                let (public_key, frame) = (genesis.root_key, frame(number));
                run.push(RecordIn { sequence, sequenced_at: TIME, public_key, frame: &frame }).unwrap();
            }
            let run = run.finish().unwrap();
            log.append(&mut batch, &run, &firsts);
            (next, previous) = (next + RUN, run.hash);
        }
        engine.write(batch, Durability::Synced).unwrap();
    }
}

fn start(path: &std::path::Path, engine: &Arc<dyn Engine>, genesis: &Genesis) -> Sequencer {
    let key = |seed: u8| SigningKey::from_seed([seed; 32]);
    let parts = Parts {
        engine: Arc::clone(engine),
        clock: Arc::new(SystemClock::new()),
        receipt_signer: Arc::new(key(1)),
        checkpoint_signer: Arc::new(key(2)),
        fence: Box::new(FileFence::open(&path.join("fence")).unwrap()),
        genesis: GenesisSource::Create(genesis.clone()),
        gate: None,
    };
    let config = Config { commit_interval: Duration::from_secs(1 << 20), adopt_fence: true, ..Config::development() };
    Sequencer::start(config, parts).unwrap()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Asks `count` times; prints rate by wall and by CPU, and the 99th percentile.
fn ask(what: &str, count: u64, each: u64, mut question: impl FnMut(u64)) {
    let (started, used) = (Instant::now(), cpu());
    let mut took: Vec<u64> = Vec::with_capacity(count as usize);
    for number in 0..count {
        let start = Instant::now();
        question(number);
        took.push(start.elapsed().as_nanos() as u64);
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu() - used);
    took.sort_unstable();
    let (total, p99) = ((count * each) as f64, took[took.len() * 99 / 100] as f64 / 1000.0);
    println!("{what:<44} {:>9.0}/s {:>9.0}/s of CPU   p99 {p99:.0} us", total / wall, total / cpu.max(0.01));
}

fn ask_all(reader: &Reader, events: u64) {
    let checkpoint = reader.checkpoint();
    let size = checkpoint.checkpoint.size;
    let random = |number: u64, salt: u64| Index::new(1 + mix(number * 977 + salt) % events);
    for index in (0..200).map(|number| random(number, 9)) {
        let proof = reader.inclusion(index, size).unwrap();
        let leaf = reader.event(index).unwrap().leaf_hash();
        verify_inclusion(&leaf, &proof, &checkpoint.checkpoint.root).unwrap();
    }
    ask("inclusion, newest 200,000 events", 200_000, 1, |number| {
        let index = Index::new(events - mix(number) % 200_000.min(events));
        reader.inclusion(index, size).unwrap();
    });
    ask("inclusion, any event", 100_000, 1, |number| {
        reader.inclusion(random(number, 1), size).unwrap();
    });
    ask("inclusion, any event, again", 100_000, 1, |number| {
        reader.inclusion(random(number, 2), size).unwrap();
    });
    ask("consistency, any two sizes", 20_000, 1, |number| {
        let (a, b) = (random(number, 3).get(), random(number, 4).get());
        reader.consistency(TreeSize::new(a.min(b)), TreeSize::new(a.max(b))).unwrap();
    });
    ask("full tile of level 0, any", 20_000, 1, |number| {
        let index = mix(number) % (events / 256).max(1);
        reader.tile(TileId { level: 0, index, width: 256 }).unwrap();
    });
    ask("event by index, any", 10_000, 1, |number| drop(reader.event(random(number, 5)).unwrap()));
    ask("event by index, newest 10,000", 50_000, 1, |number| {
        drop(reader.event(Index::new(events - mix(number) % 10_000)).unwrap());
    });
    ask("event by id, any", 10_000, 1, |number| {
        let index = random(number, 6);
        assert_eq!(reader.event_by_id(stream(index.get()), id(index.get())).unwrap().index, index);
    });
    ask("receipt, any", 10_000, 1, |number| drop(reader.receipt(random(number, 7)).unwrap()));
    ask("feed, pages of 256", 2_000, 256, |number| {
        let from = Index::new(1 + number * 256 % (events - 256));
        assert_eq!(reader.events_of_log(from, 256).unwrap().len(), 256);
    });
    ask("entity's first page", 2_000, 1, |number| {
        let index = random(number, 8).get();
        let found = reader.events_of_entity(stream(index), "order", &format!("o-{}", index / 8), None, 50).unwrap();
        assert!(!found.is_empty());
    });
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().expect("a directory"));
    let events: u64 = arguments.next().expect("how many events").parse().unwrap();
    let events = events / (RUN * 20) * (RUN * 20);
    fs::create_dir_all(&path).unwrap();
    let key = |seed: u8| SigningKey::from_seed([seed; 32]).public_key();
    let genesis = Genesis {
        origin: "tally.test/log".to_owned(),
        profile: PROFILE.to_owned(),
        created_at: TIME,
        nonce: [7; 16],
        checkpoint_key: key(2),
        receipt_key: key(1),
        root_agent: AgentId::from_bytes([9; 16]),
        root_key: key(3),
    };
    let engine = open_rocks(&path.join("db"), &RocksConfig::STANDARD).unwrap();
    if EventLog::new(Arc::clone(&engine)).tip().unwrap().is_none() {
        // The ledger first: a database without one is another's.
        start(&path, &engine, &genesis).drain(Duration::from_secs(10)).unwrap();
        let (started, used) = (Instant::now(), cpu());
        fill(&engine, &genesis, events);
        println!("filled in {:.1} s, {:.1} s of CPU", started.elapsed().as_secs_f64(), cpu() - used);
        let (started, used) = (Instant::now(), cpu());
        let sequencer = start(&path, &engine, &genesis);
        println!(
            "start that derives everything: {:.1} s, {:.1} s of CPU, {} MiB",
            started.elapsed().as_secs_f64(),
            cpu() - used,
            resident_mib()
        );
        sequencer.drain(Duration::from_secs(20)).unwrap();
    }
    drop(engine);
    let (started, used) = (Instant::now(), cpu());
    let engine = open_rocks(&path.join("db"), &RocksConfig::STANDARD).unwrap();
    let opened = started.elapsed().as_secs_f64();
    let sequencer = start(&path, &engine, &genesis);
    println!(
        "start: {:.2} s ({opened:.2} s to open the database), {:.2} s of CPU, {} MiB",
        started.elapsed().as_secs_f64(),
        cpu() - used,
        resident_mib()
    );
    ask_all(&sequencer.reader(), events);
    println!("{} MiB", resident_mib());
    // As a kill would: nothing is drained or flushed.
    std::process::exit(0);
}
