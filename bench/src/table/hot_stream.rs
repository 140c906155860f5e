//! One hot stream against many: the same load, in turn, on one node.

use serde_json::json;

use super::{Options, Page, head, median, say};
use crate::Failure;
use crate::events::Shape;
use crate::svg::Bars;

pub(super) fn measure(options: &Options) -> Result<Page, Failure> {
    let session = options.session("hot-stream")?;
    let way = options.way(&session);
    let maker = |streams: usize| {
        let shape = Shape { streams, one_agent_a_body: true, ..Shape::default() };
        session.maker(shape, session.node.tenant)
    };
    let (one, many) = (maker(1)?, maker(64)?);
    let plan = session.plan(way, options.connections, options.window);
    let rate = session.warm_up(&many, &plan, options.events.unwrap_or(40_000).min(40_000))?;
    let events = options.events_at(rate);
    let (mut of_one, mut of_many, mut checked) = (Vec::new(), Vec::new(), 0);
    for round in 0..options.rounds.max(1) {
        say(format_args!("round {} ...", round + 1));
        for (maker, rates) in [(&one, &mut of_one), (&many, &mut of_many)] {
            let measured = session.measure(maker, events, &plan)?;
            rates.push(measured.phase.rate());
            checked += measured.checked;
        }
    }
    let (hot, spread) = (median(&of_one), median(&of_many));
    let about = "Written by `cargo xtask bench hot-stream --write`.\nThe same load on one stream and on 64, in turn; medians of the rounds.";
    let mut markdown = head("One hot stream", about, &session, way, options);
    markdown += &format!(
        "| | events/s | of raw |\n|---|---|---|\n| one stream | {hot:.0} | {:.2} |\n| 64 streams | {spread:.0} | {:.2} |\n\n\
         One stream runs at {:.2} of the rate of many; {checked} receipts checked.\n\n![Rates](hot-stream.svg)\n",
        hot / session.raw.per_second,
        spread / session.raw.per_second,
        hot / spread
    );
    let bars = Bars {
        title: "One stream and many".to_owned(),
        y: "events/s".to_owned(),
        bars: vec![("one stream".to_owned(), hot), ("64 streams".to_owned(), spread)],
        line: None,
    };
    Ok(Page {
        name: "hot-stream",
        markdown,
        plots: vec![("hot-stream.svg".to_owned(), bars.svg())],
        figures: json!({
            "way": way.name(), "raw_verify_per_s": session.raw.per_second,
            "one_stream_events_per_s": of_one, "many_streams_events_per_s": of_many,
            "one_of_many": hot / spread, "receipts_checked": checked,
        }),
        rows: vec![[
            "one hot stream".to_owned(),
            format!("{:.2} of the rate of 64 streams", hot / spread),
            format!("{hot:.0} and {spread:.0} events/s"),
        ]],
    })
}
