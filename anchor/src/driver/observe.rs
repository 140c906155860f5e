//! One look: the chain at three tags, the logs' newest checkpoints, and how they stand to each other.
//!
//! The chain is read first and the logs after it, so that a log is never older than what it was anchored from. A level on
//! which the providers do not agree now is absent, and then nothing becomes safe or final.

use std::collections::VecDeque;

use tally_protocol::hash::NodeHash;

use crate::chain::{Level, LogHead, View};
use crate::error::{AnchorError, ChainError, Halt};
use crate::metrics::ChainStatus;
use crate::schedule::Action;
use crate::source::{Continuation, Divergence, LogId, LogKind, Published, follow};

use super::{LEVELS, Worker, because};

/// What was seen.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) latest: View,
    pub(super) safe: Option<View>,
    pub(super) finalized: Option<View>,
    pub(super) logs: Vec<LogSight>,
}

/// One log beside its head.
#[derive(Debug)]
pub(super) struct LogSight {
    pub(super) kind: LogKind,
    pub(super) id: LogId,
    pub(super) head: LogHead,
    pub(super) newest: Option<Published>,
    pub(super) stands: Stands,
}

/// How the log stands to the contract's head.
#[derive(Debug)]
pub(super) enum Stands {
    /// It continues the head, by these nodes.
    Continues(Vec<NodeHash>),
    Diverged(Divergence),
}

impl Sight {
    /// Leaves that are published and not anchored.
    pub(super) fn waiting(&self) -> u64 {
        self.logs.iter().map(LogSight::waiting).sum()
    }

    pub(super) fn divergence(&self) -> Option<Halt> {
        self.logs.iter().find_map(|log| match log.stands {
            Stands::Continues(_) => None,
            Stands::Diverged(why) => Some(Halt::Diverged { log: log.kind.as_str().to_owned(), why }),
        })
    }

    pub(super) fn level(&self, level: Level) -> Option<&View> {
        match level {
            Level::Latest => Some(&self.latest),
            Level::Safe => self.safe.as_ref(),
            Level::Finalized => self.finalized.as_ref(),
        }
    }
}

impl LogSight {
    fn waiting(&self) -> u64 {
        let published = self.newest.as_ref().map_or(0, |newest| newest.size.get());
        published.saturating_sub(self.head.size.get())
    }
}

impl Worker {
    pub(super) async fn observe(&self) -> Result<Sight, AnchorError> {
        let (account, ids) = (self.account(), self.log_ids());
        let latest = self.parts.chain.view(Level::Latest, account, ids.clone()).await?;
        let mut levels = Vec::with_capacity(LEVELS.len());
        for level in LEVELS {
            levels.push(self.unless_disagreed(self.parts.chain.view(level, account, ids.clone()).await));
        }
        let finalized = levels.pop().flatten();
        let safe = levels.pop().flatten();
        let mut logs = Vec::with_capacity(self.parts.logs.len());
        for ((kind, id), head) in self.parts.logs.iter().zip(&latest.heads) {
            logs.push(self.look_at_log(*kind, *id, *head).await?);
        }
        Ok(Sight { latest, safe, finalized, logs })
    }

    async fn look_at_log(&self, kind: LogKind, id: LogId, head: LogHead) -> Result<LogSight, AnchorError> {
        let source = &*self.parts.source;
        let newest = source.newest(kind).await?;
        let stands = match &newest {
            Some(newest) => match follow(source, kind, head.size, &head.root, newest).await? {
                Continuation::Proven(path) => Stands::Continues(path),
                Continuation::Diverged(why) => Stands::Diverged(why),
            },
            None if head.size.get() == 0 => Stands::Continues(Vec::new()),
            None => Stands::Diverged(Divergence::LogIsShorter),
        };
        Ok(LogSight { kind, id, head, newest, stands })
    }

    fn unless_disagreed(&self, view: Result<View, ChainError>) -> Option<View> {
        match view {
            Ok(view) => Some(view),
            Err(error) => {
                tracing::debug!(chain = %self.parts.config.name, %error, "a level is not agreed on now");
                self.count(|status| status.errors += 1);
                None
            }
        }
    }

