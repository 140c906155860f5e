//! Ingest: events per second in a closed loop, latencies at half of that in an open loop, and what it costs.

use serde_json::{Value, json};

use super::{Options, Page, head, latency_plot, say, written};
use crate::Failure;
use crate::events::Shape;
use crate::load::Pace;
use crate::session::{Measured, Plan, Session, Way};
use crate::svg::Bars;

/// One way and payload size.
struct Row {
    way: Way,
    payload: usize,
    raw: f64,
    full: Measured,
    half: Measured,
    rss_mb: f64,
    amplification: f64,
    /// Bytes of stored runs per frame byte: what the log itself takes, written twice (log file, table).
    truth: f64,
}

fn shape(way: Way, payload: usize) -> Shape {
    Shape { payload_bytes: payload, one_agent_a_body: matches!(way, Way::Quic | Way::Ves), ..Shape::default() }
}

fn measure_row(options: &Options, session: &Session, way: Way, payload: usize) -> Result<Row, Failure> {
    say(format_args!("{}, {payload} bytes: warming up ...", way.name()));
    let maker = session.maker(shape(way, payload), session.node.tenant)?;
    let plan = session.plan(way, options.connections, options.window);
    let (bytes_before, metrics_before) = (written(session), session.node.metrics()?);
    let rate = session.warm_up(&maker, &plan, options.events.unwrap_or(40_000).min(40_000))?;
    say(format_args!("{}, {payload} bytes: full load ...", way.name()));
    let full = session.measure(&maker, options.events_at(rate), &plan)?;
    let rate = full.phase.rate() / 2.0;
    say(format_args!("{}, {payload} bytes: half of it ...", way.name()));
    let half = Plan { pace: Pace::Open(rate), seconds_max: Some(options.seconds), ..plan };
    let half = session.measure(&maker, options.events_at(rate), &half)?;
    let metrics = session.node.metrics()?;
    let risen = |name: &str| metrics.get(name).unwrap_or(&0.0) - metrics_before.get(name).unwrap_or(&0.0);
    // The warm-up's frames are of one size with the others.
    let accepted = risen("tally_events_accepted_total").max(1.0);
    let frame = full.phase.frame_bytes as f64 / full.phase.events.max(1) as f64;
    Ok(Row {
        way,
        payload,
        raw: session.raw.per_second,
        rss_mb: session.node.proc().rss_bytes_max() as f64 / 1e6,
        amplification: (written(session) - bytes_before) as f64 / (accepted * frame),
        truth: risen("tally_run_bytes_sum") / (accepted * frame),
        full,
        half,
    })
}

fn json_of(row: &Row) -> Value {
    let phase = &row.full.phase;
    json!({
        "events_per_s": phase.rate(),
        "raw_verify_per_s": row.raw,
        "ratio": phase.rate() / row.raw,
        "p50_ms": row.half.phase.millis(0.5),
        "p99_ms": row.half.phase.millis(0.99),
        "rss_mb": row.rss_mb,
        "write_amplification": row.amplification,
        "stored_run_bytes_per_frame_byte": row.truth,
        "way": row.way.name(),
        "payload_bytes": row.payload,
        "events": phase.events,
        "full_load_ms": {"p50": phase.millis(0.5), "p99": phase.millis(0.99)},
        "node_cpu_us_per_event": row.full.cost.node_micros(phase.events),
        "generator_cpu_us_per_event": row.full.cost.own_micros(phase.events),
        "receipts_checked": row.full.checked + row.half.checked,
    })
}

/// The short form: one way, 500-byte payloads.
pub(super) fn figures(options: &Options) -> Result<Value, Failure> {
    let session = options.session("ingest")?;
    let row = measure_row(options, &session, options.way(&session), 500)?;
    Ok(json_of(&row))
}

