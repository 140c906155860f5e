//! Ingest with plugins and without: two nodes, one load, in turn.
//!
//! One node runs no plugins. The other runs `counter` in the one stream that is written, so that every event is given to a
//! guest, has an outcome of its own and changes the state. First as fast as it goes, then at two fifths of what the node
//! without plugins takes: there a receipt should not feel them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_protocol::id::StoreId;

use super::{Options, Page, head, median, say};
use crate::Failure;
use crate::events::{Maker, Shape};
use crate::load::Pace;
use crate::node::{Folder, Node};
use crate::session::{Measured, Plan, Session, Way};
use crate::svg::Bars;

/// The share of the maximum at which plugins should not be felt.
const SHARE: f64 = 0.4;
/// The second agent that a review needs.
const REVIEWER: &str = "01890000-0000-7000-8000-0000000000be";
/// How long applying may take behind a phase.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);

/// One of the two nodes.
struct Side {
    name: &'static str,
    session: Session,
    maker: Maker,
    full: Vec<f64>,
    cpu: Vec<f64>,
    held: Vec<(f64, f64, f64)>,
    /// Events behind at the end of a phase at full load.
    behind: Vec<f64>,
    checked: usize,
}

impl Side {
    fn start(options: &Options, name: &'static str, plugins: bool) -> Result<Self, Failure> {
        let node = Node::start_as(&options.binary, &Folder::temporary(&options.work, name), plugins)?;
        let session = Session::of(node, options.seconds.min(crate::raw::SECONDS))?;
        let shape = Shape { streams: 1, one_agent_a_body: true, ..Shape::default() };
        let maker = session.maker(shape, session.node.tenant)?;
        let (full, cpu, held, behind) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { name, session, maker, full, cpu, held, behind, checked: 0 })
    }

    fn run(&mut self, events: usize, plan: &Plan) -> Result<Measured, Failure> {
        let measured = self.session.measure(&self.maker, events, plan)?;
        self.checked += measured.checked;
        Ok(measured)
    }

    fn at_full(&mut self, way: Way, options: &Options, events: usize) -> Result<(), Failure> {
        let plan = self.session.plan(way, options.connections, options.window);
        let measured = self.run(events, &plan)?;
        self.full.push(measured.phase.rate());
        self.cpu.push(measured.cost.node_micros(measured.phase.events));
        self.behind.push(self.lag()?);
        self.catch_up()
    }

    fn at(&mut self, rate: f64, way: Way, options: &Options) -> Result<(), Failure> {
        let plan = self.session.plan(way, options.connections, options.window);
        let plan = Plan { pace: Pace::Open(rate), seconds_max: Some(options.seconds), ..plan };
        let phase = self.run(options.events_at(rate), &plan)?.phase;
        self.held.push((phase.rate(), phase.millis(0.5), phase.millis(0.99)));
        self.catch_up()
    }

    /// Events that are signed and have no outcome yet.
    fn lag(&self) -> Result<f64, Failure> {
        let ladder = self.session.node.call("GET", "/v1/ladder", None)?;
        if ladder["apply"]["state"] == "off" {
            return Ok(0.0);
        }
        if ladder["apply"]["state"] != "following" {
            return Err(format!("applying does not follow: {ladder}"));
        }
        let rung = |name: &str| ladder[name].as_f64().ok_or_else(|| format!("the ladder has no {name}"));
        Ok(rung("signed")? - rung("applied")?)
    }

    /// The next phase begins with nothing left to apply.
    fn catch_up(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while self.lag()? > 0.0 {
            if began.elapsed() > CATCH_UP_MAX {
                return Err("applying did not catch up".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn held_median(&self, which: fn(&(f64, f64, f64)) -> f64) -> f64 {
        median(&self.held.iter().map(which).collect::<Vec<_>>())
    }

    fn figures(&self) -> Value {
        json!({
            "events_per_s": self.full, "node_cpu_us_per_event": self.cpu, "behind_at_the_end": self.behind,
            "held": self.held.iter().map(|(rate, p50, p99)| json!({"events_per_s": rate, "p50_ms": p50, "p99_ms": p99}))
                .collect::<Vec<_>>(),
            "receipts_checked": self.checked, "raw_verify_per_s": self.session.raw.per_second,
        })
    }
}

/// Brings `counter` to run in a store, by the operator's own tools.
fn install_counter(node: &Node, store: StoreId, work: &Path) -> Result<(), Failure> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/counter/counter.wasm");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (project, package) = (work.join("counter-project"), work.join("counter.tally"));
    let key = work.join("reviewer.key");
    let _ = std::fs::remove_dir_all(&project);
    for old in [&package, &key] {
        let _ = std::fs::remove_file(old);
    }
    let (project, package, key, module, store) =
        (text(&project), text(&package), text(&key), text(&module), store.to_string());
    node.tool(&["plugin", "new", "counter", "--language", "c", "--dir", &project])?;
    node.tool(&["plugin", "package", &project, "--wasm", &module, "--out", &package])?;
    node.tool(&["plugin", "sign", &package])?;
    node.tool(&["plugin", "submit", &package, "--json"])?;
    let made = node.tool(&["keygen", "--out", &key, "--json"])?;
    let public = made["public_key"].as_str().ok_or("keygen gives no key")?.to_owned();
    node.tool(&["keys", "register", "--agent", REVIEWER, "--public-key", &public, "--json"])?;
    let decision =
        ["--decision", "approved", "--reason", "a measurement", "--key", &key, "--agent", REVIEWER, "--json"];
    node.tool(&[&["plugin", "review", "counter", "1.0.0"], &decision[..]].concat())?;
    let installed = node.tool(&["plugin", "install", "counter", "1.0.0", "--store", &store, "--json"])?;
    if installed["outcome"] == "accepted" { Ok(()) } else { Err(format!("counter is not installed: {installed}")) }
}

pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let mut off = Side::start(options, "without-plugins", false)?;
    let mut on = Side::start(options, "with-plugins", true)?;
    let store = *on.maker.stores().first().ok_or("one stream")?;
    install_counter(&on.session.node, store, &options.work)?;
    let way = options.way(&off.session);
    let warm = options.events.unwrap_or(40_000).min(40_000);
    let mut rate = f64::MAX;
    for side in [&mut off, &mut on] {
        let plan = side.session.plan(way, options.connections, options.window);
        rate = rate.min(side.session.warm_up(&side.maker, &plan, warm)?);
        side.catch_up()?;
    }
    let events = options.events_at(rate);
    for round in 0..options.rounds.max(1) {
        say(format_args!("full load, round {} ...", round + 1));
        for side in [&mut off, &mut on] {
            side.at_full(way, options, events)?;
        }
    }
    let held = SHARE * median(&off.full);
    for round in 0..options.rounds.max(1) {
        say(format_args!("held at {held:.0}/s, round {} ...", round + 1));
        for side in [&mut off, &mut on] {
            side.at(held, way, options)?;
        }
    }
    Ok(page(options, way, held, [&off, &on]))
}

fn page(options: &Options, way: Way, held: f64, [off, on]: [&Side; 2]) -> Page {
    let about = "Written by `cargo xtask bench with-plugins --write`.\nTwo nodes, one load on one stream, in turn; medians of \
                 the rounds.\nOne node runs no plugins; on the other, `counter` is given every event: a second log, an \
                 outcome and a change of state for each.";
    let mut markdown = head("Ingest with plugins", about, &off.session, way, options);
    markdown += &format!(
        "| | events/s at full load | of raw | node CPU µs/event | behind at its end | events/s held at {held:.0} | p50 ms | p99 ms |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for side in [off, on] {
        markdown += &format!(
            "| {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} |\n",
            side.name.replace('-', " "),
            median(&side.full),
            median(&side.full) / side.session.raw.per_second,
            median(&side.cpu),
            median(&side.behind),
            side.held_median(|held| held.0),
            side.held_median(|held| held.1),
            side.held_median(|held| held.2),
        );
    }
    let ratio = |of: fn(&Side) -> f64| of(on) / of(off);
    let full = ratio(|side| median(&side.full));
    let held_rate = ratio(|side| side.held_median(|held| held.0));
    let held_p99 = ratio(|side| side.held_median(|held| held.2));
    markdown += &format!(
        "\nWith plugins: {full:.2} of the rate at full load; held at two fifths of it, {held_rate:.3} of the rate and \
         {held_p99:.2} of the p99.\nAt full load applying falls behind and catches up afterwards; receipts do not wait for it.\n\
         {} receipts checked.\n\n![Rates](with-plugins.svg)\n",
        off.checked + on.checked
    );
    let bars = Bars {
        title: "Events per second at full load".to_owned(),
        y: "events/s".to_owned(),
        bars: [off, on].iter().map(|side| (side.name.replace('-', " "), median(&side.full))).collect(),
        line: None,
    };
    Page {
        name: "with-plugins",
        markdown,
        plots: vec![("with-plugins.svg".to_owned(), bars.svg())],
        figures: json!({"way": way.name(), "held_at": held, "without": off.figures(), "with": on.figures()}),
        rows: vec![[
            "ingest with plugins".to_owned(),
            format!("{full:.2} of the rate without at full load"),
            format!("held at two fifths: {held_rate:.3} of the rate, {held_p99:.2} of the p99"),
        ]],
    }
}
