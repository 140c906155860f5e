//! The figures of one run, for people, for scripts, and as the page `docs/benchmarks/http.md`.
//!
//! A rate always stands beside the raw verification rate of the same run; the absolute figure alone says little about
//! another machine.

use serde_json::{Value, json};

use crate::load::Phase;
use crate::requests::Form;

/// Events of one request.
pub const BATCH: usize = 100;

/// One form's two phases.
pub struct Measured {
    /// How events travelled.
    pub form: Form,
    /// As fast as the node answers.
    pub full: Phase,
    /// At a quarter of that.
    pub quarter: Phase,
    /// Receipts of both phases that were checked.
    pub checked: usize,
}

/// A whole run.
pub struct Report {
    /// Raw verification rate on all cores, signatures per second.
    pub raw: f64,
    /// Microseconds of a sync, p50 and p99.
    pub sync: (u64, u64),
    /// Connections of the generator.
    pub connections: usize,
    /// Agents that signed.
    pub agents: usize,
    /// Streams that were written.
    pub streams: usize,
    /// The node's peak memory in MiB.
    pub rss_mib_max: u64,
    /// Bytes in the data directory at the end, per event.
    pub disk_bytes_per_event: f64,
    /// Every form.
    pub measured: Vec<Measured>,
}

impl Report {
    /// As lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "raw batch verification      {:>9.0} signatures/s on {} cores (batches of {})\n\
             sync of 64 KiB              p50 {:.2} ms, p99 {:.2} ms\n\
             load                        {} connections, {BATCH} events a request, {} agents, {} streams\n",
            self.raw,
            cores(),
            crate::raw::BATCH,
            self.sync.0 as f64 / 1000.0,
            self.sync.1 as f64 / 1000.0,
            self.connections,
            self.agents,
            self.streams,
        );
        for measured in &self.measured {
            out.push_str(&self.form_text(measured));
        }
        out.push_str(&format!(
            "\nnode: peak memory {} MiB, {:.0} bytes on disk per event\n",
            self.rss_mib_max, self.disk_bytes_per_event
        ));
        out
    }

    fn form_text(&self, measured: &Measured) -> String {
        let (full, quarter) = (&measured.full, &measured.quarter);
        format!(
            "\n{}\n  durable, proven events/s  {:>9.0}   {:.2} of raw   ({} events in {:.1} s)\n\
             \x20 at full load              p50 {:.1} ms, p99 {:.1} ms a request; {} requests busy\n\
             \x20 node CPU                  {:.1} µs an event; generator {:.1} µs an event\n\
             \x20 at a quarter of it        p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms a receipt   ({:.0} events/s, open loop)\n\
             \x20 receipts checked          {}\n",
            measured.form.name(),
            full.rate(),
            full.rate() / self.raw,
            full.events,
            full.seconds,
            full.millis(0.5),
            full.millis(0.99),
            full.busy,
            full.node_micros_per_event(),
            full.own_cpu * 1e6 / full.events.max(1) as f64,
            quarter.millis(0.5),
            quarter.millis(0.99),
            quarter.millis(1.0),
            quarter.rate(),
            measured.checked,
        )
    }

    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        let form = |measured: &Measured| {
            let (full, quarter) = (&measured.full, &measured.quarter);
            json!({
                "form": measured.form.name(),
                "events_per_second": full.rate(),
                "of_raw": full.rate() / self.raw,
                "events": full.events,
                "full_ms": {"p50": full.millis(0.5), "p99": full.millis(0.99)},
                "busy": full.busy,
                "node_cpu_us_per_event": full.node_micros_per_event(),
                "quarter": {
                    "events_per_second": quarter.rate(),
                    "ms": {"p50": quarter.millis(0.5), "p99": quarter.millis(0.99), "max": quarter.millis(1.0)},
                },
                "receipts_checked": measured.checked,
            })
        };
        json!({
            "raw_signatures_per_second": self.raw,
            "cores": cores(),
            "sync_us": {"p50": self.sync.0, "p99": self.sync.1},
            "connections": self.connections,
            "batch": BATCH,
            "agents": self.agents,
            "streams": self.streams,
            "rss_mib_max": self.rss_mib_max,
            "disk_bytes_per_event": self.disk_bytes_per_event,
            "forms": self.measured.iter().map(form).collect::<Vec<_>>(),
        })
    }

    /// As the page of the documentation.
    #[must_use]
    pub fn page(&self) -> String {
        let mut rows = String::new();
        for measured in &self.measured {
            let (full, quarter) = (&measured.full, &measured.quarter);
            rows.push_str(&format!(
                "| {} | {:.0} | {:.2} | {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {} |\n",
                measured.form.name(),
                full.rate(),
                full.rate() / self.raw,
                full.node_micros_per_event(),
                full.millis(0.5),
                full.millis(0.99),
                quarter.millis(0.5),
                quarter.millis(0.99),
                measured.checked,
            ));
        }
        format!(
            "# Ingest over HTTP\n\n\
             Written by `cargo xtask bench http --write`; the figures below are of one run on one machine.\n\
             Load generator and node share the machine.\n\
             Every event is signed by its agent, synced to disk, folded, covered by a signed checkpoint, and answered with its proof before it counts.\n\n\
             | | |\n|---|---|\n\
             | processor | {} |\n| cores | {} |\n\
             | raw batch verification, all cores, same run | {:.0} signatures/s |\n\
             | sync of 64 KiB on the same disk | p50 {:.2} ms, p99 {:.2} ms |\n\
             | payloads | about 500 bytes of JSON, {BATCH} events a request |\n\
             | load | {} connections, {} agents, {} streams |\n\
             | node's peak memory | {} MiB |\n\
             | on disk | {:.0} bytes an event, indexes and write-ahead log included |\n\n\
             | surface | events/s | of raw | node CPU µs/event | full load p50 / p99 ms | quarter load p50 / p99 ms | receipts checked |\n\
             |---|---|---|---|---|---|---|\n{rows}\n\
             Full load is a closed loop: each connection sends its next request when it has its answer.\n\
             Quarter load is an open loop at a quarter of that rate; a latency runs from the moment the schedule gave the request, so a stall is counted for everything that waited behind it.\n\
             The VES surface signs a receipt for every event; the native one signs a checkpoint for every group of runs.\n",
            processor(),
            cores(),
            self.raw,
            self.sync.0 as f64 / 1000.0,
            self.sync.1 as f64 / 1000.0,
            self.connections,
            self.agents,
            self.streams,
            self.rss_mib_max,
            self.disk_bytes_per_event,
        )
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}