    /// The numbers of this round, to be laid over the old ones.
    pub(super) fn status(&mut self, sight: &Sight, action: &Action) -> impl FnOnce(&mut ChainStatus) + use<> {
        let now_ms = self.now();
        let published: u64 =
            sight.logs.iter().filter_map(|log| log.newest.as_ref()).map(|newest| newest.size.get()).sum();
        let waiting = sight.waiting();
        let lag_ms = self.memory.lag.look(now_ms, published, published - waiting);
        let sizes =
            |view: Option<&View>, at: usize| view.and_then(|view| view.heads.get(at)).map_or(0, |head| head.size.get());
        let sights: Vec<_> = sight
            .logs
            .iter()
            .enumerate()
            .map(|(at, log)| {
                let published = log.newest.as_ref().map_or(0, |newest| newest.size.get());
                let (safe, finalized) = (sizes(sight.safe.as_ref(), at), sizes(sight.finalized.as_ref(), at));
                (log.kind.as_str().to_owned(), published, log.head.size.get(), safe, finalized)
            })
            .collect();
        let halted = self.journal.halted().map(ToString::to_string);
        let state = self.journal.slots().next_back().map_or("idle", |slot| slot.state.as_str());
        let state = if halted.is_some() { "halted" } else { state }.to_owned();
        let why = halted.clone().unwrap_or_else(|| match action {
            Action::Wait(_, reason) => because(*reason).to_owned(),
            Action::Settle => "the account's nonce on chain is not what the journal explains".to_owned(),
            Action::Plan(_) => "an anchor is signed and sent".to_owned(),
            Action::Replace(_) => "a dearer candidate is signed and sent".to_owned(),
            Action::Rebroadcast => "signed bytes are sent".to_owned(),
            Action::Halt(halt) => halt.to_string(),
        });
        let (spent, nonce) = (self.journal.spent(now_ms, None), self.own_nonce());
        let alarm = lag_ms > self.parts.config.interval_ms.saturating_mul(2);
        let signer_alarm = self.memory.signer_away_until_ms.is_some();
        move |status| {
            (status.at_ms, status.state, status.why, status.halted) = (now_ms, state, why, halted.is_some());
            (status.lag_events, status.lag_seconds, status.lag_alarm) = (waiting, lag_ms / 1000, alarm);
            (status.spent_today_wei, status.nonce, status.signer_alarm) = (spent, nonce, signer_alarm);
            for (log, published, latest, safe, finalized) in sights {
                let entry = status.logs.entry(log).or_default();
                (entry.published, entry.latest) = (published, latest);
                // An absent level keeps its last word: nothing is un-finalized by a provider's silence.
                (entry.safe, entry.finalized) = (entry.safe.max(safe).min(latest), entry.finalized.max(finalized));
            }
        }
    }
}

/// Since when leaves have been waiting: sizes with the time they were first seen, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lag {
    seen: VecDeque<(u64, u64)>,
}

/// More steps than this are not kept apart: the newest stands for those after it.
const LAG_STEPS_MAX: usize = 4_096;

impl Lag {
    /// Milliseconds since the oldest leaf that is not anchored was first seen.
    fn look(&mut self, now_ms: u64, published: u64, anchored: u64) -> u64 {
        if self.seen.back().is_none_or(|(_, size)| *size < published) && self.seen.len() < LAG_STEPS_MAX {
            self.seen.push_back((now_ms, published));
        }
        // The last step that is anchored stays: a reorganisation may bring it back.
        while self.seen.get(1).is_some_and(|(_, size)| *size <= anchored) {
            self.seen.pop_front();
        }
        let oldest = self.seen.iter().find(|(_, size)| *size > anchored);
        oldest.map_or(0, |(seen_ms, _)| now_ms.saturating_sub(*seen_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_counts_from_the_oldest_leaf_that_waits_and_ends_with_the_anchor() {
        let mut lag = Lag::default();
        assert_eq!(lag.look(1_000, 10, 0), 0);
        assert_eq!(lag.look(6_000, 20, 0), 5_000);
        assert_eq!(lag.look(7_000, 20, 10), 1_000, "the second step came at 6 s");
        assert_eq!(lag.look(8_000, 20, 20), 0);
        assert_eq!(lag.look(9_000, 20, 10), 3_000, "a reorganisation took it back");
    }
}
