//! Growth: latency, memory, disk and restart at several sizes of one log.
//!
//! At each size the node is loaded at a fixed rate, so that the sizes compare; then it is killed and started again, and
//! the time runs until an event has its receipt.

use std::time::Instant;

use serde_json::json;

use super::{Options, Page, head, latency_plot, say};
use crate::Failure;
use crate::events::Shape;
use crate::histogram::Histogram;
use crate::load::Pace;
use crate::session::Plan;
use crate::svg::{Lines, Series};

/// Events signed and submitted at once while the log grows: bounds the generator's memory.
const CHUNK: usize = 200_000;

/// What was seen at one size.
struct At {
    events: u64,
    fill_rate: f64,
    latency: Histogram,
    rate: f64,
    rss_mb: f64,
    rss_after_restart_mb: f64,
    disk_bytes: u64,
    ready_seconds: f64,
    receipt_seconds: f64,
}

/// The sizes: 1 M, 10 M and what was asked for, none above it.
fn sizes(asked: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = [1_000_000, 10_000_000, asked].into_iter().filter(|size| *size <= asked).collect();
    if asked < 1_000_000 {
        // A short run still compares sizes.
        sizes = vec![(asked / 10).max(1000), asked.max(2000)];
    }
    sizes.dedup();
    sizes
}

pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let mut session = options.session("growth")?;
    let way = options.way(&session);
    let maker = session.maker(Shape { one_agent_a_body: true, ..Shape::default() }, session.node.tenant)?;
    let plan = session.plan(way, options.connections, options.window);
    let warm = session.warm_up(&maker, &plan, 20_000.min(options.events.unwrap_or(20_000)))?;
    let rate = warm / 4.0;
    let mut events: u64 = 20_000.min(options.events.unwrap_or(20_000)) as u64;
    let mut rows: Vec<At> = Vec::new();
    for size in sizes(options.events.unwrap_or(10_000_000)) {
        say(format_args!("growing to {size} events ..."));
        let (mut grown, mut seconds) = (0, 0.0);
        while events < size as u64 {
            let part = session.measure(&maker, CHUNK.min(size - events as usize), &plan)?;
            grown += part.phase.events;
            seconds += part.phase.seconds;
            events += part.phase.events as u64;
        }
        say(format_args!("a fixed rate at {events} events ..."));
        let steady = Plan { pace: Pace::Open(rate), seconds_max: Some(options.seconds), ..plan.clone() };
        let measured = session.measure(&maker, options.events_at(rate), &steady)?;
        events += measured.phase.events as u64;
        let rss_mb = session.node.proc().rss_bytes() as f64 / 1e6;
        let disk_bytes = session.node.disk_bytes();
        let start = Instant::now();
        let ready_seconds = session.node.kill_and_restart()?;
        let first = Plan { connections: 1, window: 1, ..session.plan(way, 1, 1) };
        // Signing one request beforehand would not matter: it is two milliseconds.
        let first = session.measure(&maker, 1, &first)?;
        events += first.phase.events as u64;
        rows.push(At {
            events,
            fill_rate: f64::from(u32::try_from(grown).unwrap_or(u32::MAX)) / f64::max(seconds, 1e-9),
            latency: measured.phase.latency,
            rate,
            rss_mb,
            rss_after_restart_mb: session.node.proc().rss_bytes() as f64 / 1e6,
            disk_bytes,
            ready_seconds,
            receipt_seconds: start.elapsed().as_secs_f64(),
        });
    }
    let about = "Written by `cargo xtask bench growth --write`.\nOne data directory that grows; at each size the same open-loop load, then `kill -9` and a restart.";
    let mut markdown = head("Growth", about, &session, way, options);
    markdown += "| events in the log | events/s while growing | p50 / p99 ms at a fixed rate | memory MB | disk bytes/event | ready after kill -9, s | first receipt, s | memory after restart MB |\n\
                 |---|---|---|---|---|---|---|---|\n";
    for at in &rows {
        markdown += &format!(
            "| {} | {:.0} | {:.1} / {:.1} at {:.0}/s | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} |\n",
            at.events,
            at.fill_rate,
            at.latency.millis(0.5),
            at.latency.millis(0.99),
            at.rate,
            at.rss_mb,
            at.disk_bytes as f64 / at.events.max(1) as f64,
            at.ready_seconds,
            at.receipt_seconds,
            at.rss_after_restart_mb,
        );
    }
    markdown += "\n![Latency](growth-latency.svg)\n\n![Restart](growth-restart.svg)\n";
    let name = |at: &At| format!("{:.1} M events", at.events as f64 / 1e6);
    let curves: Vec<_> = rows.iter().map(|at| (name(at), &at.latency)).collect();
    let line = |name: &str, of: fn(&At) -> f64| Series {
        name: name.to_owned(),
        points: rows.iter().map(|at| ((at.events as f64).log10(), of(at))).collect(),
    };
    let restart = Lines {
        title: "Seconds from kill -9".to_owned(),
        x: "events in the log".to_owned(),
        y: "s".to_owned(),
        x_marks: rows.iter().map(|at| ((at.events as f64).log10(), name(at))).collect(),
        y_log: false,
        series: vec![line("ready", |at| at.ready_seconds), line("first receipt", |at| at.receipt_seconds)],
    };
    let figures: Vec<_> = rows
        .iter()
        .map(|at| {
            json!({
                "events": at.events, "fill_events_per_s": at.fill_rate, "rate": at.rate,
                "p50_ms": at.latency.millis(0.5), "p99_ms": at.latency.millis(0.99), "rss_mb": at.rss_mb,
                "rss_after_restart_mb": at.rss_after_restart_mb, "disk_bytes": at.disk_bytes,
                "ready_seconds": at.ready_seconds, "first_receipt_seconds": at.receipt_seconds,
            })
        })
        .collect();
    let summary = rows
        .iter()
        .map(|at| {
            [
                format!("restart after kill -9 with {}", name(at)),
                format!("{:.2} s to the first receipt", at.receipt_seconds),
                format!("p99 {:.1} ms at {:.0}/s, {:.0} MB", at.latency.millis(0.99), at.rate, at.rss_mb),
            ]
        })
        .collect();
    Ok(Page {
        name: "growth",
        markdown,
        plots: vec![
            ("growth-latency.svg".to_owned(), latency_plot("Latency as the log grows", &curves)),
            ("growth-restart.svg".to_owned(), restart.svg()),
        ],
        figures: json!({"way": way.name(), "raw_verify_per_s": session.raw.per_second, "sizes": figures}),
        rows: summary,
    })
}

#[cfg(test)]
mod tests {
    use super::sizes;

    #[test]
    fn sizes_rise_to_what_was_asked_for() {
        assert_eq!(sizes(50_000_000), [1_000_000, 10_000_000, 50_000_000]);
        assert_eq!(sizes(10_000_000), [1_000_000, 10_000_000]);
        assert_eq!(sizes(3_000_000), [1_000_000, 3_000_000]);
        assert_eq!(sizes(20_000), [2_000, 20_000]);
    }
}
