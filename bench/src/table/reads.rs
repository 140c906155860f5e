//! Reads from one core: inclusion and consistency proofs, tiles and events, at random places of a log on disk.
//!
//! The core in this process, without a network: what the read door itself serves. Every proof of a sample is checked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use tally_core::{Config, Reader};
use tally_merkle::verify_inclusion;
use tally_protocol::id::{Index, TreeSize};

use super::{Options, Page, cores, latency_plot, processor, say};
use crate::Failure;
use crate::events::{Maker, Shape};
use crate::histogram::Histogram;
use crate::load::Pace;
use crate::pipeline::{Load, run};
use crate::proc::own_thread_nanos;
use crate::svg::Bars;
use crate::world::{Store, TENANT, World};

const CHUNK: usize = 200_000;

/// One kind of read.
struct Kind {
    name: &'static str,
    latency: Histogram,
    per_second: f64,
    /// µs of the reading thread's CPU.
    cpu_micros: f64,
}

/// Places that look random and repeat from run to run: multiples of a large odd number.
fn place(turn: u64, below: u64) -> u64 {
    turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % below.max(1)
}

fn time(name: &'static str, seconds: f64, mut read: impl FnMut(u64) -> Result<(), Failure>) -> Result<Kind, Failure> {
    say(format_args!("{name} ..."));
    let (start, cpu) = (Instant::now(), own_thread_nanos());
    let (mut latency, mut turns) = (Histogram::default(), 0);
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        let begin = Instant::now();
        read(turns)?;
        latency.record(begin.elapsed().as_micros() as u64);
        turns += 1;
    }
    let reads = turns.max(1) as f64;
    let cpu_micros = (own_thread_nanos() - cpu) as f64 / 1000.0 / reads;
    Ok(Kind { name, latency, per_second: reads / start.elapsed().as_secs_f64(), cpu_micros })
}

fn kinds(reader: &Reader, seconds: f64) -> Result<Vec<Kind>, Failure> {
    let checkpoint = reader.checkpoint();
    let size = checkpoint.checkpoint.size;
    let root = checkpoint.checkpoint.root;
    let failed = |error: tally_core::ReadError| error.to_string();
    Ok(vec![
        time("inclusion proofs", seconds, |turn| {
            let index = Index::new(place(turn, size.get()));
            let proof = reader.inclusion(index, size).map_err(failed)?;
            if turn % 4096 == 1 && index.get() > 0 {
                let leaf = reader.event(index).map_err(failed)?.leaf_hash();
                verify_inclusion(&leaf, &proof, &root).map_err(|error| error.to_string())?;
            }
            black_box(proof);
            Ok(())
        })?,
        time("consistency proofs", seconds, |turn| {
            let old = TreeSize::new(1 + place(turn, size.get() - 1));
            black_box(reader.consistency(old, size).map_err(failed)?);
            Ok(())
        })?,
        time("events by index", seconds, |turn| {
            black_box(reader.event(Index::new(1 + place(turn, size.get() - 1))).map_err(failed)?);
            Ok(())
        })?,
        time("events in order, pages of 1000", seconds, |turn| {
            let from = Index::new(1 + (turn * 1000) % (size.get() - 1));
            black_box(reader.events_of_log(from, 1000).map_err(failed)?);
            Ok(())
        })?,
    ])
}

pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let events = options.events.unwrap_or(10_000_000).max(2000);
    let folder = options.work.join(format!("reads-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    let kinds = fill_and_read(options, &folder, events);
    let _ = std::fs::remove_dir_all(&folder);
    let kinds = kinds?;
    let mut markdown = format!(
        "# Reads\n\nWritten by `cargo xtask bench reads --write`.\nOne thread at the core's read door, random places of a log of {events} events on disk, started cold.\n\n\
         | | |\n|---|---|\n| processor | {} |\n| cores | {}, one used |\n\n\
         | read | per second | µs CPU each | p50 µs | p99 µs | max ms |\n|---|---|---|---|---|---|\n",
        processor(),
        cores()
    );
    for kind in &kinds {
        markdown += &format!(
            "| {} | {:.0} | {:.1} | {} | {} | {:.1} |\n",
            kind.name,
            kind.per_second,
            kind.cpu_micros,
            kind.latency.quantile(0.5),
            kind.latency.quantile(0.99),
            kind.latency.millis(1.0)
        );
    }
    markdown += "\n![Rates](reads-rate.svg)\n\n![Latency](reads-latency.svg)\n";
    let bars = Bars {
        title: "Reads per second from one core".to_owned(),
        y: "per second".to_owned(),
        bars: kinds.iter().map(|kind| (kind.name.to_owned(), kind.per_second)).collect(),
        line: Some((50_000.0, "target for inclusion proofs".to_owned())),
    };
    let curves: Vec<_> = kinds.iter().map(|kind| (kind.name.to_owned(), &kind.latency)).collect();
    let rows = kinds
        .iter()
        .take(2)
        .map(|kind| {
            [
                format!("{} at {events} events, one core", kind.name),
                format!("{:.0}/s", kind.per_second),
                format!("{:.1} µs CPU each, p99 {:.2} ms", kind.cpu_micros, kind.latency.millis(0.99)),
            ]
        })
        .collect();
    let figures: serde_json::Map<String, serde_json::Value> = kinds
        .iter()
        .map(|kind| {
            let figures = json!({
                "per_s": kind.per_second, "cpu_us": kind.cpu_micros,
                "p50_ms": kind.latency.millis(0.5), "p99_ms": kind.latency.millis(0.99),
            });
            (kind.name.to_owned(), figures)
        })
        .collect();
    Ok(Page {
        name: "reads",
        markdown,
        plots: vec![
            ("reads-rate.svg".to_owned(), bars.svg()),
            ("reads-latency.svg".to_owned(), latency_plot("Time of a read", &curves)),
        ],
        figures: json!({"events": events, "reads": figures}),
        rows,
    })
}

fn fill_and_read(options: &Options, folder: &std::path::Path, events: usize) -> Result<Vec<Kind>, Failure> {
    let store = Store::Rocks(folder.to_owned());
    let maker = Maker::new(Shape::default(), TENANT, 1);
    let load = Load { callers: 2, window: 64, pace: Pace::Closed };
    let world = World::start(&store, Config::development())?;
    world.register(&maker.agents)?;
    let mut left = events;
    while left > 0 {
        let part = left.min(CHUNK);
        run(&world, &maker, &maker.make(part)?, load)?;
        left -= part;
        say(format_args!("{} of {events} events in the log ...", events - left));
    }
    world.stop()?;
    // A new start: nothing is in memory that a running node of this size would not have read.
    let world = World::start(&store, Config::development())?;
    let kinds = kinds(&world.sequencer.reader(), options.seconds)?;
    world.stop()?;
    Ok(kinds)
}