/// Every way, and every payload size the best way.
pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let session = options.session("ingest")?;
    let best = options.way(&session);
    let mut wanted = vec![(best, 500), (best, 100), (best, 4096)];
    wanted.extend([Way::Frames, Way::Json, Way::Ves].into_iter().filter(|way| *way != best).map(|way| (way, 500)));
    let mut rows = Vec::new();
    for (way, payload) in wanted {
        rows.push(measure_row(options, &session, way, payload)?);
    }
    let about = "Written by `cargo xtask bench ingest --write`.\nEvery event is signed by its agent, synced to disk, \
                 folded, covered by a signed checkpoint and answered with its proof before it counts.";
    let mut markdown = head("Ingest", about, &session, best, options);
    markdown += "| way | payload | events/s | of raw | node CPU µs/event | generator | p50 / p99 ms at half load | \
                 p50 / p99 at full load | bytes to disk per frame byte | of them stored runs, once | receipts checked |\n\
                 |---|---|---|---|---|---|---|---|---|---|---|\n";
    for row in &rows {
        let (full, half) = (&row.full.phase, &row.half.phase);
        markdown += &format!(
            "| {} | {} B | {:.0} | {:.2} | {:.1} | {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {:.2} | {:.2} | {} |\n",
            row.way.name(),
            row.payload,
            full.rate(),
            full.rate() / row.raw,
            row.full.cost.node_micros(full.events),
            row.full.cost.own_micros(full.events),
            half.millis(0.5),
            half.millis(0.99),
            full.millis(0.5),
            full.millis(0.99),
            row.amplification,
            row.truth,
            row.full.checked + row.half.checked,
        );
    }
    let memory = session.node.proc().rss_bytes_max() as f64 / 1e6;
    markdown += &format!(
        "\nThe node took at most {memory:.0} MB.\nFull load is a closed loop. Half load is an open loop at half of that rate: a \
         latency runs from the moment the schedule gave the request, so a stall counts for everything behind it.\n\n\
         ![Events per second](ingest-rate.svg)\n\n![Latency at half load](ingest-latency.svg)\n\n## Where the node's CPU goes\n\n\
         {} at full load, 500-byte payloads, µs per event by thread:\n\n| thread | µs |\n|---|---|\n",
        rows[0].way.name()
    );
    let events = rows[0].full.phase.events.max(1) as f64;
    let mut threads: Vec<_> = rows[0].full.cost.node_threads.iter().collect();
    threads.sort_by(|left, right| right.1.cmp(left.1));
    for (name, nanos) in threads {
        markdown += &format!("| {name} | {:.2} |\n", *nanos as f64 / 1000.0 / events);
    }
    let name = |row: &Row| format!("{}, {} B", row.way.name().trim_start_matches("native, "), row.payload);
    let bars = Bars {
        title: "Durable, proven events per second".to_owned(),
        y: "events/s".to_owned(),
        bars: rows.iter().map(|row| (name(row), row.full.phase.rate())).collect(),
        line: Some((session.raw.per_second / 2.0, "half of raw verification".to_owned())),
    };
    let curves: Vec<_> = rows.iter().map(|row| (name(row), &row.half.phase.latency)).collect();
    let plots = vec![
        ("ingest-rate.svg".to_owned(), bars.svg()),
        ("ingest-latency.svg".to_owned(), latency_plot("Latency at half load", &curves)),
    ];
    let summary = rows
        .iter()
        .map(|row| {
            let phase = &row.full.phase;
            [
                format!("ingest, {}, {} B payloads", row.way.name(), row.payload),
                format!("{:.0} events/s, {:.2} of raw", phase.rate(), phase.rate() / row.raw),
                format!(
                    "{:.1} µs node CPU an event; at half load p50 {:.1} ms, p99 {:.1} ms",
                    row.full.cost.node_micros(phase.events),
                    row.half.phase.millis(0.5),
                    row.half.phase.millis(0.99)
                ),
            ]
        })
        .chain([["memory".to_owned(), format!("{memory:.0} MB at most"), "after all of the above".to_owned()]])
        .collect();
    let figures =
        json!({"raw_verify_per_s": session.raw.per_second, "rows": rows.iter().map(json_of).collect::<Vec<_>>()});
    Ok(Page { name: "ingest", markdown, plots, figures, rows: summary })
}
