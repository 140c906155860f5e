//! The gateway's `AnchorPort`: what the watcher saw, and the proofs from an event to it.
//!
//! A proof is made of the newest anchor that holds the event, at the surest level at which there is one: the contract can be
//! asked about it, and its transaction is at hand. Where a provider gives out no raw transactions there is no proof to
//! give, and that is said.

use std::fmt::Write as _;
use std::sync::Arc;

use tally_anchor::chain::{AnchoredEvent, BlockRef};
use tally_api::anchor::{
    AnchorHead, AnchorLeaf, AnchorOutcome, AnchorProof, AnchorStatus, Block, ChainAnchors, LogHeads,
};
use tally_gateway::{AnchorPort, AnchorPortError, SeenHead};
use tally_protocol::anchor::AnchorCall;
use tally_protocol::anchor::transaction::SignedTransaction;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, Address, BlockHash, LeafHash, LogId, LogKind, NodeHash, TransactionHash, log_id};
use tally_protocol::id::Index;
use tally_protocol::time::LogTime;
use tally_verify::AnchoredLeaf;
use tokio::sync::watch;

use super::source::NodeLogs;
use super::watcher::{Anchored, LEVELS, Named, Sight, Watching, head_at};

/// What the door shows of the watched chains.
pub struct Port(Arc<Watching>);

fn failed(error: impl std::fmt::Display) -> AnchorPortError {
    AnchorPortError::Failed(error.to_string())
}

impl Port {
    /// Of what is watched.
    #[must_use]
    pub const fn new(watching: Arc<Watching>) -> Self {
        Self(watching)
    }

    fn chain(&self, named: &Named, sight: &Sight) -> ChainAnchors {
        let ledger = &self.0.ledger;
        let outcomes = NodeLogs(self.0.reader.clone()).published(LogKind::Outcomes);
        let (lag_events, lag_seconds) = self.lag(sight);
        ChainAnchors {
            chain_id: named.chain_id,
            name: named.name.clone(),
            contract: named.contract,
            events: heads_of(sight, log_id(ledger, LogKind::Events)),
            outcomes: outcomes.map(|_| heads_of(sight, log_id(ledger, LogKind::Outcomes))),
            lag_events,
            lag_seconds,
            halted: halted(sight),
        }
    }

    /// Signed entries that the chain's latest head does not hold, and for how long the chain has not moved.
    fn lag(&self, sight: &Sight) -> (u64, u64) {
        let head = sight.heads.get(&log_id(&self.0.ledger, LogKind::Events)).map(|heads| heads.latest.0);
        let (size, block_time) = head.map_or((0, 0), |head| (head.size.get(), head.block_time));
        let events = self.0.reader.ladder().signed.get().saturating_sub(size);
        let now = self.0.clock.wall().micros() / 1_000_000;
        // Before the first anchor the log itself is what waits.
        let since = if size == 0 { self.0.reader.ledger().genesis.created_at.micros() / 1_000_000 } else { block_time };
        (events, if events == 0 { 0 } else { now.saturating_sub(since) })
    }

    fn proof(&self, named: &Named, anchored: &Anchored, index: Index) -> Result<Option<AnchorProof>, AnchorPortError> {
        let Some(raw) = &anchored.raw else {
            let why = format!("no provider of chain {} gives out raw transactions", named.name);
            return Err(AnchorPortError::Unavailable(why));
        };
        let Some(authority) = authority_of(raw, named, anchored.events.log_id) else {
            return Err(failed(format!("the anchor of chain {} is in a transaction of another kind", named.name)));
        };
        let reader = &self.0.reader;
        let event = reader.event(index).map_err(failed)?;
        let Ok(note) = reader.published_at(anchored.events.size) else { return Ok(None) };
        let path = reader.inclusion(index, anchored.events.size).map_err(failed)?.path;
        let leaf = leaf_under(&anchored.events, &note, (event.leaf_hash(), index), path)?;
        let outcome = match &anchored.outcomes {
            Some(outcomes) if outcomes.size.holds(index) => self.outcome(outcomes, index)?,
            _ => None,
        };
        Ok(Some(AnchorProof {
            chain_id: named.chain_id,
            contract: named.contract,
            authority,
            transaction: raw.clone(),
            block: Some(block_of(&anchored.block)),
            event: leaf,
            outcome,
        }))
    }

    fn outcome(&self, anchored: &AnchoredEvent, index: Index) -> Result<Option<AnchorOutcome>, AnchorPortError> {
        let reader = &self.0.reader;
        let Ok(note) = reader.outcomes_published_at(anchored.size) else { return Ok(None) };
        let body = reader.outcome(index).map_err(failed)?.to_vec();
        let path = reader.outcome_inclusion(index, anchored.size).map_err(failed)?.path;
        let leaf = leaf_under(anchored, &note, (hash::leaf(&body), index), path)?;
        Ok(Some(AnchorOutcome { body, leaf }))
    }
}

