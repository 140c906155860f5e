//! `tally plugin run`: a dry run over a log. Nothing is stored and nothing is sent.
//!
//! Takes a plugin and tracks; gives outcomes, the difference of the state, gas by event type with its histogram, and how
//! near each limit the plugin came. What the host does not tell is not in it: gas by function, stack depth, memory pages.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_plugin_host::session::{BindingStep, Event};
use tally_protocol::id::Index;

use crate::diff::{self, KeyChange};
use crate::engines::Plugin;
use crate::error::AuthorError;
use crate::play::{Cuts, Track, play, start};
use crate::shown::shown;

/// From this share of a limit on, a use of it is red: percent.
pub const RED_PERCENT: u64 = 80;
/// Outcomes other than accepted that a report lists by event.
const LISTED_MAX: usize = 50;

/// What a dry run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Id and version.
    pub plugin: String,
    /// The module's hash.
    pub module: String,
    /// Events of the range, heard or not.
    pub events: usize,
    /// Those that it heard.
    pub heard: usize,
    /// How many ended how.
    pub outcomes: BTreeMap<String, usize>,
    /// Events that did not end accepted, the first of them.
    pub refused: Vec<Line>,
    /// Derived events that it emitted.
    pub emits: usize,
    /// Effects that it asked for.
    pub effects: usize,
    /// The difference of the state, by track.
    pub states: Vec<StateDiff>,
    /// Gas by event type; `*` is all.
    pub gas: BTreeMap<String, Gas>,
    /// How many events were charged how much gas: the bucket's upper bound, a power of two, and its events.
    pub histogram: Vec<(u64, usize)>,
    /// The largest use of each limit.
    pub limits: Vec<Use>,
    /// What guests said, the first of it.
    pub log: Vec<String>,
}

/// An event that did not end accepted.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Where.
    pub track: String,
    /// Its index.
    pub index: u64,
    /// Its type.
    pub event_type: String,
    /// Its entity.
    pub entity: String,
    /// How it ended.
    pub outcome: String,
}

/// The difference of a track's state.
#[derive(Debug, Clone, Serialize)]
pub struct StateDiff {
    /// Which track.
    pub track: String,
    /// Keys after.
    pub keys: usize,
    /// Keys that changed.
    pub changes: Vec<KeyChange>,
}

/// Gas over events: nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Gas {
    /// Events.
    pub events: usize,
    /// Half of them were charged at most this.
    pub p50: u64,
    /// 99 of 100 were charged at most this.
    pub p99: u64,
    /// The most.
    pub max: u64,
    /// All together.
    pub total: u64,
}

impl Gas {
    /// Of these charges.
    #[must_use]
    pub fn of(mut charges: Vec<u64>) -> Self {
        charges.sort_unstable();
        let rank = |percent: usize| {
            let at = (charges.len() * percent).div_ceil(100).saturating_sub(1);
            charges.get(at).copied().unwrap_or(0)
        };
        Self {
            events: charges.len(),
            p50: rank(50),
            p99: rank(99),
            max: charges.last().copied().unwrap_or(0),
            total: charges.iter().sum(),
        }
    }
}

/// The largest use of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The limit's name.
    pub limit: &'static str,
    /// Its value.
    pub value: u64,
    /// The most that an event used.
    pub used: u64,
    /// In percent of the value, rounded up.
    pub percent: u64,
    /// The event.
    pub at: String,
    /// Above [`RED_PERCENT`].
    pub red: bool,
}

/// Runs the events with an index of at least `from`, after those before it, without a report.
///
/// # Errors
/// The plugin does not start, or the host cannot go on.
pub fn run(plugin: &Plugin, tracks: &[Track], from: Index) -> Result<Report, AuthorError> {
    let Some(guest) = plugin.first() else { return Err(AuthorError::Events("no engine was asked for".to_owned())) };
    let mut tally = Tally::default();
    for track in tracks {
        tally.events += track.events.iter().filter(|event| event.index >= from).count();
        let heard = track.heard_by(plugin);
        let begin = heard.events.partition_point(|event| event.index < from);
        let (before, range) = heard.events.split_at(begin);
        let at_start = play(guest, before, start(guest, track)?, Cuts::Whole)?.state;
        let played = play(guest, range, at_start.clone(), Cuts::Whole)?;
        for (event, step) in range.iter().zip(&played.steps) {
            tally.take(track, event, step);
        }
        let changes = diff::states(&at_start, &played.state);
        tally.states.push(StateDiff { track: track.name.clone(), keys: played.state.len(), changes });
    }
    Ok(tally.report(plugin))
}

#[derive(Default)]
struct Tally {
    events: usize,
    outcomes: BTreeMap<String, usize>,
    refused: Vec<Line>,
    emits: usize,
    effects: usize,
    states: Vec<StateDiff>,
    gas: BTreeMap<String, Vec<u64>>,
    uses: BTreeMap<&'static str, (u64, String)>,
    log: Vec<String>,
}

impl Tally {
    fn take(&mut self, track: &Track, event: &Event, step: &BindingStep) {
        *self.outcomes.entry(step.code.to_string()).or_default() += 1;
        let entity = format!("{} {}", event.entity_type, event.entity_id);
        if !step.code.is_accepted() && self.refused.len() < LISTED_MAX {
            self.refused.push(Line {
                track: track.name.clone(),
                index: event.index.get(),
                event_type: event.event_type.clone(),
                entity,
                outcome: step.code.to_string(),
            });
        }
        (self.emits, self.effects) = (self.emits + step.emits.len(), self.effects + step.effects.len());
        for name in ["*", event.event_type.as_str()] {
            self.gas.entry(name.to_owned()).or_default().push(step.gas);
        }
        for (limit, used) in uses(event, step) {
            let most = self.uses.entry(limit).or_insert((0, String::new()));
            if used > most.0 {
                *most = (used, format!("{} index {} ({})", track.name, event.index, event.event_type));
            }
        }
        let room = LISTED_MAX.saturating_sub(self.log.len());
        self.log.extend(step.log.iter().take(room).map(|line| format!("index {}: {}", event.index, line.text)));
    }

