//! The chain for those who hold no key: a node that serves what was anchored, an auditor, a fence.
//!
//! Takes a chain and the logs' ids; gives the heads at the three tags, the anchor events as they come and as a
//! reorganisation takes them back, and for a place in a log the anchor that covers it. It signs nothing and sends nothing. What
//! it calls final, enough providers agreed on; a final head never goes back here, whatever a provider says later.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_protocol::id::Index;

use crate::chain::{AnchoredEvent, BlockRef, Chain, Level, LogHead, View};
use crate::error::ChainError;
use crate::signer::Address;
use crate::source::{Divergence, LogId, LogKind, LogSource, Published, SourceError, is_prefix};

/// Blocks per question for events: what providers commonly allow.
const BLOCKS_PER_QUESTION: u64 = 2_000;

/// Final events kept in memory, over all logs; older ones are in the chain, and with whoever took them from [`Poll::added`].
const SETTLED_EVENTS_MAX: usize = 4_096;

/// A log's heads at the three tags, with the blocks in which they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Head and block at `latest`.
    pub latest: (LogHead, BlockRef),
    /// At `safe`; absent until providers have agreed once.
    pub safe: Option<(LogHead, BlockRef)>,
    /// At `finalized`; as above.
    pub finalized: Option<(LogHead, BlockRef)>,
}

/// How far a log is ahead of its anchor at `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorLag {
    /// Leaves.
    pub events: u64,
    /// Seconds since the anchor's block; 0 when nothing waits.
    pub seconds: u64,
}

/// What a look brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Poll {
    /// Events that were not there before, in chain order.
    pub added: Vec<AnchoredEvent>,
    /// Events that a reorganisation took away.
    pub removed: Vec<AnchoredEvent>,
}

/// The proof that a place in a log is under an anchor of the chain, but for the path in the log's own tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// The anchor: log, seq, size, root, note hash, transaction, block.
    pub anchor: AnchoredEvent,
    /// Its block, with the time. Not to be kept before finality: a reorganisation may change it.
    pub block: BlockRef,
    /// The anchoring transaction's signed bytes, where a provider gives them out.
    pub raw: Option<Vec<u8>>,
    /// How sure the chain is of it.
    pub level: Level,
}

/// Watches one contract.
pub struct Watcher {
    chain: Arc<dyn Chain>,
    logs: Vec<(LogKind, LogId)>,
    heads: BTreeMap<LogId, Heads>,
    events: BTreeMap<(u64, u64), AnchoredEvent>,
    settled_below: u64,
}

