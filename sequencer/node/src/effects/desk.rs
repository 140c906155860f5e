//! What others see of dispatching: the gateway's `EffectPort`, and the counts.
//!
//! Takes an operator's word and hands it to the dispatcher, the only one who writes; gives where the effect stands then.
//! Labels of the measurements are the configured connectors, so that no plugin can grow the number of series.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use tally_core::metrics::{Counter, Gauge};
use tally_gateway::{EffectAction, EffectPort, EffectPortError};
use tally_protocol::id::Index;
use tally_storage::keys::EffectKey;
use tokio::sync::{mpsc, oneshot};

/// What an operator says, and where the answer goes.
pub(super) struct Word {
    pub(super) place: EffectKey,
    pub(super) action: EffectAction,
    pub(super) reply: oneshot::Sender<Result<&'static str, EffectPortError>>,
}

/// Words that wait; an operator is one person.
const WORDS_MAX: usize = 16;

/// Counts of one connector.
#[derive(Debug, Default)]
pub(super) struct KindCounts {
    pub(super) waiting: Gauge,
    pub(super) in_flight: Gauge,
    pub(super) unknown: Gauge,
    pub(super) decided: Gauge,
    pub(super) dead: Gauge,
    pub(super) answered: Counter,
    pub(super) attempts: Counter,
}

/// Counts of all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) kinds: BTreeMap<String, KindCounts>,
    /// Effects of kinds without a connector.
    pub(super) unconnected: Gauge,
    /// Rows of the outbox that were read since the start.
    pub(super) read: Counter,
    /// 1 once dispatching has ended before the node.
    pub(super) ended: Gauge,
}

/// The gateway's port.
pub(super) struct Desk {
    words: mpsc::Sender<Word>,
    counts: Arc<Counts>,
}

impl Desk {
    pub(super) fn new(counts: Arc<Counts>) -> (Self, mpsc::Receiver<Word>) {
        let (words, heard) = mpsc::channel(WORDS_MAX);
        (Self { words, counts }, heard)
    }
}

impl EffectPort for Desk {
    fn act(&self, index: Index, number: u32, action: EffectAction) -> Result<&'static str, EffectPortError> {
        let gone = || EffectPortError::Unavailable("this node dispatches no effects now".to_owned());
        let (reply, answer) = oneshot::channel();
        let word = Word { place: EffectKey { index, number }, action, reply };
        self.words.blocking_send(word).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP tally_effects_{name} {help}\n# TYPE tally_effects_{name} {kind}");
        };
        let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&KindCounts) -> u64| {
            head(&mut out, name, kind, help);
            for (connector, counts) in &self.counts.kinds {
                let _ = writeln!(out, "tally_effects_{name}{{connector=\"{connector}\"}} {}", value(counts));
            }
        };
        family("in_flight", "gauge", "Effects that a connector is called for.", &|it| it.in_flight.get());
        family("unknown", "gauge", "Effects of which nobody knows whether they were done.", &|it| it.unknown.get());
        family("decided", "gauge", "Answers that the log has not taken yet.", &|it| it.decided.get());
        family("dead", "gauge", "Dead letters: an operator must look.", &|it| it.dead.get());
        family("answered_total", "counter", "Effects whose answer came into the log.", &|it| it.answered.get());
        family("attempts_total", "counter", "Times that doing an effect was begun.", &|it| it.attempts.get());
        family("waiting", "gauge", "Effects that wait for their turn, or for a connector.", &|it| it.waiting.get());
        let _ = writeln!(out, "tally_effects_waiting{{connector=\"\"}} {}", self.counts.unconnected.get());
        let help = "Rows of the outbox that were read since the start.";
        let _ = writeln!(out, "# HELP tally_effects_read_total {help}\n# TYPE tally_effects_read_total counter");
        let _ = writeln!(out, "tally_effects_read_total {}", self.counts.read.get());
        let help = "1 once effects are dispatched no more, until a restart.";
        let _ = writeln!(out, "# HELP tally_effects_ended {help}\n# TYPE tally_effects_ended gauge");
        let _ = writeln!(out, "tally_effects_ended {}", self.counts.ended.get());
        out
    }
}
