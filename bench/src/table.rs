//! The table of what the sequencer should reach, measured: one page each, with plots.
//!
//! | name | question |
//! |---|---|
//! | `ingest` | events per second and their latency at half of it, by way and payload size |
//! | `hot-stream` | whether one stream is as fast as many |
//! | `hostile` | what bad signatures and a flood cost the others |
//! | `growth` | latency, memory and restart as the log grows |
//! | `with-plugins` | what plugins cost ingest |
//! | `reads` | proofs, tiles and events per second from one core |
//!
//! Takes a node's binary and how long to measure; gives pages, plots and figures. Every rate stands beside the raw
//! verification rate and the sync rate of its own run, because machines differ; comparisons run in turn (A B A B), so
//! that a machine that gets slower meanwhile does not decide them.

mod growth;
mod hostile;
mod hot_stream;
mod ingest;
mod reads;
mod with_plugins;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Failure;
use crate::histogram::Histogram;
use crate::node::Folder;
use crate::raw;
use crate::session::{Session, Way};
use crate::svg::{Lines, Series};

/// How a measurement is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's binary.
    pub binary: PathBuf,
    /// Folder below which nodes live.
    pub work: PathBuf,
    /// Seconds of one phase.
    pub seconds: f64,
    /// Events of one phase, at most; for `growth` and `reads` the sizes of the log.
    pub events: Option<usize>,
    /// The way events take; default: the fastest the node has.
    pub way: Option<Way>,
    /// Connections.
    pub connections: usize,
    /// Submissions in flight on each.
    pub window: usize,
    /// Rounds of a comparison.
    pub rounds: usize,
}

/// One measurement's results.
pub struct Page {
    /// Its name: `docs/benchmarks/NAME.md`.
    pub name: &'static str,
    /// The page.
    pub markdown: String,
    /// Its plots: file name and SVG.
    pub plots: Vec<(String, String)>,
    /// Every figure.
    pub figures: Value,
    /// Its lines of the summary: what, measured, beside.
    pub rows: Vec<[String; 3]>,
}

/// What can be measured, with what it asks.
pub const NAMES: [&str; 6] = ["ingest", "hot-stream", "hostile", "growth", "with-plugins", "reads"];

/// Measures one of [`NAMES`].
///
/// # Errors
/// If there is no such measurement, the node does not come up, or a receipt does not verify.
pub fn measure(name: &str, options: &Options) -> Result<Page, Failure> {
    match name {
        "ingest" => ingest::measure(options),
        "hot-stream" => hot_stream::measure(options),
        "hostile" => hostile::measure(options),
        "growth" => growth::measure(options),
        "reads" => reads::measure(options),
        "with-plugins" => with_plugins::measure(options),
        other => Err(format!("there is no measurement `{other}`; there are {}", NAMES.join(", "))),
    }
}

/// The short ingest measurement: one way, one payload size, for scripts.
///
/// # Errors
/// As [`measure`].
pub fn ingest_figures(options: &Options) -> Result<Value, Failure> {
    ingest::figures(options)
}

/// Progress: standard output is for figures.
#[expect(clippy::print_stderr, reason = "progress of a long measurement")]
fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}

/// Writes pages, plots and figures into a folder, and the summary over everything that was ever measured into it.
///
/// # Errors
/// If the folder cannot be written, or holds figures that are none.
pub fn write(pages: &[Page], folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("failed to write {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    for page in pages {
        std::fs::write(folder.join(format!("{}.md", page.name)), &page.markdown).map_err(failed)?;
        let kept = json!({"rows": page.rows, "figures": page.figures});
        std::fs::write(folder.join(format!("{}.json", page.name)), format!("{kept:#}\n")).map_err(failed)?;
        for (name, svg) in &page.plots {
            std::fs::write(folder.join(name), svg).map_err(failed)?;
        }
    }
    let rows =
        NAMES.iter().map(|name| kept_rows(&folder.join(format!("{name}.json")))).collect::<Result<Vec<_>, _>>()?;
    std::fs::write(folder.join("README.md"), summary(&rows)).map_err(failed)
}