impl Watcher {
    /// Watches from a block on: the contract's, or the first that is not yet known.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, logs: Vec<(LogKind, LogId)>, from_block: u64) -> Self {
        Self { chain, logs, heads: BTreeMap::new(), events: BTreeMap::new(), settled_below: from_block }
    }

    /// Looks at the chain once.
    ///
    /// # Errors
    /// No answer; what was known before stays.
    pub async fn poll(&mut self) -> Result<Poll, ChainError> {
        let ids: Vec<LogId> = self.logs.iter().map(|(_, id)| *id).collect();
        let nobody = Address([0; 20]);
        let latest = self.chain.view(Level::Latest, nobody, ids.clone()).await?;
        let safe = self.chain.view(Level::Safe, nobody, ids.clone()).await.ok();
        let finalized = self.chain.view(Level::Finalized, nobody, ids.clone()).await.ok();
        let now = self.events_until(&ids, latest.block.number).await?;
        let poll = self.replace_events(now);
        self.update_heads(&ids, &latest, safe.as_ref(), finalized.as_ref());
        if let Some(finalized) = finalized {
            self.settle_below(finalized.block.number + 1);
        }
        Ok(poll)
    }

    /// A log's heads; absent before the first look.
    #[must_use]
    pub fn heads(&self, log: &LogId) -> Option<&Heads> {
        self.heads.get(log)
    }

    /// The events in memory, in chain order.
    pub fn events(&self) -> impl Iterator<Item = &AnchoredEvent> {
        self.events.values()
    }

    /// The first anchor of the log that covers the place, as sure as asked for.
    #[must_use]
    pub fn covering(&self, log: &LogId, index: Index, level: Level) -> Option<&AnchoredEvent> {
        let covers = |event: &&AnchoredEvent| event.log_id == *log && event.size.holds(index);
        self.events.values().find(|event| covers(event) && self.level_of(event) >= level)
    }

    /// How sure the chain is of an event.
    #[must_use]
    pub fn level_of(&self, event: &AnchoredEvent) -> Level {
        let Some(heads) = self.heads.get(&event.log_id) else { return Level::Latest };
        let below = |at: Option<(LogHead, BlockRef)>| {
            at.is_some_and(|(head, block)| event.block_number <= block.number && event.seq <= head.seq)
        };
        if below(heads.finalized) {
            Level::Finalized
        } else if below(heads.safe) {
            Level::Safe
        } else {
            Level::Latest
        }
    }

    /// Everything the chain has about an anchor.
    ///
    /// # Errors
    /// No answer, or the block is gone.
    pub async fn material(&self, anchor: &AnchoredEvent) -> Result<Material, ChainError> {
        let block = self.chain.block(anchor.block_number).await?;
        let block = block.filter(|block| block.hash == anchor.block_hash);
        let block = block.ok_or(ChainError::Disagreement("an anchor's block"))?;
        let raw = self.chain.raw(anchor.tx_hash).await?;
        Ok(Material { anchor: anchor.clone(), block, raw, level: self.level_of(anchor) })
    }

    /// How far the log is ahead of its anchor.
    #[must_use]
    pub fn lag(&self, log: &LogId, newest: &Published, now_ms: u64) -> Option<AnchorLag> {
        let (head, _) = self.heads.get(log)?.latest;
        let events = newest.size.get().saturating_sub(head.size.get());
        let seconds = if events == 0 { 0 } else { (now_ms / 1000).saturating_sub(head.block_time) };
        Some(AnchorLag { events, seconds })
    }

    /// The fence of a node that starts: whether each log begins with what the chain holds of it, and which does not.
    ///
    /// # Errors
    /// The logs' source did not answer.
    pub async fn fence<S: LogSource + ?Sized>(&self, source: &S) -> Result<Vec<(LogKind, Divergence)>, SourceError> {
        let mut parted = Vec::new();
        for (kind, id) in &self.logs {
            let Some(heads) = self.heads.get(id) else { continue };
            let (head, _) = heads.latest;
            if let Err(divergence) = is_prefix(source, *kind, head.size, &head.root).await? {
                parted.push((*kind, divergence));
            }
        }
        Ok(parted)
    }

    async fn events_until(&self, ids: &[LogId], latest: u64) -> Result<Vec<AnchoredEvent>, ChainError> {
        let mut events = Vec::new();
        let mut from = self.settled_below;
        while from <= latest {
            let to = latest.min(from.saturating_add(BLOCKS_PER_QUESTION - 1));
            events.extend(self.chain.events(ids.to_vec(), from, to).await?);
            from = to + 1;
        }
        Ok(events)
    }

    /// The unsettled part is read anew each time: what is not there any more was reorganised away.
    fn replace_events(&mut self, now: Vec<AnchoredEvent>) -> Poll {
        let before = self.events.split_off(&(self.settled_below, 0));
        let now: BTreeMap<_, _> = now.into_iter().map(|event| ((event.block_number, event.log_index), event)).collect();
        let added = now.iter().filter(|(at, event)| before.get(*at) != Some(event)).map(|(_, event)| event.clone());
        let removed = before.iter().filter(|(at, event)| now.get(*at) != Some(event)).map(|(_, event)| event.clone());
        let poll = Poll { added: added.collect(), removed: removed.collect() };
        self.events.extend(now);
        poll
    }

    fn update_heads(&mut self, ids: &[LogId], latest: &View, safe: Option<&View>, finalized: Option<&View>) {
        for (at, id) in ids.iter().enumerate() {
            let of = |view: &View| view.heads.get(at).map(|head| (*head, view.block));
            let Some(newest) = of(latest) else { continue };
            let old = self.heads.get(id).copied();
            let kept = old.and_then(|old| old.finalized);
            let final_now = finalized.and_then(of).filter(|(head, _)| kept.is_none_or(|(old, _)| old.seq <= head.seq));
            let heads = Heads {
                latest: newest,
                safe: safe.and_then(of).or_else(|| old.and_then(|old| old.safe)),
                finalized: final_now.or(kept),
            };
            self.heads.insert(*id, heads);
        }
    }

    fn settle_below(&mut self, block: u64) {
        self.settled_below = self.settled_below.max(block);
        while self.events.range(..(self.settled_below, 0)).count() > SETTLED_EVENTS_MAX {
            self.events.pop_first();
        }
    }
}
