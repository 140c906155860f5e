//! `cargo xtask bench http`: durable, proven events per second over HTTP, beside the raw verification rate.
//!
//! Starts the real binary on this machine, loads it, checks a sample of the receipts, prints the figures. Ends with 1
//! when the node does not come up or a receipt does not verify.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use tally_bench::Failure;
use tally_bench::check::Checker;
use tally_bench::events::{Maker, Shape};
use tally_bench::load::{Cost, Door, Group, Pace, Phase, run};
use tally_bench::node::{Folder, Node};
use tally_bench::raw::verify_rate;
use tally_bench::report::{BATCH, Measured, Report};
use tally_bench::requests::{self, Form, Request};

/// Measures ingest over HTTP with the real binary on this machine.
#[derive(Parser)]
struct Options {
    /// Events of the full-load phase, per surface.
    #[arg(long, default_value_t = 400_000)]
    events: usize,
    /// Seconds of the quarter-load phase, per surface.
    #[arg(long, default_value_t = 15)]
    quarter_seconds: usize,
    /// Connections of the generator.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Agents that sign, in turn.
    #[arg(long, default_value_t = 64)]
    agents: usize,
    /// Streams that are written, in turn.
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Surfaces to measure: frames, json, ves. Default: all.
    #[arg(long, value_delimiter = ',', default_value = "frames,json,ves")]
    forms: Vec<String>,
    /// The binary to measure.
    #[arg(long, default_value = "target/release/tally")]
    binary: PathBuf,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Write docs/benchmarks/http.md.
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(report) => {
            if options.json {
                println!("{}", report.json());
            } else {
                print!("{}", report.text());
            }
            if options.write
                && let Err(error) = write_page(&report)
            {
                eprintln!("bench http: failed to write the page: {error}");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("bench http: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn write_page(report: &Report) -> std::io::Result<()> {
    std::fs::create_dir_all("docs/benchmarks")?;
    std::fs::write("docs/benchmarks/http.md", report.page())
}

fn measure(options: &Options) -> Result<Report, Failure> {
    let forms: Vec<Form> = options.forms.iter().map(|name| form(name)).collect::<Result<_, _>>()?;
    let node = Node::start(&options.binary, &Folder::temporary(Path::new("target"), "bench-http"))?;
    let sync = node.sync_micros()?;
    let mut maker = prepare(options, &node)?;
    eprintln!("raw verification ...");
    let raw = verify_rate(&maker, tally_bench::raw::SECONDS)?.per_second;
    let checker = Checker::new(&genesis(&node)?, &maker)?;
    let mut measured = Vec::new();
    for form in forms {
        measured.push(measure_form(options, &node, &mut maker, &checker, form)?);
    }
    let events: usize = measured.iter().map(|form| form.full.events + form.quarter.events).sum();
    Ok(Report {
        raw,
        sync,
        connections: options.connections,
        agents: options.agents,
        streams: options.streams,
        rss_mib_max: node.proc().rss_bytes_max() >> 20,
        disk_bytes_per_event: node.disk_bytes() as f64 / events.max(1) as f64,
        measured,
    })
}

fn form(name: &str) -> Result<Form, Failure> {
    match name {
        "frames" => Ok(Form::Frames),
        "json" => Ok(Form::Json),
        "ves" => Ok(Form::Ves),
        other => Err(format!("there is no surface `{other}`; there are frames, json, ves")),
    }
}

fn genesis(node: &Node) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(&node.genesis_entry).map_err(|error| format!("the genesis entry is no base64: {error}"))
}

fn prepare(options: &Options, node: &Node) -> Result<Maker, Failure> {
    let shape = Shape { agents: options.agents, streams: options.streams, batch: BATCH, ..Shape::default() };
    let maker = Maker::new(shape, node.tenant, Maker::fresh_seed()?);
    for agent in &maker.agents {
        node.register(node.tenant, agent.id, &agent.key.public_key())?;
    }
    Ok(maker)
}

fn measure_form(
    options: &Options,
    node: &Node,
    maker: &mut Maker,
    checker: &Checker,
    form: Form,
) -> Result<Measured, Failure> {
    eprintln!("{}: signing ...", form.name());
    // The VES surface wants one agent and one stream a request; natively they are mixed.
    maker.shape.one_agent_a_body = form == Form::Ves;
    // A warm-up, so that neither caches nor connections are cold when the clock runs.
    let warm = requests::make(maker, form, &node.api_key, options.events / 20)?;
    one(node, form, Arc::new(warm), options.connections, Pace::Closed)?;
    let requests = Arc::new(requests::make(maker, form, &node.api_key, options.events)?);
    eprintln!("{}: full load ...", form.name());
    let (full, cost) = one(node, form, Arc::clone(&requests), options.connections, Pace::Closed)?;
    let mut checked = checker.check(form, &requests, &full.sample)?;
    drop(requests);
    let rate = full.rate() / 4.0;
    let events = (rate * options.quarter_seconds as f64) as usize;
    let requests = Arc::new(requests::make(maker, form, &node.api_key, events)?);
    eprintln!("{}: a quarter of it ...", form.name());
    let (quarter, _) = one(node, form, Arc::clone(&requests), options.connections, Pace::Open(rate))?;
    checked += checker.check(form, &requests, &quarter.sample)?;
    Ok(Measured { form, full, cost, quarter, checked })
}

/// One group of callers alone.
fn one(
    node: &Node,
    form: Form,
    requests: Arc<Vec<Request>>,
    connections: usize,
    pace: Pace,
) -> Result<(Phase, Cost), Failure> {
    let door = Door::Http(form, requests);
    let group = Group { door, connections, window: 1, pace, api_keys: Vec::new(), seconds_max: None, endless: false };
    let (mut phases, cost) = run(node, &[group])?;
    Ok((phases.pop().ok_or("one group has one phase")?, cost))
}
