//! One chain's worker: looks, settles, decides, acts.
//!
//! Takes a chain, the logs' source, two keys and a journal; moves each anchor through
//! `Planned -> Signed (durable) -> Submitted -> Included -> Safe -> Finalized`, back to `Submitted` on a reorganisation, and to a
//! halt that only an operator ends when a nonce was used by somebody else or the logs have parted. Signed bytes are durable
//! before they are sent, and sending them again is harmless; so a crash anywhere is a restart. Starting is reconciling: there
//! is no other start path.
//!
//! The truth is the contract's head at `latest`, `safe` and `finalized`, not a receipt and not a timer.

mod observe;
mod settle;
mod sign;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chain::{Chain, Level, Wei};
use crate::clock::Clock;
use crate::config::ChainConfig;
use crate::error::{AnchorError, ChainError, Class, Halt, Refusal};
use crate::failpoint;
use crate::fees::Fee;
use crate::ledger::{Journal, Slot, SlotState};
use crate::metrics::Metrics;
use crate::schedule::{self, Action, Because, Live, Situation};
use crate::signer::{Address, Signer};
use crate::source::{LogId, LogKind, LogSource};
use crate::uses::UseLog;

use observe::{Lag, Sight};

/// A signer that failed is asked again after at most this.
const SIGNER_BACKOFF_MAX_MS: u64 = 60_000;

/// What a worker is made of.
#[derive(Clone)]
pub struct Parts {
    /// The chain's configuration.
    pub config: ChainConfig,
    /// The logs, in the order in which one call anchors them.
    pub logs: Vec<(LogKind, LogId)>,
    /// The chain.
    pub chain: Arc<dyn Chain>,
    /// The logs' checkpoints and proofs.
    pub source: Arc<dyn LogSource>,
    /// The key that pays gas.
    pub gas_key: Arc<dyn Signer>,
    /// The key of the logs' authority.
    pub authority: Arc<dyn Signer>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where numbers go.
    pub metrics: Arc<Metrics>,
}

/// The worker of one chain.
pub struct Worker {
    parts: Parts,
    journal: Journal,
    uses: UseLog,
    memory: Memory,
}

/// What a restart may forget.
#[derive(Debug, Default)]
struct Memory {
    reconciled_ms: Option<u64>,
    unexplained: u32,
    planned_ms: Option<u64>,
    gas: Option<u64>,
    data_fee: Wei,
    signer_away_until_ms: Option<u64>,
    signer_backoff_ms: u64,
    lag: Lag,
}

impl Worker {
    /// Opens the journal. Asks nobody anything yet.
    ///
    /// # Errors
    /// The configuration is wrong, another worker runs on the folder, or the journal is damaged.
    pub fn open(parts: Parts, folder: &Path) -> Result<Self, AnchorError> {
        parts.config.check()?;
        if parts.logs.is_empty() {
            return Err(AnchorError::Config("there is no log to anchor".to_owned()));
        }
        let account = parts.gas_key.address();
        let journal = Journal::open(folder, parts.config.chain_id, account, parts.config.contract)?;
        let uses = UseLog::in_folder(folder);
        Ok(Self { parts, journal, uses, memory: Memory::default() })
    }

