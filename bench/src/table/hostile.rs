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
/// The callers of either half: honest ones, and those whose signatures are bad in some cases.
const HALF: usize = CALLERS / 2;

/// A case: how many of a half's events have a bad signature, one in so many.
struct Case {
    name: &'static str,
    honest: Option<usize>,
    others: Option<usize>,
}

const CASES: [Case; 3] = [
    Case { name: "no bad signatures", honest: None, others: None },
    Case { name: "1 in 1000 bad, from 8 of 16 callers", honest: None, others: Some(500) },
    Case { name: "1 in 1000 bad, from all 16", honest: Some(1000), others: Some(1000) },
];

/// Accepted events per second of either half, and the node's CPU for one.
#[derive(Clone, Copy)]
struct Halves {
    honest: f64,
    others: f64,
    cpu_micros: f64,
}

impl Halves {
    const fn all(self) -> f64 {
        self.honest + self.others
    }
}

/// One case for some seconds: both halves send all the while, so that nobody's rate is that of a machine which the
/// others have left.
fn halves(session: &Session, case: &Case, plan: &Plan, events: usize) -> Result<(Halves, usize), Failure> {
    let maker = |one_in: Option<usize>| {
        let spoil = one_in.map(|one_in| Spoil { callers: HALF, bad_callers: HALF, one_in });
        session.maker(Shape { one_agent_a_body: true, spoil, ..Shape::default() }, session.node.tenant)
    };
    let (first, second) = (maker(case.honest)?, maker(case.others)?);
    let keys = |range: std::ops::Range<usize>| plan.api_keys.get(range).unwrap_or_default().to_vec();
    let honest = Plan { connections: HALF, api_keys: keys(0..HALF), ..plan.clone() };
    let others = Plan { connections: HALF, api_keys: keys(HALF..CALLERS), ..plan.clone() };
    let plans = [(&first, Arc::new(first.make(events)?), &honest), (&second, Arc::new(second.make(events)?), &others)];
    let measured = session.measure_all(&plans)?;
    let [honest, others] = &measured[..] else { return Err("two plans have two results".to_owned()) };
    let cpu_micros = honest.cost.node_micros(honest.phase.events + others.phase.events);
    let halves = Halves { honest: honest.phase.rate(), others: others.phase.rate(), cpu_micros };
    Ok((halves, honest.checked + others.checked))
}

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
    let honest = session.maker(Shape { one_agent_a_body: true, ..Shape::default() }, session.node.tenant)?;
    let mut plan = session.plan(way, CALLERS, options.window);
    plan.api_keys = (0..CALLERS).map(|_| session.node.new_api_key(session.node.tenant)).collect::<Result<_, _>>()?;
    let rate = session.warm_up(&honest, &plan, options.events.unwrap_or(40_000).min(40_000))?;
    let events = options.events_at(rate);
    let mut rates: [Vec<Halves>; CASES.len()] = Default::default();
    let mut checked = 0;
    // A half may take the other's part too: each has events for the whole time at three quarters of the rate.
    let timed = Plan { seconds_max: Some(options.seconds / 2.0), ..plan.clone() };
    for round in 0..options.rounds.max(1) {
        say(format_args!("bad signatures, round {} ...", round + 1));
        for (case, rates) in CASES.iter().zip(&mut rates) {
            let (halves, receipts) = halves(&session, case, &timed, events * 3 / 8)?;
            rates.push(halves);
            checked += receipts;
        }
    }
    let of = |rates: &[Halves], what: fn(Halves) -> f64| median(&rates.iter().copied().map(what).collect::<Vec<_>>());
    let rates_of_none: Vec<f64> = rates[0].iter().copied().map(Halves::all).collect();
    let medians: Vec<f64> = rates.iter().map(|rates| of(rates, Halves::all)).collect();
    // Each round against its own first case: the machine is not equally fast in all of them.
    let against_none: Vec<f64> = rates
        .iter()
        .map(|rates| median(&rates.iter().zip(&rates_of_none).map(|(a, none)| a.all() / none).collect::<Vec<_>>()))
        .collect();

    let flooding = flood(&session, way, options)?;
    let (mut alone, mut beside, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds.max(1) {
        say(format_args!("a flood, round {} ...", round + 1));
        let bodies = Arc::new(honest.make(events)?);
        alone.push(session.measure_all(&[(&honest, bodies, &plan)])?.remove(0).phase.rate());
        let bodies = Arc::new(honest.make(events)?);
        let both = [(&honest, bodies, &plan), (&flooding.maker, Arc::clone(&flooding.bodies), &flooding.plan)];
        let measured = session.measure_all(&both)?;
        beside.push(measured[0].phase.rate());
        refused.push(measured[1].phase.refused as f64 / measured[0].phase.seconds.max(1e-9));
    }
    let (free, flooded) = (median(&alone), median(&beside));
    let cost_of_flood =
        1.0 - median(&alone.iter().zip(&beside).map(|(alone, beside)| beside / alone).collect::<Vec<_>>());

    // The same at a quarter of the rate, where there is room for both: what the honest one notices is latency.
    say(format_args!("a flood at a quarter of the load ..."));
    let calm = Plan { pace: Pace::Open(free / 4.0), seconds_max: Some(options.seconds), ..plan.clone() };
    let bodies = Arc::new(honest.make(options.events_at(free / 4.0))?);
    let quiet = session.measure_all(&[(&honest, bodies, &calm)])?.remove(0);
    let bodies = Arc::new(honest.make(options.events_at(free / 4.0))?);
    let both = [(&honest, bodies, &calm), (&flooding.maker, Arc::clone(&flooding.bodies), &flooding.plan)];
    let disturbed = session.measure_all(&both)?.remove(0);
    checked += quiet.checked + disturbed.checked;

    let about = "Written by `cargo xtask bench hostile --write`.\nSixteen callers with an API key each; cases run in turn, all callers sending to the end; medians of the rounds.";
    let mut markdown = head("Hostile callers", about, &session, way, options);
    markdown += "## Bad signatures\n\n| case | accepted events/s | of raw | against none | µs node CPU | 8 callers, honest in the first two cases | the other 8 |\n|---|---|---|---|---|---|---|\n";
    for ((case, rates), against) in CASES.iter().zip(&rates).zip(&against_none) {
        let (rate, honest, others) = (of(rates, Halves::all), of(rates, |h| h.honest), of(rates, |h| h.others));
        markdown += &format!(
            "| {} | {rate:.0} | {:.2} | {against:.3} | {:.1} | {honest:.0} | {others:.0} |\n",
            case.name,
            rate / session.raw.per_second,
            of(rates, |h| h.cpu_micros),
        );
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
        "\nRound by round the flood costs {:.1} % of the rate, while {:.0} bad events/s are refused; {checked} receipts checked.\n\n![Latency](hostile-latency.svg)\n",
        cost_of_flood * 100.0,
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
            "cases": CASES.iter().zip(&rates).map(|(case, rates)| json!({
                "case": case.name, "rounds": rates.iter().copied().map(Halves::all).collect::<Vec<_>>(),
                "honest_half": of(rates, |h| h.honest), "other_half": of(rates, |h| h.others),
            })).collect::<Vec<_>>(),
            "cost_from_8_callers": 1.0 - against_none[1], "cost_from_all": 1.0 - against_none[2],
            "honest_alone": alone, "honest_beside_flood": beside, "cost_of_flood": cost_of_flood,
            "flood_refused_per_s": median(&refused),
            "quarter_load_p99_ms": {"alone": quiet.phase.millis(0.99), "beside_flood": disturbed.phase.millis(0.99)},
            "receipts_checked": checked,
        }),
        rows: vec![
            [
                "1 bad signature in 1000".to_owned(),
                format!("costs {:.1} % from 8 callers", (1.0 - against_none[1]) * 100.0),
                format!("{:.1} % spread over all 16", (1.0 - against_none[2]) * 100.0),
            ],
            [
                "a caller that floods bad signatures".to_owned(),
                format!("costs another tenant {:.1} %", cost_of_flood * 100.0),
                format!("{:.0} bad events/s refused meanwhile", median(&refused)),
            ],
        ],
    })
}
