//! What the look-up indexes cost: fills them with events of the stated number in runs of 1,024, as the sequencer does,
//! and asks for ids that are new and ids that are there.
//!
//! ```sh
//! cargo run --release -p tally-storage --example index_cost -- DIRECTORY EVENTS [STEP]
//! ```
//!
//! One line per step: events so far, µs of CPU per event (all threads, so flushes and compactions count), µs per id
//! of a batch of 100 look-ups, bytes on the disk, resident memory. The directory is made and left behind.

#![allow(clippy::print_stdout, reason = "a measurement is for reading")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails has no answer")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tally_protocol::hash::LedgerId;
use tally_protocol::id::{EventId, Index, Sequence, StoreId, Stream, TenantId};
use tally_storage::{DerivedIndex, RocksConfig, open_rocks};

const RUN: u64 = 1024;
const ASKED: u64 = 100;
/// One event in so many is the first of a new entity.
const EVENTS_PER_ENTITY: u64 = 8;

/// Well-mixed bits of a number: ids without a clock in front, which is the worst case.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn id(number: u64) -> EventId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number).to_be_bytes());
    bytes[8..].copy_from_slice(&mix(!number).to_be_bytes());
    EventId::from_bytes(bytes)
}

fn stream() -> Stream {
    Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]))
}

/// Seconds of CPU of this process, all threads.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn written_mib() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("write_bytes")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 20
}

fn disk_mib(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes >> 20
}

fn asked(index: &DerivedIndex, numbers: impl Iterator<Item = u64>) -> (f64, u64) {
    let numbers: Vec<u64> = numbers.collect();
    let (start, mut found) = (Instant::now(), 0);
    for chunk in numbers.chunks(ASKED as usize) {
        let ids: Vec<_> = chunk.iter().map(|number| (stream(), id(*number))).collect();
        found += index.find_event_ids(&ids).unwrap().iter().flatten().count() as u64;
    }
    (start.elapsed().as_secs_f64() * 1e6 / numbers.len() as f64, found)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().expect("a directory"));
    let events: u64 = arguments.next().expect("how many events").parse().unwrap();
    let step: u64 = arguments.next().map_or(events / 10, |step| step.parse().unwrap());
    let engine = open_rocks(&path, &RocksConfig::STANDARD).unwrap();
    let index = DerivedIndex::open(engine, &LedgerId::from_bytes([7; 32])).unwrap();
    let (mut next, mut mark, mut used, mut wrote) = (1, step, cpu(), written_mib());
    let mut start = Instant::now();
    println!("events write_cpu_us write_wall_us new_us known_us disk_mib written_mib rss_mib");
    while next <= events {
        let mut rows = index.rows();
        for number in next..next + RUN {
            rows.put_event_id(&stream(), &id(number), Index::new(number));
            let entity = format!("order-{}", mix(number / EVENTS_PER_ENTITY));
            rows.put_entity(&stream(), "order", &entity, Index::new(number));
        }
        rows.put_stream_head(&stream(), Sequence::new(next + RUN));
        next += RUN;
        index.add(rows, Index::new(next)).unwrap();
        if next >= mark {
            let per = 1e6 / step as f64;
            let (cpu_us, wall_us) = ((cpu() - used) * per, start.elapsed().as_secs_f64() * per);
            let written = written_mib() - wrote;
            let (new_us, wrong) = asked(&index, (0..20_000).map(|at| u64::MAX / 2 + next * 4 + at));
            let (known_us, found) = asked(&index, (0..20_000).map(|at| 1 + mix(at + next) % (next - 1)));
            assert_eq!((wrong, found), (0, 20_000));
            let (disk, rss) = (disk_mib(&path), resident_mib());
            println!("{next} {cpu_us:.2} {wall_us:.2} {new_us:.2} {known_us:.2} {disk} {written} {rss}");
            (mark, used, wrote, start) = (mark + step, cpu(), written_mib(), Instant::now());
        }
    }
}
