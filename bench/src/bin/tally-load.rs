//! `tally-load`: one load on one node, and what callers saw.
//!
//! Starts the real binary (or goes on with the data it finds), signs events before the clock runs, submits them in a
//! closed or an open loop, checks a sample of the receipts offline, prints rates and latencies. Ends with 1 when the
//! node does not come up, an event's fate is not the one it was made for, or a receipt does not verify.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this binary's output is its result")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};
use tally_bench::Failure;
use tally_bench::events::{Shape, Spoil};
use tally_bench::load::Pace;
use tally_bench::node::Folder;
use tally_bench::session::{Measured, Plan, Session, Way};

/// Loads a node with signed events and says what callers saw.
///
/// Latencies are per event, from the moment the schedule gave its request (open loop, --rate) or from when there was
/// room to send it (closed loop). Every accepted event is durable and proven; a sample of the proofs is checked.
#[derive(Parser)]
struct Options {
    /// The way events take; default: QUIC if the node has that door, else frames.
    #[arg(long, value_enum)]
    way: Option<Way>,
    /// Events to sign and submit.
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    /// Start nothing new after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
    /// Events per second (open loop); without it as fast as the node takes them (closed loop).
    #[arg(long)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Submissions in flight on one connection (QUIC; HTTP/1.1 has one).
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Callers, each with an API key of its own; connections are theirs in turn.
    #[arg(long, default_value_t = 1)]
    callers: usize,
    /// Events of one submission, 1 to 1000.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 500)]
    payload: usize,
    /// Agents that sign, in turn.
    #[arg(long, default_value_t = 64)]
    agents: usize,
    /// Streams that are written, in turn; 1 is one hot stream.
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Mix agents and streams within a submission, instead of one agent and stream for each.
    #[arg(long)]
    mixed: bool,
    /// One event of so many, over all callers, has a bad signature.
    #[arg(long)]
    bad_one_in: Option<usize>,
    /// Callers that send the bad ones.
    #[arg(long, default_value_t = 1)]
    bad_callers: usize,
    /// Connections of one more caller, in another tenant, who sends nothing but bad signatures until the rest is done.
    #[arg(long, default_value_t = 0)]
    flood: usize,
    /// Events before the clock runs.
    #[arg(long, default_value_t = 20_000)]
    warm_up: usize,
    /// Seconds of a round of raw verification, of which there are three.
    #[arg(long, default_value_t = tally_bench::raw::SECONDS)]
    raw_seconds: f64,
    /// The binary to load.
    #[arg(long, default_value = "target/release/tally")]
    binary: PathBuf,
    /// Folder of the node; kept, and gone on with if it holds data. Default: a new one below target/, removed.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(figures) if options.json => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Ok(figures) => {
            print!("{}", text(&figures));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("tally-load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<Value, Failure> {
    let folder = options.data.as_deref().map_or_else(|| Folder::temporary(Path::new("target"), "load"), Folder::kept);
    eprintln!("starting the node; raw verification ...");
    let session = Session::start(&options.binary, &folder, options.raw_seconds)?;
    let way = options.way.unwrap_or_else(|| session.best_way());
    let callers = options.callers.max(1);
    if !options.connections.max(1).is_multiple_of(callers) {
        return Err(format!("{} connections cannot be shared evenly by {callers} callers", options.connections));
    }
    let spoil = options.bad_one_in.map(|one_in| Spoil { callers, bad_callers: options.bad_callers, one_in });
    if way == Way::Ves && spoil.is_some() {
        return Err("the VES surface refuses a whole request for one bad event; take another way".into());
    }
    let shape = Shape {
        agents: options.agents,
        streams: options.streams,
        payload_bytes: options.payload,
        batch: options.batch.clamp(1, 1000),
        one_agent_a_body: way == Way::Ves || !options.mixed,
        spoil,
    };
    let maker = session.maker(shape, session.node.tenant)?;
    let mut plan = session.plan(way, options.connections.max(1), options.window);
    let more: Vec<String> =
        (1..callers).map(|_| session.node.new_api_key(session.node.tenant)).collect::<Result<_, _>>()?;
    plan.api_keys.extend(more);
    eprintln!("warming up ...");
    session.warm_up(&maker, &plan, options.warm_up)?;
    plan.pace = options.rate.map_or(Pace::Closed, Pace::Open);
    plan.seconds_max = options.seconds;
    eprintln!("signing {} events ...", options.events);
    let bodies = Arc::new(maker.make(options.events)?);
    let flood = if options.flood > 0 { Some(flooder(&session, way, options)?) } else { None };
    eprintln!("submitting ...");
    let mut plans = vec![(&maker, bodies, &plan)];
    if let Some((maker, bodies, plan)) = &flood {
        plans.push((maker, Arc::clone(bodies), plan));
    }
    let mut measured = session.measure_all(&plans)?;
    let flooded = (measured.len() > 1).then(|| measured.pop()).flatten();
    let measured = measured.pop().ok_or("one plan has one result")?;
    Ok(figures(&session, way, &measured, flooded.as_ref()))
}

/// A caller of another tenant with bad signatures only.
fn flooder(
    session: &Session,
    way: Way,
    options: &Options,
) -> Result<(tally_bench::events::Maker, Arc<Vec<tally_bench::events::Body>>, Plan), Failure> {
    let tenant = session.node.new_tenant()?;
    let spoil = Some(Spoil { callers: 1, bad_callers: 1, one_in: 1 });
    let shape = Shape { agents: 4, streams: 1, one_agent_a_body: true, spoil, ..Shape::default() };
    let maker = session.maker(shape, tenant)?;
    let bodies = Arc::new(maker.make(20_000)?);
    let mut plan = session.plan(way, options.flood, options.window);
    plan.api_keys = vec![session.node.new_api_key(tenant)?];
    plan.endless = true;
    Ok((maker, bodies, plan))
}

fn figures(session: &Session, way: Way, measured: &Measured, flooded: Option<&Measured>) -> Value {
    let Measured { phase, cost, checked } = measured;
    json!({
        "way": way.name(),
        "events": phase.events,
        "refused": phase.refused,
        "seconds": phase.seconds,
        "events_per_s": phase.rate(),
        "raw_verify_per_s": session.raw.per_second,
        "ratio": phase.rate() / session.raw.per_second,
        "ms": {
            "p50": phase.millis(0.5),
            "p90": phase.millis(0.9),
            "p99": phase.millis(0.99),
            "p999": phase.millis(0.999),
            "max": phase.millis(1.0),
        },
        "busy": phase.busy,
        "receipts_checked": checked,
        "node_cpu_us_per_event": cost.node_micros(phase.events),
        "generator_cpu_us_per_event": cost.own_micros(phase.events),
        "sync_us": {"p50": session.sync.0, "p99": session.sync.1},
        "rss_mb": session.node.proc().rss_bytes_max() as f64 / 1e6,
        "written_per_frame_byte": cost.node_io.written as f64 / phase.frame_bytes.max(1) as f64,
        "flood_refused_per_s": flooded.map(|flood| flood.phase.refused as f64 / phase.seconds.max(1e-9)),
    })
}

fn text(figures: &Value) -> String {
    let number = |name: &str| figures[name].as_f64().unwrap_or(0.0);
    let ms = |name: &str| figures["ms"][name].as_f64().unwrap_or(0.0);
    let mut out = format!(
        "{:.0} events/s durable and proven over {}: {} events in {:.1} s, {} refused, {} times busy\n\
         {:.0} raw verifications/s on all cores in the same run; ratio {:.2}\n\
         latency per event: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms\n\
         node CPU {:.1} µs an event, generator {:.1} µs; node at most {:.0} MB; {:.2} bytes to disk per frame byte\n\
         {} receipts checked offline\n",
        number("events_per_s"),
        figures["way"].as_str().unwrap_or_default(),
        figures["events"],
        number("seconds"),
        figures["refused"],
        figures["busy"],
        number("raw_verify_per_s"),
        number("ratio"),
        ms("p50"),
        ms("p90"),
        ms("p99"),
        ms("p999"),
        ms("max"),
        number("node_cpu_us_per_event"),
        number("generator_cpu_us_per_event"),
        number("rss_mb"),
        number("written_per_frame_byte"),
        figures["receipts_checked"],
    );
    if let Some(rate) = figures["flood_refused_per_s"].as_f64() {
        out += &format!("beside it {rate:.0} bad events/s of one caller were refused\n");
    }
    out
}
