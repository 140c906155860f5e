//! `bench-pipeline`: the core alone, in this process, under load; made to be profiled.
//!
//! Signs events (or reads them from a cache), starts the core on RocksDB or in memory, submits, checks a sample of the
//! receipts, and says where the CPU went, by stage. With `--pause` it waits after the set-up, so that a profiler can
//! be attached to the measured part only.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tally_bench::Failure;
use tally_bench::events::{Body, Maker, Shape, Spoil};
use tally_bench::load::Pace;
use tally_bench::pipeline::{Load, Outcome, run};
use tally_bench::proc::Proc;
use tally_bench::raw::{Raw, verify_rate};
use tally_bench::world::{Store, TENANT, World};
use tally_core::Config;
use tally_core::metrics::Reading;

/// Loads the core in this process, without a network, and says where the CPU goes.
///
/// Profile the measured part: `perf record -g -D 15000 -- bench-pipeline --cache target/bench-events` (the delay skips
/// the set-up), or `--pause 5` and attach to the process id it prints.
#[derive(Parser)]
struct Options {
    /// Events to submit.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Where the log is kept.
    #[arg(long, value_enum, default_value_t = Kept::Rocks)]
    engine: Kept,
    /// Folder for the database; emptied before and removed afterwards unless --keep is given.
    #[arg(long, default_value = "target/bench-pipeline")]
    data: PathBuf,
    /// Go on with the database that is there, and leave it there.
    #[arg(long)]
    keep: bool,
    /// Keep signed events in this folder and use them again.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Threads that submit.
    #[arg(long, default_value_t = 2)]
    callers: usize,
    /// Submissions each caller keeps in flight.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Events of one submission.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Agents that sign, in turn.
    #[arg(long, default_value_t = 64)]
    agents: usize,
    /// Streams that are written, in turn; 1 is one hot stream.
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 500)]
    payload: usize,
    /// One event of so many has a bad signature.
    #[arg(long)]
    bad_one_in: Option<usize>,
    /// Callers that send the bad ones.
    #[arg(long, default_value_t = 1)]
    bad_callers: usize,
    /// Events per second (open loop) instead of as fast as can be.
    #[arg(long)]
    rate: Option<f64>,
    /// Threads that verify; default: one per core.
    #[arg(long)]
    verify_workers: Option<usize>,
    /// Signatures a verifier gathers.
    #[arg(long)]
    verify_batch: Option<usize>,
    /// Events of a warm-up before the clock runs.
    #[arg(long, default_value_t = 20_000)]
    warm_up: usize,
    /// Seconds to wait before the clock runs.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Do not measure the raw verification rate.
    #[arg(long)]
    no_raw: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kept {
    Rocks,
    Memory,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(figures) => {
            if options.json {
                println!("{figures}");
            } else {
                print!("{}", text(&figures));
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench-pipeline: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<Value, Failure> {
    let spoil =
        options.bad_one_in.map(|one_in| Spoil { callers: options.callers, bad_callers: options.bad_callers, one_in });
    let shape = Shape {
        agents: options.agents,
        streams: options.streams,
        payload_bytes: options.payload,
        batch: options.batch.clamp(1, 1000),
        one_agent_a_body: false,
        spoil,
    };
    // A database that is kept may hold these very events already: then they need other ids.
    let seed = if options.keep { Maker::fresh_seed()? } else { 1 };
    let maker = Maker::new(shape, TENANT, seed);
    let make = |events: usize| -> Result<Vec<Body>, Failure> {
        match &options.cache {
            Some(folder) => maker.make_cached(events, folder),
            None => maker.make(events),
        }
    };
    eprintln!("signing {} events ...", options.events);
    let (warm, bodies) = (make(options.warm_up)?, make(options.events)?);
    let raw = if options.no_raw { None } else { Some(verify_rate(&maker, tally_bench::raw::SECONDS)?) };
    let store = match options.engine {
        Kept::Memory => Store::Memory,
        Kept::Rocks => Store::Rocks(options.data.clone()),
    };
    if !options.keep {
        let _ = std::fs::remove_dir_all(&options.data);
    }
    std::fs::create_dir_all(&options.data).map_err(|error| format!("failed to make the folder: {error}"))?;
    let mut config = Config::development();
    config.verify_workers = options.verify_workers.unwrap_or(config.verify_workers);
    config.verify_batch_max = options.verify_batch.unwrap_or(config.verify_batch_max);
    let world = World::start(&store, config)?;
    world.register(&maker.agents)?;
    let pace = options.rate.map_or(Pace::Closed, Pace::Open);
    let load = Load { callers: options.callers, window: options.window, pace };
    run(&world, &maker, &warm, load)?;
    if options.pause > 0 {
        eprintln!("process {} waits {} s ...", std::process::id(), options.pause);
        std::thread::sleep(Duration::from_secs(options.pause));
    }
    eprintln!("submitting ...");
    let outcome = run(&world, &maker, &bodies, load)?;
    let figures = figures(options, &world, &outcome, raw);
    world.stop()?;
    if !options.keep {
        let _ = std::fs::remove_dir_all(&options.data);
    }
    Ok(figures)
}

fn figures(options: &Options, world: &World, outcome: &Outcome, raw: Option<Raw>) -> Value {
    let metrics = world.sequencer.metrics();
    // Histograms of the core as count and mean.
    let means: serde_json::Map<String, Value> = metrics
        .read()
        .into_iter()
        .filter_map(|(name, _, reading)| match reading {
            Reading::Histogram(rows, sum) => {
                let count = rows.last().map_or(0, |row| row.1);
                Some((name.to_owned(), json!({"count": count, "mean": sum as f64 / count.max(1) as f64})))
            }
            _ => None,
        })
        .collect();
    let stages: serde_json::Map<String, Value> =
        outcome.cpu_per_event().into_iter().map(|(name, micros)| (name, json!(micros))).collect();
    json!({
        "engine": match options.engine { Kept::Rocks => "rocks", Kept::Memory => "memory" },
        "events": outcome.accepted,
        "rejected": outcome.rejected,
        "seconds": outcome.seconds,
        "events_per_s": outcome.rate(),
        "raw_verify_per_s": raw.map(|raw| raw.per_second),
        "raw_verify_cpu_us": raw.map(|raw| raw.cpu_micros),
        "ratio": raw.map(|raw| outcome.rate() / raw.per_second),
        "ratio_of_cpu": raw.map(|raw| raw.cpu_micros / outcome.cpu_per_event().iter().map(|row| row.1).sum::<f64>()),
        "p50_ms": outcome.latency.millis(0.5),
        "p99_ms": outcome.latency.millis(0.99),
        "max_ms": outcome.latency.millis(1.0),
        "busy": outcome.busy,
        "core_cpu_us_per_event": outcome.core_cpu_per_event(),
        "cpu_us_per_event": stages,
        "frame_bytes": outcome.frame_bytes,
        "disk_bytes_written": outcome.io.written,
        "written_per_frame_byte": outcome.io.written as f64 / outcome.frame_bytes.max(1) as f64,
        "rss_mb": Proc::own().rss_bytes() as f64 / 1e6,
        "receipts_checked": outcome.checked,
        "core_metrics": means,
    })
}

fn text(figures: &Value) -> String {
    let number = |name: &str| figures[name].as_f64().unwrap_or(0.0);
    let mut out = format!(
        "{:.0} events/s durable and proven ({} engine), {} events in {:.2} s, {} refused\n",
        number("events_per_s"),
        figures["engine"].as_str().unwrap_or_default(),
        figures["events"],
        number("seconds"),
        figures["rejected"],
    );
    if let Some(raw) = figures["raw_verify_per_s"].as_f64() {
        out += &format!(
            "{raw:.0} raw verifications/s on all cores, {:.2} µs each; ratio {:.3}, of CPU {:.3}\n",
            number("raw_verify_cpu_us"),
            number("ratio"),
            number("ratio_of_cpu"),
        );
    }
    out += &format!(
        "receipts: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {} checked offline; {} times busy\n",
        number("p50_ms"),
        number("p99_ms"),
        number("max_ms"),
        figures["receipts_checked"],
        figures["busy"],
    );
    out += &format!(
        "to disk: {:.2} bytes per frame byte; {:.0} MB resident, signed events included\n",
        number("written_per_frame_byte"),
        number("rss_mb"),
    );
    out += &format!("\ncore CPU {:.2} µs per event:\n", number("core_cpu_us_per_event"));
    let mut stages: Vec<(&str, f64)> = figures["cpu_us_per_event"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, micros)| (name.as_str(), micros.as_f64().unwrap_or(0.0)))
        .collect();
    stages.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (name, micros) in stages {
        out += &format!("  {name:<16} {micros:>7.2}\n");
    }
    out += "\nthe core's own means:\n";
    for (name, mean) in figures["core_metrics"].as_object().into_iter().flatten() {
        out += &format!("  {name:<24} {:>10.1}  ({} times)\n", mean["mean"].as_f64().unwrap_or(0.0), mean["count"]);
    }
    out
}
