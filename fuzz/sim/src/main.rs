//! `tally-sim`: runs seeds on all cores; prints what they did, and of the first failing seed the shortest plan.
//!
//! Arguments: `--seeds N` (default 2000), `--seed S` (the first one, default 1), `--json`. Ends with 1 when a law broke.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tally_sim::disk::Segments;
use tally_sim::{Failure, Options, Plan, Report, run, shrink};

struct Arguments {
    first: u64,
    count: u64,
    json: bool,
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(why) => {
            say(&format!("tally-sim: {why}; usage: [--seeds N] [--seed S] [--json]"));
            return ExitCode::from(2);
        }
    };
    // Panics of the core are findings and are told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let (total, failures) = run_all(&arguments);
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        say(&format!(
            "{{\"seeds\":{},\"first\":{},\"failed\":{},\"entries\":{},\"receipts\":{},\"checkpoints\":{},\"restarts\":{},\"segments\":{},\"dropped_segments\":{},\"seconds\":{seconds:.1}}}",
            arguments.count,
            arguments.first,
            failures.len(),
            total[0],
            total[1],
            total[2],
            total[3],
            total[4],
            total[5]
        ));
    } else {
        say(&format!(
            "{} seeds from {}: {} entries, {} receipts and {} checkpoints checked over {} restarts, {} look-up segments written and {} dropped, in {seconds:.1} s, {} failed",
            arguments.count,
            arguments.first,
            total[0],
            total[1],
            total[2],
            total[3],
            total[4],
            total[5],
            failures.len()
        ));
    }
    let Some(first) = failures.iter().min_by_key(|failure| failure.seed) else { return ExitCode::SUCCESS };
    tell(first);
    ExitCode::from(1)
}

fn run_all(arguments: &Arguments) -> ([u64; 6], Vec<Failure>) {
    let next = AtomicU64::new(0);
    let totals = Mutex::new(([0; 6], Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= arguments.count {
                        return;
                    }
                    let result = run(arguments.first.wrapping_add(nth));
                    let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match result {
                        Ok(Report { entries, receipts, checkpoints, restarts, segments, .. }) => {
                            let Segments { written, dropped } = segments;
                            let report = [entries, receipts, checkpoints, restarts, written, dropped];
                            totals.0.iter_mut().zip(report).for_each(|(total, more)| *total += more);
                        }
                        Err(failure) => totals.1.push(failure),
                    }
                    if !arguments.json && nth > 0 && nth.is_multiple_of(5_000) {
                        say(&format!("  {nth} of {} seeds, {} failed", arguments.count, totals.1.len()));
                    }
                }
            });
        }
    });
    totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A failure with its shortest plan.
fn tell(failure: &Failure) {
    let plan = Plan::of(failure.seed);
    say(&format!(
        "seed {} broke a law at step {} of {}: {}",
        failure.seed,
        failure.step,
        plan.steps.len(),
        failure.what
    ));
    let options = Options { whole_log_each_step: failure.seed.is_multiple_of(16), ..Options::default() };
    let shrunk = shrink::shrink(&plan, options, failure);
    say(&format!("the first {} steps are enough; of these matter:", shrunk.prefix));
    for step in &shrunk.plan.steps {
        say(&format!("  {:?} (seed {:#x})", step.kind, step.seed));
    }
    say(&format!("then: {}", shrunk.failure.what));
    say(&format!("again: cargo xtask sim --seeds 1 --seed {}", failure.seed));
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { first: 1, count: 2_000, json: false };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let mut number = || rest.next().and_then(|text| text.parse().ok()).ok_or(format!("{name} takes a number"));
        match name.as_str() {
            "--seeds" => arguments.count = number()?,
            "--seed" => arguments.first = number()?,
            "--json" => arguments.json = true,
            other => return Err(format!("`{other}` is not understood")),
        }
    }
    Ok(arguments)
}

fn say(line: &str) {
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}
