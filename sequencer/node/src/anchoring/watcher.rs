//! Looks at the chains: what each holds of the logs, whether that is what the logs say, and how far it is behind.
//!
//! One task a chain. Takes a chain without any key and the logs of this process; gives what [`Seen`] holds, the heads for
//! feeds, and the rung `anchored`: the size that enough chains hold at the wanted level, once its root was compared with the
//! log's. A chain that holds something else than the log is an alarm and moves nothing; nobody but an operator decides what
//! it means.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally_anchor::chain::{AnchoredEvent, BlockRef, Chain, Hash32, Level};
use tally_anchor::policy::Policy;
use tally_anchor::source::{Divergence, LogKind};
use tally_anchor::watch::{Heads, Material, Watcher};
use tally_api::anchor::{AnchorLevel, AnchorPolicy};
use tally_core::{AnchoredMark, Clock, Reader};
use tally_gateway::SeenHead;
use tally_protocol::hash::{Address, LedgerId, LogId, TransactionHash, log_id};
use tally_protocol::id::TreeSize;
use tokio::sync::watch;

use super::source::NodeLogs;

/// Anchors of which the transaction is kept: the newest at each level, and those that were that lately.
const MATERIAL_MAX: usize = 64;

/// The levels, from the quickest word to the surest.
pub(super) const LEVELS: [Level; 3] = [Level::Latest, Level::Safe, Level::Finalized];

/// What to watch.
pub struct WatchPlan {
    /// The chains, by name.
    pub chains: Vec<WatchedChain>,
    /// How many of them must hold an event.
    pub needed: usize,
    /// How sure each of them must be.
    pub level: Level,
}

/// One chain.
pub struct WatchedChain {
    /// The operator's name for it.
    pub name: String,
    /// EIP-155.
    pub chain_id: u64,
    /// The contract.
    pub contract: Address,
    /// Keccak-256 of its code.
    pub code_hash: Hash32,
    /// The block from which its events are read: the contract's own.
    pub from_block: u64,
    /// Between two looks.
    pub poll: Duration,
    /// The chain.
    pub chain: Arc<dyn Chain>,
}

impl WatchedChain {
    /// Whether the providers speak of this chain and this contract, if they answer (S-145).
    ///
    /// # Errors
    /// They speak of another one; in words.
    pub async fn check_identity(&self) -> Result<(), String> {
        let found = match self.chain.identity().await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(chain = self.name, %error, "the chain does not answer; the node starts all the same");
                return Ok(());
            }
        };
        let (name, expected) = (&self.name, self.chain_id);
        if found.chain_id != expected {
            return Err(format!(
                "chain {name} is configured as {expected}, and its providers are of {}",
                found.chain_id
            ));
        }
        if found.code_hash != Some(self.code_hash) {
            return Err(format!("chain {name} has no such contract at {}, or another one", self.contract));
        }
        Ok(())
    }
}

/// An anchor with its transaction, and the anchor of the log of outcomes in the same one.
#[derive(Debug, Clone)]
pub(super) struct Anchored {
    pub(super) events: AnchoredEvent,
    pub(super) outcomes: Option<AnchoredEvent>,
    pub(super) block: BlockRef,
    pub(super) raw: Option<Vec<u8>>,
}

/// What is known of a chain.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// Heads of the log of events and of outcomes, as read.
    pub(super) heads: BTreeMap<LogId, Heads>,
    /// The anchor behind each head of the log of events, by level.
    pub(super) anchors: BTreeMap<Level, Anchored>,
    /// The event that made each head, by log and level: for the transaction's name.
    pub(super) made_by: BTreeMap<(LogId, Level), AnchoredEvent>,
    /// The chain's word against the log's, if they have parted.
    pub(super) diverged: Option<(LogKind, Divergence)>,
    /// Why the last look failed.
    pub(super) unreachable: Option<String>,
    /// Looks that failed, in all.
    pub(super) failures: u64,
    /// Anchors that a reorganisation took back, in all.
    pub(super) reorganised: u64,
    /// When the last look succeeded, µs since 1970.
    pub(super) looked_at: Option<u64>,
}

