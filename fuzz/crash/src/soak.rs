//! A soak: a tenth of full load for a long time, the node's memory looked at every few seconds.
//!
//! Full load is measured first, in the same run, with the same clients. Memory is flat if, leaving out the first third
//! (caches and write buffers fill), the largest reading of the second half of the rest is at most a tenth above the
//! largest of its first half.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::against_log::{Compared, compare};
use crate::load::{Door, Kept, Shared, Worker};
use crate::node::Home;

const THREADS: u64 = 4;
const BATCH: usize = 50;
/// How long full load is measured.
const FULL: Duration = Duration::from_secs(20);
/// How often memory is read.
const SAMPLE: Duration = Duration::from_secs(5);
/// One receipt in so many is kept for the comparison in the end; each is verified when it comes.
const KEEP_ONE_IN: u64 = 16;
/// How much the late readings may lie above the early ones.
const FLAT_WITHIN: f64 = 1.10;

/// One minute.
#[derive(Debug, Clone, Copy)]
struct Minute {
    events: u64,
    rss_mib_max: f64,
    p50_ms: f32,
    p99_ms: f32,
}

/// What a soak found.
#[derive(Debug)]
pub struct Report {
    full_rate: f64,
    minutes: Vec<Minute>,
    early_mib: f64,
    late_mib: f64,
    acknowledged: u64,
    compared: Compared,
    fsck: Value,
}

/// Soaks for so many minutes.
///
/// # Errors
/// A law broke, or memory was not flat.
pub fn run(home: &Home, minutes: u64, say: impl Fn(&str)) -> Result<Report, Failure> {
    let mut node = home.spawn()?;
    let (ready, _) = node.ready()?;
    let door = Door::open(&ready, THREADS)?;
    let shared = Shared::new();
    let workers: Vec<Worker> =
        (0..THREADS).map(|number| Worker::new(&door, number, BATCH, KEEP_ONE_IN, &shared)).collect::<Result<_, _>>()?;
    let (workers, measured) = std::thread::scope(|scope| {
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || worker.work())).collect();
        let measured = measure(&shared, minutes, || node.rss_kib(), &say);
        shared.stop.store(true, Ordering::SeqCst);
        let workers: Vec<Worker> = running.into_iter().filter_map(|worker| worker.join().ok()).collect();
        (workers, measured)
    });
    let (full_rate, minutes, samples) = measured?;
    shared.holds()?;
    node.stop()?;
    let mut kept: Vec<Kept> = workers.into_iter().flat_map(|worker| worker.kept).collect();
    let roots = shared.roots.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let compared = compare(&home.data(), &mut kept, &roots)?;
    let fsck = home.fsck()?;
    let settled = &samples[samples.len() / 3..];
    let (early, late) = settled.split_at(settled.len() / 2);
    let acknowledged = shared.counts.acknowledged.load(Ordering::Relaxed);
    let report =
        Report { full_rate, minutes, early_mib: largest(early), late_mib: largest(late), acknowledged, compared, fsck };
    if report.late_mib > report.early_mib * FLAT_WITHIN {
        return Err(format!("memory is not flat: {:.0} MiB, later {:.0} MiB", report.early_mib, report.late_mib));
    }
    Ok(report)
}

type Measured = (f64, Vec<Minute>, Vec<f64>);

fn measure(shared: &Shared, minutes: u64, rss_kib: impl Fn() -> u64, say: &impl Fn(&str)) -> Result<Measured, Failure> {
    say("  full load");
    let events = || shared.counts.acknowledged.load(Ordering::Relaxed);
    let (before, began) = (events(), Instant::now());
    std::thread::sleep(FULL);
    let full_rate = (events() - before) as f64 / began.elapsed().as_secs_f64();
    let every = THREADS as f64 * BATCH as f64 / (full_rate / 10.0) * 1e6;
    shared.every_micros.store(every as u64, Ordering::SeqCst);
    say(&format!("  {full_rate:.0} events/s; now a tenth of it for {minutes} minutes"));
    let (mut list, mut samples) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        take_latencies(shared);
        let (before, end) = (events(), Instant::now() + Duration::from_secs(60));
        let mut rss_mib_max = 0.0_f64;
        while Instant::now() < end {
            std::thread::sleep(SAMPLE.min(end.saturating_duration_since(Instant::now())));
            shared.holds()?;
            let rss = rss_kib() as f64 / 1024.0;
            samples.push(rss);
            rss_mib_max = rss_mib_max.max(rss);
        }
        let mut latencies = take_latencies(shared);
        latencies.sort_by(f32::total_cmp);
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        let done = Minute { events: events() - before, rss_mib_max, p50_ms: at(0.5), p99_ms: at(0.99) };
        say(&format!(
            "  minute {:>3}: {:.0} MiB, {} events, p99 {:.1} ms",
            minute + 1,
            rss_mib_max,
            done.events,
            done.p99_ms
        ));
        list.push(done);
    }
    Ok((full_rate, list, samples))
}

fn take_latencies(shared: &Shared) -> Vec<f32> {
    std::mem::take(&mut *shared.latencies.lock().unwrap_or_else(PoisonError::into_inner))
}

fn largest(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}

impl Report {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "minutes": self.minutes.len(),
            "full_events_per_second": self.full_rate.round(),
            "events_acknowledged": self.acknowledged,
            "rss_mib": {"early_max": self.early_mib.round(), "late_max": self.late_mib.round()},
            "flat_within": FLAT_WITHIN,
            "receipts_compared": self.compared.receipts,
            "signed_roots_compared": self.compared.roots,
            "entries": self.compared.entries,
            "fsck_ok": self.fsck["ok"],
        })
    }

    /// As lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{} events acknowledged in {} minutes at a tenth of {:.0} events/s; memory at most {:.0} MiB, later {:.0} MiB: flat\n",
            self.acknowledged,
            self.minutes.len(),
            self.full_rate,
            self.early_mib,
            self.late_mib
        )
    }

    /// As the page of the documentation.
    #[must_use]
    pub fn page(&self) -> String {
        let rows: String = (1..)
            .zip(&self.minutes)
            .map(|(minute, done)| {
                let Minute { events, rss_mib_max, p50_ms, p99_ms } = done;
                format!("| {minute} | {events} | {rss_mib_max:.0} | {p50_ms:.1} | {p99_ms:.1} |\n")
            })
            .collect();
        format!(
            "# A tenth of full load for long\n\n\
             Written by `cargo xtask soak --minutes {} --write`; the figures are of one run on one machine, clients and node together.\n\
             Full load was measured first, in the same run: {:.0} events/s over HTTP and QUIC from {THREADS} client threads that verify every receipt, {BATCH} events a submission.\n\n\
             Memory is called flat if, leaving out the first third of the readings, the largest of the second half of the rest is at most {:.0} % above the largest of its first half.\n\
             Here: {:.0} MiB, then {:.0} MiB.\n\n\
             {} events were acknowledged; of the receipts, one in {KEEP_ONE_IN} was kept and found in the stored log ({} of them), all {} signed roots were derived again from it, and `tally fsck` found it clean at size {}.\n\n\
             | minute | events | memory, max MiB | p50 ms | p99 ms |\n|---|---|---|---|---|\n{rows}",
            self.minutes.len(),
            self.full_rate,
            (FLAT_WITHIN - 1.0) * 100.0,
            self.early_mib,
            self.late_mib,
            self.acknowledged,
            self.compared.receipts,
            self.compared.roots,
            self.compared.entries,
        )
    }
}