    fn report(mut self, plugin: &Plugin) -> Report {
        let all = self.gas.get("*").cloned().unwrap_or_default();
        let mut histogram: BTreeMap<u64, usize> = BTreeMap::new();
        for charge in &all {
            *histogram.entry(charge.max(&1).next_power_of_two()).or_default() += 1;
        }
        let limit = |(name, value): (&'static str, u64)| {
            let (used, at) = self.uses.remove(name)?;
            let percent = (used.saturating_mul(100)).div_ceil(value.max(1));
            Some(Use { limit: name, value, used, percent, at, red: percent > RED_PERCENT })
        };
        let limits = plugin.limits().entries().into_iter().filter_map(limit).collect();
        Report {
            plugin: plugin.title(),
            module: plugin.module.to_hex(),
            events: self.events,
            heard: all.len(),
            outcomes: self.outcomes,
            refused: self.refused,
            emits: self.emits,
            effects: self.effects,
            states: self.states,
            gas: self.gas.into_iter().map(|(name, charges)| (name, Gas::of(charges))).collect(),
            histogram: histogram.into_iter().collect(),
            limits,
            log: self.log,
        }
    }
}

/// What a step used of the limits that can be seen from outside. `write_bytes` counts every call in the host; here each
/// key's last write, which is less where a plugin writes a key twice.
fn uses(event: &Event, step: &BindingStep) -> Vec<(&'static str, u64)> {
    let length = |bytes: &[u8]| bytes.len() as u64;
    let keys = step.writes.iter().map(|(key, _)| length(key));
    let values = step.writes.iter().filter_map(|(_, value)| value.as_deref().map(length));
    let log: usize = step.log.iter().map(|line| line.text.len()).sum();
    vec![
        ("gas", step.gas),
        ("body_bytes", length(&event.body)),
        ("key_bytes", keys.clone().max().unwrap_or(0)),
        ("value_bytes", values.clone().max().unwrap_or(0)),
        ("writes", step.writes.len() as u64),
        ("write_bytes", keys.sum::<u64>() + values.sum::<u64>()),
        ("emits", step.emits.len() as u64),
        ("effects", step.effects.len() as u64),
        ("log_bytes", log as u64),
    ]
}

/// A report as text. `red` marks what is to be seen.
#[must_use]
pub fn text(report: &Report, red: impl Fn(&str) -> String) -> String {
    let mut out = vec![format!(
        "{}  module {}\n{} events, {} heard, {} emitted, {} effects",
        report.plugin, report.module, report.events, report.heard, report.emits, report.effects
    )];
    out.push("\noutcomes".to_owned());
    out.extend(report.outcomes.iter().map(|(code, count)| format!("  {count:>8}  {code}")));
    let line = |line: &Line| {
        format!("  {} index {}  {}  {}  {}", line.track, line.index, line.event_type, line.entity, red(&line.outcome))
    };
    out.extend(report.refused.iter().map(line));
    out.push("\ngas                                    events       p50       p99       max         total".to_owned());
    let row = |(name, gas): (&String, &Gas)| {
        let Gas { events, p50, p99, max, total } = gas;
        format!("  {name:<34} {events:>8} {p50:>9} {p99:>9} {max:>9} {total:>13}")
    };
    out.extend(report.gas.iter().map(row));
    out.push("  (by event type; by function is not measured)".to_owned());
    let most = report.histogram.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let bar = |(bound, count): &(u64, usize)| {
        format!("  <= {bound:>9}  {count:>8}  {}", "#".repeat((count * 40).div_ceil(most)))
    };
    out.extend(report.histogram.iter().map(bar));
    out.push("\nlimits                used      limit        %  most at".to_owned());
    for used in &report.limits {
        let Use { limit, value, used: amount, percent, at, red: is_red } = used;
        let line = format!("  {limit:<14} {amount:>9} {value:>10} {percent:>7}%  {at}");
        out.push(if *is_red { red(&line) } else { line });
    }
    out.push("  (stack and memory are not told by the host; running out of them is an outcome)".to_owned());
    for state in &report.states {
        out.push(format!(
            "\nstate of {}: {} keys, {} changed",
            shown(state.track.as_bytes()),
            state.keys,
            state.changes.len()
        ));
        out.extend(state.changes.iter().take(LISTED_MAX).map(|change| format!("  {change}")));
        if state.changes.len() > LISTED_MAX {
            out.push(format!("  … and {} more", state.changes.len() - LISTED_MAX));
        }
    }
    if !report.log.is_empty() {
        out.push("\nlog".to_owned());
        out.extend(report.log.iter().map(|line| format!("  {line}")));
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let gas = Gas::of((1..=200).rev().collect());
        assert_eq!((gas.p50, gas.p99, gas.max, gas.total), (100, 198, 200, 20_100));
        assert_eq!(Gas::of(vec![7]), Gas { events: 1, p50: 7, p99: 7, max: 7, total: 7 });
        assert_eq!(Gas::of(Vec::new()), Gas::default());
    }
}