impl Sight {
    /// The size of the log of events that the chain holds at a level, 0 while it holds something else than the log.
    fn size(&self, log: &LogId, level: Level) -> TreeSize {
        let heads = self.heads.get(log).filter(|_| self.diverged.is_none());
        heads.and_then(|heads| head_at(heads, level)).map_or(TreeSize::new(0), |head| head.size)
    }
}

pub(super) fn head_at(heads: &Heads, level: Level) -> Option<tally_anchor::chain::LogHead> {
    let at = match level {
        Level::Latest => Some(heads.latest),
        Level::Safe => heads.safe,
        Level::Finalized => heads.finalized,
    };
    at.map(|(head, _)| head).filter(|head| head.size.get() > 0)
}

/// What is being watched: shared by the tasks and the port.
pub struct Watching {
    pub(super) ledger: LedgerId,
    pub(super) reader: Reader,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chains: Vec<Named>,
    policy: Policy,
    needed: usize,
    level: Level,
    seen: Mutex<Vec<Sight>>,
    heads: watch::Sender<Vec<SeenHead>>,
    mark: Mutex<AnchoredMark>,
}

/// A chain's name, to people and to machines.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) chain_id: u64,
    pub(super) contract: Address,
}

impl Watching {
    /// Prepares; asks no chain yet.
    ///
    /// # Errors
    /// The policy needs more chains than there are.
    pub fn new(
        plan: WatchPlan,
        reader: Reader,
        clock: Arc<dyn Clock>,
        mark: AnchoredMark,
    ) -> Result<(Arc<Self>, Vec<WatchedChain>), tally_anchor::error::AnchorError> {
        let policy = Policy::new(plan.needed, plan.chains.len())?;
        let named = |chain: &WatchedChain| Named {
            name: chain.name.clone(),
            chain_id: chain.chain_id,
            contract: chain.contract,
        };
        let this = Self {
            ledger: reader.ledger().ledger_id,
            reader,
            clock,
            chains: plan.chains.iter().map(named).collect(),
            policy,
            needed: plan.needed,
            level: plan.level,
            seen: Mutex::new(vec![Sight::default(); plan.chains.len()]),
            heads: watch::Sender::default(),
            mark: Mutex::new(mark),
        };
        Ok((Arc::new(this), plan.chains))
    }

