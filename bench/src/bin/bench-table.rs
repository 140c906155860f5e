//! `cargo xtask bench`: the table of what the sequencer should reach, measured with the real binary on this machine.
//!
//! Takes names of measurements (none: all), prints their figures, writes pages with plots when asked. Ends with 1 when
//! the node does not come up or a receipt does not verify; a rate is reported, never a reason to fail.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tally_bench::Failure;
use tally_bench::session::Way;
use tally_bench::table::{self, NAMES, Page};

/// Measures what the sequencer should reach.
#[derive(Parser)]
struct Options {
    /// What to measure: ingest, hot-stream, hostile, growth, with-plugins, reads. Default: all, one after the other.
    names: Vec<String>,
    /// Seconds of one phase.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Events of one phase at most; for growth and reads the size of the log (default 10 million).
    #[arg(long)]
    events: Option<usize>,
    /// The way events take; default: QUIC if the node has that door, else frames.
    #[arg(long, value_enum)]
    way: Option<Way>,
    /// Connections of the generator.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Submissions in flight on each (QUIC).
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The node's binary.
    #[arg(long, default_value = "target/release/tally")]
    binary: PathBuf,
    /// Folder below which nodes live while they are measured.
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
    /// Print one JSON object per measurement and nothing else; `ingest` alone then measures one way and payload size.
    #[arg(long)]
    json: bool,
    /// Write pages and plots into docs/benchmarks; without names this is what is done.
    #[arg(long)]
    write: bool,
    /// Where pages are written.
    #[arg(long, default_value = "docs/benchmarks")]
    docs: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let how = table::Options {
        binary: options.binary.clone(),
        work: options.work.clone(),
        seconds: options.seconds.max(0.1),
        events: options.events,
        way: options.way,
        connections: options.connections.max(1),
        window: options.window.max(1),
        rounds: options.rounds.max(1),
    };
    std::fs::create_dir_all(&how.work).map_err(|error| format!("failed to make {}: {error}", how.work.display()))?;
    if options.json && !options.write && options.names == ["ingest"] {
        println!("{}", table::ingest_figures(&how)?);
        return Ok(());
    }
    let all: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let names = if options.names.is_empty() { &all } else { &options.names };
    let mut pages: Vec<Page> = Vec::new();
    for name in names {
        let page = table::measure(name, &how)?;
        if options.json {
            println!("{}", page.figures);
        } else {
            print!("{}", page.markdown);
        }
        pages.push(page);
    }
    if options.write || options.names.is_empty() {
        table::write(&pages, &options.docs)?;
        eprintln!("written: {}", options.docs.display());
    }
    Ok(())
}