fn halted(sight: &Sight) -> Option<String> {
    let parted =
        sight.diverged.map(|(kind, why)| format!("the log of {} and the chain have parted: {why}", kind.as_str()));
    parted.or_else(|| sight.unreachable.as_ref().map(|why| format!("the chain cannot be read: {why}")))
}

fn heads_of(sight: &Sight, log_id: LogId) -> LogHeads {
    let [latest, safe, finalized] = LEVELS.map(|level| {
        let head = head_at(sight.heads.get(&log_id)?, level)?;
        let event = sight.made_by.get(&(log_id, level))?;
        let time = LogTime::from_micros(head.block_time.saturating_mul(1_000_000));
        let block = Block { number: event.block_number, hash: BlockHash::from_bytes(event.block_hash.0), time };
        let transaction = TransactionHash::from_bytes(event.tx_hash.0);
        Some(AnchorHead { seq: head.seq, size: head.size, root: head.root, epoch: head.epoch, transaction, block })
    });
    LogHeads { log_id, latest, safe, finalized }
}

fn block_of(block: &BlockRef) -> Block {
    let time = LogTime::from_micros(block.time.saturating_mul(1_000_000));
    Block { number: block.number, hash: BlockHash::from_bytes(block.hash.0), time }
}

/// Who signed for the log in a transaction.
fn authority_of(raw: &[u8], named: &Named, log: LogId) -> Option<Address> {
    let signed = SignedTransaction::decode(raw).ok()?;
    let call = AnchorCall::decode(&signed.transaction.data).ok()?;
    let part = call.anchors().iter().find(|part| part.log_id == log)?;
    part.authority(named.chain_id, named.contract).ok()
}

fn leaf_under(
    anchored: &AnchoredEvent,
    note: &str,
    (leaf, index): (LeafHash, Index),
    path: Vec<NodeHash>,
) -> Result<AnchorLeaf, AnchorPortError> {
    if *hash::note(note).as_bytes() != anchored.note_hash {
        return Err(failed("the anchored checkpoint is not the one that was published at its size"));
    }
    // Of the checkpoint, the call holds size and root only.
    let checkpoint = Checkpoint::new("", anchored.size, anchored.root);
    let AnchoredLeaf { log_id, seq, checkpoint, inclusion_path, call } =
        AnchoredLeaf::assemble(anchored.log_id, anchored.seq, (note, &checkpoint), (leaf, index), path);
    Ok(AnchorLeaf { log_id, seq, checkpoint, inclusion_path, call })
}

impl AnchorPort for Port {
    fn status(&self) -> AnchorStatus {
        let chains = self.0.chains.iter().enumerate();
        AnchorStatus {
            policy: self.0.policy(),
            anchored: self.0.reader.ladder().anchored,
            chains: chains.map(|(at, named)| self.chain(named, &self.0.sight(at))).collect(),
        }
    }

    fn proofs(&self, index: Index) -> Result<Vec<AnchorProof>, AnchorPortError> {
        let mut proofs = Vec::new();
        for (at, named) in self.0.chains.iter().enumerate() {
            let sight = self.0.sight(at);
            if sight.diverged.is_some() {
                continue;
            }
            let holds = |anchored: &&Anchored| anchored.events.size.holds(index);
            let surest = LEVELS.iter().rev().filter_map(|level| sight.anchors.get(level)).find(holds);
            if let Some(anchored) = surest {
                proofs.extend(self.proof(named, anchored, index)?);
            }
        }
        Ok(proofs)
    }

    fn subscribe(&self) -> watch::Receiver<Vec<SeenHead>> {
        self.0.subscribe()
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let sights: Vec<_> = self.0.chains.iter().enumerate().map(|(at, named)| (named, self.0.sight(at))).collect();
        let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Sight) -> u64| {
            let _ = writeln!(out, "# HELP tally_anchor_{name} {help}\n# TYPE tally_anchor_{name} {kind}");
            for (named, sight) in &sights {
                let _ = writeln!(out, "tally_anchor_{name}{{chain=\"{}\"}} {}", named.name, value(sight));
            }
        };
        family("lag_events", "gauge", "Signed entries that the chain does not hold.", &|sight| self.lag(sight).0);
        family("lag_seconds", "gauge", "Seconds since the chain held everything.", &|sight| self.lag(sight).1);
        family("diverged", "gauge", "1 if the chain holds something else than the log.", &|sight| {
            u64::from(sight.diverged.is_some())
        });
        family("reachable", "gauge", "1 if the last look at the chain succeeded.", &|sight| {
            u64::from(sight.unreachable.is_none() && sight.looked_at.is_some())
        });
        family("look_failures_total", "counter", "Looks at the chain that failed.", &|sight| sight.failures);
        family("reorganised_total", "counter", "Anchors that a reorganisation took back.", &|sight| sight.reorganised);
        let events = log_id(&self.0.ledger, LogKind::Events);
        for level in LEVELS {
            let name = format!("{}_size", level.as_str());
            family(&name, "gauge", "Entries of the log of events that the chain holds at this level.", &|sight| {
                let head = sight.heads.get(&events).and_then(|heads| head_at(heads, level));
                head.map_or(0, |head| head.size.get())
            });
        }
        out
    }
}
