//! What bad signatures cost the others: one in a thousand from few callers or from all, and a caller that floods.
//!
//! A lane is the authenticated caller, so each caller here has an API key of its own. The honest tenant's rate and
//! latency are what counts; the flood comes from another tenant.

use std::sync::Arc;

use serde_json::json;

use super::{Options, Page, head, latency_plot, median, say};
use crate::Failure;
use crate::events::{Body, Maker, Shape, Spoil};
use crate::histogram::Histogram;
use crate::load::Pace;
use crate::session::{Plan, Session, Way};
use crate::svg::Bars;

const CALLERS: usize = 16;
const CASES: [(&str, Option<usize>); 3] = [
    ("no bad signatures", None),
    ("1 in 1000 bad, from 8 of 16 callers", Some(8)),
    ("1 in 1000 bad, from all 16", Some(16)),
];

/// A flooding caller with what it sends.
struct Flood {
    maker: Maker,
    bodies: Arc<Vec<Body>>,
    plan: Plan,
}

fn flood(session: &Session, way: Way, options: &Options) -> Result<Flood, Failure> {
    let tenant = session.node.new_tenant()?;
    let spoil = Some(Spoil { callers: 1, bad_callers: 1, one_in: 1 });
    let shape = Shape { agents: 4, streams: 1, one_agent_a_body: true, spoil, ..Shape::default() };
    let maker = session.maker(shape, tenant)?;
    let bodies = Arc::new(maker.make(20_000)?);
    let mut plan = session.plan(way, 1, options.window);
    plan.api_keys = vec![session.node.new_api_key(tenant)?];
    plan.endless = true;
    Ok(Flood { maker, bodies, plan })
}

pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let session = options.session("hostile")?;
    // The VES surface refuses a request whole, so it has no such case.
    let way = Some(options.way(&session)).filter(|way| *way != Way::Ves).unwrap_or(Way::Frames);
    let makers: Vec<Maker> = CASES
        .iter()
        .map(|(_, bad)| {
            let spoil = bad.map(|bad_callers| Spoil { callers: CALLERS, bad_callers, one_in: 1000 });
            session.maker(Shape { one_agent_a_body: true, spoil, ..Shape::default() }, session.node.tenant)
        })
        .collect::<Result<_, _>>()?;
    let mut plan = session.plan(way, CALLERS, options.window);
    plan.api_keys = (0..CALLERS).map(|_| session.node.new_api_key(session.node.tenant)).collect::<Result<_, _>>()?;
    let rate = session.warm_up(&makers[0], &plan, options.events.unwrap_or(40_000).min(40_000))?;
    let events = options.events_at(rate);
    let mut rates = vec![Vec::new(); CASES.len()];
    let mut checked = 0;
    for round in 0..options.rounds.max(1) {
        say(format_args!("bad signatures, round {} ...", round + 1));
        for (maker, rates) in makers.iter().zip(&mut rates) {
            let measured = session.measure(maker, events, &plan)?;
            rates.push(measured.phase.rate());
            checked += measured.checked;
        }
    }
    let medians: Vec<f64> = rates.iter().map(|rates| median(rates)).collect();

    let flooding = flood(&session, way, options)?;
    let (mut alone, mut beside, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds.max(1) {
        say(format_args!("a flood, round {} ...", round + 1));
        let bodies = Arc::new(makers[0].make(events)?);
        alone.push(session.measure_all(&[(&makers[0], bodies, &plan)])?.remove(0).phase.rate());
        let bodies = Arc::new(makers[0].make(events)?);
        let both = [(&makers[0], bodies, &plan), (&flooding.maker, Arc::clone(&flooding.bodies), &flooding.plan)];
        let measured = session.measure_all(&both)?;
        beside.push(measured[0].phase.rate());
        refused.push(measured[1].phase.refused as f64 / measured[0].phase.seconds.max(1e-9));
    }
    let (free, flooded) = (median(&alone), median(&beside));

    // The same at a quarter of the rate, where there is room for both: what the honest one notices is latency.
    say(format_args!("a flood at a quarter of the load ..."));
    let calm = Plan { pace: Pace::Open(free / 4.0), seconds_max: Some(options.seconds), ..plan.clone() };
    let bodies = Arc::new(makers[0].make(options.events_at(free / 4.0))?);
    let quiet = session.measure_all(&[(&makers[0], bodies, &calm)])?.remove(0);
    let bodies = Arc::new(makers[0].make(options.events_at(free / 4.0))?);
    let both = [(&makers[0], bodies, &calm), (&flooding.maker, Arc::clone(&flooding.bodies), &flooding.plan)];
    let disturbed = session.measure_all(&both)?.remove(0);
    checked += quiet.checked + disturbed.checked;

    let about = "Written by `cargo xtask bench hostile --write`.\nSixteen callers with an API key each; cases run in turn; medians of the rounds.";
    let mut markdown = head("Hostile callers", about, &session, way, options);
    markdown += "## Bad signatures\n\n| case | accepted events/s | of raw | against none |\n|---|---|---|---|\n";
    for ((name, _), rate) in CASES.iter().zip(&medians) {
        markdown +=
            &format!("| {name} | {rate:.0} | {:.2} | {:.3} |\n", rate / session.raw.per_second, rate / medians[0]);
    }
    let row = |name: &str, rate: f64, latency: &Histogram| {
        format!("| {name} | {rate:.0} | {:.1} | {:.1} |\n", latency.millis(0.5), latency.millis(0.99))
    };
    markdown += "\n![Rates](hostile-rate.svg)\n\n## A flood beside an honest tenant\n\n\
                 One caller of another tenant sends nothing but bad signatures, as fast as the node refuses them.\n\
                 The last two columns are the honest tenant's receipts at a quarter of its rate, in an open loop.\n\n\
                 | honest tenant | events/s at full load | p50 ms | p99 ms |\n|---|---|---|---|\n";
    markdown += &row("alone", free, &quiet.phase.latency);
    markdown += &row("beside the flood", flooded, &disturbed.phase.latency);
    markdown += &format!(
        "\nThe flood costs {:.1} % of the rate, while {:.0} bad events/s are refused; {checked} receipts checked.\n\n![Latency](hostile-latency.svg)\n",
        (1.0 - flooded / free) * 100.0,
        median(&refused)
    );
    let bars = Bars {
        title: "Accepted events per second, by what else comes in".to_owned(),
        y: "events/s".to_owned(),
        bars: vec![
            ("none bad".to_owned(), medians[0]),
            ("from 8 callers".to_owned(), medians[1]),
            ("from all 16".to_owned(), medians[2]),
            ("beside a flood".to_owned(), flooded),
        ],
        line: None,
    };
    let curves =
        [("alone".to_owned(), &quiet.phase.latency), ("beside the flood".to_owned(), &disturbed.phase.latency)];
    Ok(Page {
        name: "hostile",
        markdown,
        plots: vec![
            ("hostile-rate.svg".to_owned(), bars.svg()),
            ("hostile-latency.svg".to_owned(), latency_plot("An honest tenant's latency", &curves)),
        ],
        figures: json!({
            "way": way.name(), "raw_verify_per_s": session.raw.per_second,
            "none": rates[0], "from_8_callers": rates[1], "from_all": rates[2],
            "cost_from_8_callers": 1.0 - medians[1] / medians[0], "cost_from_all": 1.0 - medians[2] / medians[0],
            "honest_alone": alone, "honest_beside_flood": beside, "cost_of_flood": 1.0 - flooded / free,
            "flood_refused_per_s": median(&refused),
            "quarter_load_p99_ms": {"alone": quiet.phase.millis(0.99), "beside_flood": disturbed.phase.millis(0.99)},
            "receipts_checked": checked,
        }),
        rows: vec![
            [
                "1 bad signature in 1000".to_owned(),
                format!("costs {:.1} % from 8 callers", (1.0 - medians[1] / medians[0]) * 100.0),
                format!("{:.1} % spread over all 16", (1.0 - medians[2] / medians[0]) * 100.0),
            ],
            [
                "a caller that floods bad signatures".to_owned(),
                format!("costs another tenant {:.1} %", (1.0 - flooded / free) * 100.0),
                format!("{:.0} bad events/s refused meanwhile", median(&refused)),
            ],
        ],
    })
}
