//! The world around the core, with faults at will: clocks, the fence, signers.
//!
//! All of it outlives a node, as it does in the world. A fault is armed by a step and fires at the next use; a fault
//! that fired excuses a node that stops ([`Excuses`]), nothing else does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_core::{Clock, Fence, FenceError, FenceRecord};
use tally_protocol::key::{PublicKey, Signature, Signer, SignerError, SigningKey};
use tally_protocol::time::LogTime;
use tally_testkit::ManualClock;

/// Counts the injected faults that fired since the node started.
#[derive(Debug, Clone, Default)]
pub struct Excuses(Arc<AtomicU64>);

impl Excuses {
    /// A fault fired.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether any fired.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// A new node has none.
    pub fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Both clocks, moved by the simulation.
#[derive(Debug)]
pub struct SimClock {
    hands: ManualClock,
    /// Planted bug: the monotonic clock follows whoever sets the wall, so that no step is ever seen.
    blind: bool,
}

impl SimClock {
    /// Clocks whose wall shows `wall`.
    #[must_use]
    pub const fn new(wall: LogTime, blind: bool) -> Self {
        Self { hands: ManualClock::new(wall), blind }
    }

    /// Time passes.
    pub fn advance_micros(&self, by: u64) {
        self.hands.advance(core::time::Duration::from_micros(by));
    }

    /// Somebody sets the wall clock.
    pub fn step_wall(&self, by_micros: i64) {
        let wall = self.hands.wall().micros();
        self.hands.set_wall(LogTime::from_micros(wall.saturating_add_signed(by_micros)));
    }

    /// The monotonic clock as it is, whatever the node sees.
    #[must_use]
    pub fn true_monotonic_micros(&self) -> u64 {
        self.hands.monotonic_micros()
    }
}

impl Clock for SimClock {
    fn wall(&self) -> LogTime {
        self.hands.wall()
    }

    fn monotonic_micros(&self) -> u64 {
        if self.blind { self.hands.wall().micros() } else { self.hands.monotonic_micros() }
    }
}

/// What goes wrong at the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceFault {
    /// The store fails, and the record got there.
    StoreKept,
    /// The store fails, and the record did not get there.
    StoreLost,
    /// The record cannot be read.
    Load,
}

#[derive(Debug, Default)]
struct FenceState {
    record: Option<FenceRecord>,
    stores: u64,
    fault: Option<FenceFault>,
}

/// A fence that outlives nodes.
#[derive(Debug, Clone, Default)]
pub struct SimFence {
    state: Arc<Mutex<FenceState>>,
    excuses: Excuses,
    /// Planted bug: from this store on, the record is not kept.
    forgets_from: Option<u64>,
}

impl SimFence {
    /// An empty fence.
    #[must_use]
    pub fn new(excuses: Excuses, forgets_from: Option<u64>) -> Self {
        Self { state: Arc::default(), excuses, forgets_from }
    }

    /// An empty fence beside this one: what a copied data directory finds.
    #[must_use]
    pub fn none(&self) -> Self {
        Self { state: Arc::default(), ..self.clone() }
    }

    /// Arms a fault.
    pub fn arm(&self, fault: FenceFault) {
        self.locked().fault = Some(fault);
    }

    /// Takes back a fault that did not fire.
    pub fn disarm(&self) {
        self.locked().fault = None;
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> Option<FenceRecord> {
        self.locked().record
    }

    fn locked(&self) -> MutexGuard<'_, FenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> FenceError {
        self.excuses.add();
        FenceError::Damaged("injected".to_owned())
    }
}

impl Fence for SimFence {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        let mut state = self.locked();
        if state.fault == Some(FenceFault::Load) {
            state.fault = None;
            return Err(self.failure());
        }
        Ok(state.record)
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        let mut state = self.locked();
        state.stores += 1;
        let fault = state.fault.take_if(|fault| *fault != FenceFault::Load);
        let kept = fault != Some(FenceFault::StoreLost) && self.forgets_from.is_none_or(|from| state.stores < from);
        if kept {
            state.record = Some(*record);
        }
        if fault.is_some() { Err(self.failure()) } else { Ok(()) }
    }
}

/// A signer that can refuse once.
#[derive(Debug)]
pub struct SimSigner {
    key: SigningKey,
    refuses: AtomicBool,
    excuses: Excuses,
    /// Whether a refusal stops the node: the receipts' signer does, the published checkpoints' is asked again.
    stops: bool,
}

impl SimSigner {
    /// A signer of this key.
    #[must_use]
    pub const fn new(key: SigningKey, excuses: Excuses, stops: bool) -> Self {
        Self { key, refuses: AtomicBool::new(false), excuses, stops }
    }

    /// Whether it refuses the next time.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Signer for SimSigner {
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        if self.refuses.swap(false, Ordering::SeqCst) {
            if self.stops {
                self.excuses.add();
            }
            return Err(SignerError::Unavailable("injected".to_owned()));
        }
        Ok(self.key.sign(message))
    }
}