    /// Whether this is the configured chain and contract (S-145).
    ///
    /// # Errors
    /// `WrongChain`, `WrongContract`, or no answer.
    pub async fn check_identity(&self) -> Result<(), AnchorError> {
        let config = &self.parts.config;
        let found = self.parts.chain.identity().await?;
        if found.chain_id != config.chain_id {
            return Err(AnchorError::WrongChain { expected: config.chain_id, found: found.chain_id });
        }
        if found.code_hash != Some(config.code_hash) {
            return Err(AnchorError::WrongContract);
        }
        Ok(())
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Lets a halted worker go on: only an operator who has looked calls this.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_halt(&mut self) -> Result<(), AnchorError> {
        self.memory.unexplained = 0;
        self.journal.clear_halt()
    }

    /// Works until it is told to stop, or until an error that only an operator can end. A halt is not an error: the worker
    /// stays, signs nothing and says so.
    ///
    /// # Errors
    /// Wrong chain or contract, or a disk that cannot be trusted.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), AnchorError> {
        loop {
            let until_ms = match self.step().await {
                Ok(until_ms) => until_ms,
                Err(error) if error.class() == Class::Retry => {
                    self.on_error(&error);
                    self.now() + self.parts.config.poll_ms
                }
                Err(error) => return Err(error),
            };
            let pause = Duration::from_millis(until_ms.saturating_sub(self.now()).min(self.parts.config.poll_ms));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => return Ok(()),
            }
            if *stop.borrow() {
                return Ok(());
            }
        }
    }

    /// One round: reads the chain and the logs, settles what has landed, and takes one action. Gives the time of the next.
    ///
    /// # Errors
    /// Of class retry: nothing was lost, the next round begins anew. Of another class: as [`Worker::run`].
    pub async fn step(&mut self) -> Result<u64, AnchorError> {
        let reconcile = self.reconcile_is_due();
        if reconcile {
            self.check_identity().await?;
        }
        let sight = self.observe().await?;
        self.journal.begin(sight.latest.nonce)?;
        if self.journal.halted().is_none() {
            if let Some(halt) = sight.divergence() {
                self.halt(halt)?;
            } else {
                self.settle(&sight, reconcile).await?;
            }
        }
        if reconcile {
            self.memory.reconciled_ms = Some(self.now());
        }
        self.count_unexplained(&sight);
        let situation = self.situation(&sight).await?;
        let action = schedule::decide(&situation);
        let next_ms = self.act(&sight, &action).await;
        self.publish(&sight, &action);
        next_ms
    }

    async fn act(&mut self, sight: &Sight, action: &Action) -> Result<u64, AnchorError> {
        let look = self.now() + self.parts.config.poll_ms;
        match action {
            Action::Wait(until_ms, _) => Ok(*until_ms),
            Action::Settle => Ok(look),
            Action::Halt(halt) => {
                if self.journal.halted().is_none() {
                    self.halt(halt.clone())?;
                }
                Ok(look)
            }
            Action::Plan(fee) => self.plan(sight, *fee).await,
            Action::Replace(fee) => self.replace(sight, *fee).await,
            Action::Rebroadcast => self.rebroadcast().await,
        }
    }

    /// Opens a slot: planned, signed, durable, sent.
    async fn plan(&mut self, sight: &Sight, fee: Fee) -> Result<u64, AnchorError> {
        let now = self.now();
        let nonce = sight.latest.nonce;
        failpoint::hit("anchor.planned");
        let Some(candidate) = self.candidate(sight, nonce, fee, None).await? else {
            return Ok(now + self.parts.config.poll_ms);
        };
        let slot = Slot {
            chain_id: self.parts.config.chain_id,
            account: self.account(),
            nonce,
            epoch: self.parts.config.epoch,
            opened_ms: now,
            reorgs: 0,
            state: SlotState::Signed,
            candidates: vec![candidate],
        };
        self.journal.put(slot)?;
        failpoint::hit("anchor.persisted");
        self.memory.planned_ms = Some(now);
        self.rebroadcast().await
    }

    /// Signs a dearer candidate with the newest checkpoints for the slot alive.
    async fn replace(&mut self, sight: &Sight, fee: Fee) -> Result<u64, AnchorError> {
        let look = self.now() + self.parts.config.poll_ms;
        let Some(live) = self.journal.live().cloned() else { return Ok(look) };
        let Some(candidate) = self.candidate(sight, live.nonce, fee, Some(live.nonce)).await? else {
            return Ok(look);
        };
        let mut slot = live;
        slot.candidates.push(candidate);
        self.journal.put(slot)?;
        failpoint::hit("anchor.persisted");
        self.count(|status| status.replaced += 1);
        self.rebroadcast().await
    }

    /// Sends the newest candidate of every slot that is in no block, lowest nonce first. Idempotent: the bytes are the same.
    async fn rebroadcast(&mut self) -> Result<u64, AnchorError> {
        let waiting: Vec<Slot> = self.journal.slots().filter(|slot| slot.state.landed().is_none()).cloned().collect();
        for mut slot in waiting {
            let Some(candidate) = slot.candidates.last_mut() else { continue };
            let answer = self.parts.chain.send(candidate.raw.clone()).await;
            failpoint::hit("anchor.sent");
            self.count(|status| status.sent += 1);
            if !self.taken(answer)? {
                continue;
            }
            candidate.sent_ms = Some(self.now());
            slot.state = SlotState::Submitted;
            self.journal.put(slot)?;
            failpoint::hit("anchor.sent_recorded");
        }
        Ok(self.now() + self.parts.config.poll_ms)
    }

    /// Whether the candidate counts as sent, after this answer of the chain.
    fn taken(&self, answer: Result<(), ChainError>) -> Result<bool, AnchorError> {
        match answer {
            // Something of ours is in the pool, or the price was overtaken: the ladder raises it when its time comes.
            Ok(()) | Err(ChainError::Refused(Refusal::Underpriced | Refusal::FeeTooLow)) => Ok(true),
            // A block has the nonce: the next look says which transaction it was.
            Err(ChainError::Refused(Refusal::NonceTooLow)) => Ok(false),
            Err(ChainError::Refused(Refusal::InsufficientFunds)) => {
                self.count(|status| status.balance_alarm = true);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn situation(&mut self, sight: &Sight) -> Result<Situation<'_>, AnchorError> {
        let now_ms = self.now();
        let live = self.live().await?;
        let prices = self.parts.chain.prices().await?;
        let balance = self.parts.chain.balance(self.account()).await?;
        let gas_max = self.parts.config.fees.gas_max;
        let config = &self.parts.config;
        let low = balance < config.fees.balance_floor();
        self.count(|status| (status.balance_wei, status.balance_alarm) = (balance, low));
        Ok(Situation {
            config,
            now_ms,
            chain_nonce: sight.latest.nonce,
            own_nonce: self.own_nonce(),
            unexplained: self.memory.unexplained,
            unfinal: self.journal.open_slots(),
            waiting: sight.waiting(),
            last_anchor_ms: self.last_anchor_ms(sight),
            prices,
            gas: self.memory.gas.unwrap_or(gas_max),
            data_fee: self.memory.data_fee,
            spent: self.journal.spent(now_ms, live.map(|live| live.nonce)),
            balance,
            halted: self.journal.halted().cloned(),
            signer_away_until_ms: self.memory.signer_away_until_ms,
            live,
        })
    }

    async fn live(&self) -> Result<Option<Live>, AnchorError> {
        let Some(slot) = self.journal.live() else { return Ok(None) };
        let Some(newest) = slot.newest() else { return Ok(None) };
        let known = newest.sent_ms.is_some() && self.parts.chain.knows(newest.tx_hash).await?;
        Ok(Some(Live {
            nonce: slot.nonce,
            sent: newest.sent_ms.is_some(),
            known,
            opened_ms: slot.opened_ms,
            created_ms: newest.created_ms,
            sent_ms: newest.sent_ms.unwrap_or(0),
            fee: newest.fee(),
            gas: newest.gas,
            data_fee: newest.data_fee,
        }))
    }

    /// The nonce after the last of ours that landed.
    fn own_nonce(&self) -> u64 {
        let live = self.journal.live().map(|slot| slot.nonce);
        live.or_else(|| self.journal.next_nonce()).unwrap_or(0)
    }

    /// The newer of what this process planned and what the chain says, so that a restart does not anchor too early.
    fn last_anchor_ms(&self, sight: &Sight) -> Option<u64> {
        let heads = sight.latest.heads.iter().filter(|head| head.seq > 0);
        let on_chain = heads.map(|head| head.block_time.saturating_mul(1000)).max();
        on_chain.max(self.memory.planned_ms).map(|last| last.min(self.now()))
    }

    fn reconcile_is_due(&self) -> bool {
        let every = self.parts.config.reconcile_ms;
        self.memory.reconciled_ms.is_none_or(|last| self.now().saturating_sub(last) >= every)
    }

    fn count_unexplained(&mut self, sight: &Sight) {
        let foreign = sight.latest.nonce > self.own_nonce();
        self.memory.unexplained = if foreign { self.memory.unexplained + 1 } else { 0 };
    }

    fn halt(&mut self, halt: Halt) -> Result<(), AnchorError> {
        tracing::error!(chain = %self.parts.config.name, %halt, "anchoring is halted until an operator clears it");
        self.journal.halt(halt)?;
        self.count(|status| status.halts += 1);
        Ok(())
    }

    fn on_error(&self, error: &AnchorError) {
        tracing::warn!(chain = %self.parts.config.name, %error, "a round of anchoring failed and will be tried again");
        let why = error.to_string();
        self.count(|status| {
            status.errors += 1;
            status.why = why;
        });
        let folder = self.journal.folder().join("status.json");
        // The status file is for looking at; that it cannot be written shows in the next durable write.
        let _ = self.parts.metrics.write_status(&self.parts.config.name, &folder);
    }

    fn publish(&mut self, sight: &Sight, action: &Action) {
        let status = self.status(sight, action);
        self.parts.metrics.update(&self.parts.config.name, |old| status(old));
        let file = self.journal.folder().join("status.json");
        // As above.
        let _ = self.parts.metrics.write_status(&self.parts.config.name, &file);
    }

    fn count(&self, change: impl FnOnce(&mut crate::metrics::ChainStatus)) {
        self.parts.metrics.update(&self.parts.config.name, change);
    }

    fn account(&self) -> Address {
        self.parts.gas_key.address()
    }

    fn log_ids(&self) -> Vec<LogId> {
        self.parts.logs.iter().map(|(_, id)| *id).collect()
    }

    fn now(&self) -> u64 {
        self.parts.clock.now_ms()
    }
}

/// Why nothing is done, for a person.
fn because(because: Because) -> &'static str {
    match because {
        Because::NothingNew => "no leaf waits",
        Because::NotDue => "the interval is not over",
        Because::Underway => "a transaction is on its way",
        Because::OverBudget => "the day's budget is used up",
        Because::NoMoney => "the account cannot pay",
        Because::NotFinal => "too many anchors are not final",
        Because::SignerAway => "the signer does not answer",
    }
}

/// Runs the workers of several chains, each a task of its own: one chain's trouble is no other's.
///
/// # Errors
/// Never as a whole; each worker's end stands at its place.
pub async fn run_all(workers: Vec<Worker>, stop: &watch::Receiver<bool>) -> Vec<Result<(), AnchorError>> {
    let mut tasks = JoinSet::new();
    for (at, worker) in workers.into_iter().enumerate() {
        let stop = stop.clone();
        tasks.spawn(async move { (at, worker.run(stop).await) });
    }
    let mut ends = tasks.join_all().await;
    ends.sort_by_key(|(at, _)| *at);
    ends.into_iter().map(|(_, end)| end).collect()
}

const LEVELS: [Level; 2] = [Level::Safe, Level::Finalized];
