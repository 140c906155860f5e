//! `bench-stages`: µs of CPU per event of each stage's work alone, on this machine: the figures of sketches.md.
//!
//! CPU time of the one thread that works, not wall time: it says nearly the same on a machine that does other things.
//! For statistics with confidence there is `cargo bench --package tally-bench --bench stages` (criterion).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use tally_bench::Failure;
use tally_bench::proc::own_thread_nanos;
use tally_bench::stages::{RUN, all};

/// Measures each stage's work alone.
#[derive(Parser)]
struct Options {
    /// Bytes of a payload.
    #[arg(long, default_value_t = 500)]
    payload: usize,
    /// Seconds for each stage.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only stages whose name holds this.
    filter: Option<String>,
    /// Folder for the database of the storage stages; removed afterwards.
    #[arg(long, default_value = "target/bench-stages")]
    data: PathBuf,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let measured = measure(&options);
    let _ = std::fs::remove_dir_all(&options.data);
    match measured {
        Ok(figures) => {
            if options.json {
                println!("{figures}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bench-stages: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<Value, Failure> {
    let mut figures = serde_json::Map::new();
    for mut stage in all(options.payload, &options.data)? {
        if options.filter.as_ref().is_some_and(|filter| !stage.name.contains(filter.as_str())) {
            continue;
        }
        (stage.run)();
        let (start, cpu) = (Instant::now(), own_thread_nanos());
        let mut events = 0;
        while start.elapsed() < Duration::from_secs_f64(options.seconds) {
            (stage.run)();
            events += RUN;
        }
        let wall = start.elapsed().as_secs_f64() * 1e6 / events as f64;
        let cpu = (own_thread_nanos() - cpu) as f64 / 1000.0 / events as f64;
        if !options.json {
            let rate = if stage.bytes > 0 { format!("{:>6.0} MB/s", stage.bytes as f64 / cpu) } else { String::new() };
            println!("{:<32} {cpu:>8.3} µs CPU {wall:>8.3} µs wall {rate}", stage.name);
        }
        figures.insert(stage.name.to_owned(), json!({"cpu_us": cpu, "wall_us": wall, "bytes": stage.bytes}));
    }
    Ok(json!({"payload_bytes": options.payload, "per_event": figures}))
}