    /// Watches until it is dropped.
    pub async fn run(self: Arc<Self>, chains: Vec<WatchedChain>) {
        let mut tasks = tokio::task::JoinSet::new();
        for (at, chain) in chains.into_iter().enumerate() {
            tasks.spawn(Arc::clone(&self).watch(at, chain));
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn watch(self: Arc<Self>, at: usize, chain: WatchedChain) {
        let logs = [LogKind::Events, LogKind::Outcomes].map(|kind| (kind, log_id(&self.ledger, kind))).to_vec();
        let mut look = Look {
            watcher: Watcher::new(Arc::clone(&chain.chain), logs, chain.from_block),
            logs: NodeLogs(self.reader.clone()),
            material: BTreeMap::new(),
        };
        loop {
            self.once(at, &chain, &mut look).await;
            tokio::time::sleep(chain.poll).await;
        }
    }

    async fn once(&self, at: usize, chain: &WatchedChain, look: &mut Look) {
        let mut sight = self.sight(at);
        match look.at(&mut sight).await {
            Ok(()) => {
                if sight.unreachable.take().is_some() {
                    tracing::info!(chain = chain.name, "the chain answers again");
                }
                sight.looked_at = Some(self.clock.wall().micros());
            }
            Err(why) => {
                if sight.unreachable.is_none() {
                    tracing::warn!(chain = chain.name, why, "the chain cannot be read; the log goes on");
                }
                sight.failures += 1;
                sight.unreachable = Some(why);
            }
        }
        if let Some((kind, divergence)) = sight.diverged.filter(|now| self.sight(at).diverged != Some(*now)) {
            tracing::error!(
                chain = chain.name,
                log = kind.as_str(),
                %divergence,
                "the chain holds something else than this log: stop, and find out which one is right"
            );
        }
        self.sights()[at] = sight;
        self.settle();
    }

    /// The rung, and the heads for feeds, from what all chains hold.
    fn settle(&self) {
        let events = log_id(&self.ledger, LogKind::Events);
        let sights = self.sights().clone();
        let sizes: Vec<_> = sights.iter().map(|sight| sight.size(&events, self.level)).collect();
        let size = self.policy.anchored(&sizes);
        if !self.mark.lock().unwrap_or_else(PoisonError::into_inner).reach(size) {
            tracing::warn!(%size, "chains hold more than this node has published");
        }
        let mut heads = Vec::new();
        for (named, sight) in self.chains.iter().zip(&sights) {
            for level in LEVELS {
                let Some(event) = sight.made_by.get(&(events, level)) else { continue };
                heads.push(SeenHead {
                    chain_id: named.chain_id,
                    level: api_level(level),
                    size: event.size,
                    seq: event.seq,
                    transaction: TransactionHash::from_bytes(event.tx_hash.0),
                });
            }
        }
        self.heads.send_if_modified(|known| {
            let moved = *known != heads;
            *known = heads;
            moved
        });
    }

    fn sights(&self) -> MutexGuard<'_, Vec<Sight>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sight(&self, at: usize) -> Sight {
        self.sights()[at].clone()
    }

    pub(super) fn policy(&self) -> AnchorPolicy {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        AnchorPolicy { k: count(self.needed), n: count(self.chains.len()), level: api_level(self.level) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Vec<SeenHead>> {
        self.heads.subscribe()
    }
}

pub(super) const fn api_level(level: Level) -> AnchorLevel {
    match level {
        Level::Latest => AnchorLevel::Latest,
        Level::Safe => AnchorLevel::Safe,
        Level::Finalized => AnchorLevel::Finalized,
    }
}

/// One chain's watcher and what it fetched.
struct Look {
    watcher: Watcher,
    logs: NodeLogs,
    material: BTreeMap<(u64, u64), Material>,
}

impl Look {
    /// Looks once; what failed leaves what was seen before.
    async fn at(&mut self, sight: &mut Sight) -> Result<(), String> {
        let poll = self.watcher.poll().await.map_err(|error| error.to_string())?;
        sight.reorganised += poll.removed.len() as u64;
        let parted = self.watcher.fence(&self.logs).await.map_err(|error| error.to_string())?;
        let ladder = self.logs.0.ladder();
        // Outcomes that are being made, or made again, are not fewer for good.
        let is_late = |parted: &(LogKind, Divergence)| {
            *parted == (LogKind::Outcomes, Divergence::LogIsShorter) && ladder.applied < ladder.signed
        };
        sight.diverged = parted.into_iter().find(|parted| !is_late(parted));
        let ledger = self.logs.0.ledger().ledger_id;
        let (events, outcomes) = (log_id(&ledger, LogKind::Events), log_id(&ledger, LogKind::Outcomes));
        let heads = [events, outcomes].into_iter().filter_map(|id| Some((id, *self.watcher.heads(&id)?)));
        sight.heads = heads.collect();
        sight.made_by = [events, outcomes]
            .into_iter()
            .flat_map(|id| LEVELS.map(|level| (id, level)))
            .filter_map(|at| Some((at, self.made(&at.0, at.1)?.clone())))
            .collect();
        let mut anchors = BTreeMap::new();
        for level in LEVELS {
            let Some(event) = sight.made_by.get(&(events, level)).cloned() else { continue };
            let Material { anchor, block, raw, .. } = self.material(&event).await?;
            let sibling = |other: &&AnchoredEvent| other.log_id == outcomes && other.tx_hash == anchor.tx_hash;
            let outcomes = self.watcher.events().find(sibling).cloned();
            anchors.insert(level, Anchored { events: anchor, outcomes, block, raw });
        }
        sight.anchors = anchors;
        Ok(())
    }

    /// The event that made the head of a log at a level.
    fn made(&self, log: &LogId, level: Level) -> Option<&AnchoredEvent> {
        let head = head_at(self.watcher.heads(log)?, level)?;
        self.watcher.events().find(|event| event.log_id == *log && event.seq == head.seq && event.size == head.size)
    }

    async fn material(&mut self, event: &AnchoredEvent) -> Result<Material, String> {
        let at = (event.block_number, event.log_index);
        if let Some(known) = self.material.get(&at).filter(|known| known.anchor == *event) {
            return Ok(known.clone());
        }
        let material = self.watcher.material(event).await.map_err(|error| error.to_string())?;
        while self.material.len() >= MATERIAL_MAX {
            self.material.pop_first();
        }
        self.material.insert(at, material.clone());
        Ok(material)
    }
}