/// The lines of the summary that a measurement left; none if it was never written.
fn kept_rows(path: &Path) -> Result<Vec<[String; 3]>, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("failed to read {}: {error}", path.display());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut kept: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    serde_json::from_value(kept["rows"].take()).map_err(|error| failed(&error))
}

fn summary(rows: &[Vec<[String; 3]>]) -> String {
    let mut out = "# Benchmarks\n\nWritten by `cargo xtask bench`; each page is of one run on one machine, load \
                   generator and node together on it.\nA rate is worth its ratio to the raw verification rate of \
                   the same run.\n\n| what | measured | beside |\n|---|---|---|\n"
        .to_owned();
    for [what, measured, beside] in rows.iter().flatten() {
        out += &format!("| {what} | {measured} | {beside} |\n");
    }
    out += "\nPages: ";
    let measured = NAMES.iter().zip(rows).filter(|(_, rows)| !rows.is_empty());
    out += &measured.map(|(name, _)| format!("[{name}]({name}.md)")).collect::<Vec<_>>().join(", ");
    out + ".\nBeside them: [killed under load](crash.md), [a tenth of full load for long](soak.md), [where the tail \
           comes from](tail.md), [what a plugin costs its host](plugins.md), [the market's plugins](market.md).\nIngest over HTTP alone: `cargo xtask bench http`. Stages alone: \
           [sketches](../../bench/sketches.md).\n"
}

impl Options {
    fn way(&self, session: &Session) -> Way {
        self.way.unwrap_or_else(|| session.best_way())
    }

    /// Events that fill the phase at this rate, bounded by what was asked for and by what fits memory.
    fn events_at(&self, rate: f64) -> usize {
        ((rate * self.seconds) as usize).min(self.events.unwrap_or(2_000_000)).max(1000)
    }

    fn session(&self, name: &str) -> Result<Session, Failure> {
        Session::start(&self.binary, &Folder::temporary(&self.work, name), self.seconds.min(raw::SECONDS))
    }
}

/// The head of every page: where and beside what.
fn head(title: &str, about: &str, session: &Session, way: Way, options: &Options) -> String {
    format!(
        "# {title}\n\n{about}\n\n| | |\n|---|---|\n| processor | {} |\n| cores | {} |\n\
         | raw batch verification, all cores, same run | {:.0} signatures/s, {:.2} µs each |\n\
         | sync of 64 KiB on the same disk | p50 {:.2} ms, p99 {:.2} ms |\n\
         | way | {}, {} connections |\n\n",
        processor(),
        cores(),
        session.raw.per_second,
        session.raw.cpu_micros,
        session.sync.0 as f64 / 1000.0,
        session.sync.1 as f64 / 1000.0,
        way.name(),
        options.connections,
    )
}

/// Cores of this machine.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor's name.
#[must_use]
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// A plot of latencies by share of events: far into the tail, evenly by nines.
fn latency_plot(title: &str, series: &[(String, &Histogram)]) -> String {
    let nines = |share: f64| -(1.0 - share.min(0.99995)).log10();
    let marks = [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let line = |(name, histogram): &(String, &Histogram)| Series {
        name: name.clone(),
        points: histogram.curve().into_iter().map(|(share, ms)| (nines(share), ms)).collect(),
    };
    Lines {
        title: title.to_owned(),
        x: "share of events".to_owned(),
        y: "ms from schedule to receipt".to_owned(),
        x_marks: marks.iter().map(|(share, name)| (nines(*share), (*name).to_owned())).collect(),
        y_log: true,
        series: series.iter().map(line).collect(),
    }
    .svg()
}

/// The middle one of some values; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Work on the disk so far, for what was written per frame byte.
fn written(session: &Session) -> u64 {
    session.node.proc().io().written
}
