//! `bench-state`: µs for each changed key of a state tree of 2^20 leaves, by the size of the batch, and for proofs.
//!
//! CPU time of the one thread that works; pages lie in memory. The figures of docs/decisions/0015-state-root.md.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::process::ExitCode;

use clap::Parser;
use tally_bench::Failure;
use tally_bench::state::StateTree;

/// Measures the state tree.
#[derive(Parser)]
struct Options {
    /// Leaves of the tree, as a power of two.
    #[arg(long, default_value_t = 20)]
    log2: u32,
    /// Keys changed at once, a row each.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,10000,50000")]
    batches: Vec<usize>,
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench-state: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Failure> {
    let mut tree = StateTree::new(1 << options.log2)?;
    let (pages, bytes) = tree.size();
    println!("2^{} leaves: {pages} pages, {:.1} MB", options.log2, bytes as f64 / 1e6);
    for batch in &options.batches {
        let keys = (batch * 5).max(5000);
        let cost = tree.measure(*batch, keys)?;
        println!(
            "batch {batch:>6}: {:>7.3} µs CPU {:>7.3} µs wall a key; {:>6.3} pages, {:>8.0} bytes written a key",
            cost.cpu_us, cost.wall_us, cost.pages, cost.bytes
        );
    }
    let proofs = tree.proofs(10_000)?;
    println!(
        "proof: {:.2} µs to make, {:.2} µs to verify, {:.0} bytes",
        proofs.make_us, proofs.verify_us, proofs.bytes
    );
    Ok(())
}
