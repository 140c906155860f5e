//! The ladder: `ordered >= durable >= folded >= signed >= acknowledged`, `signed >= published >= anchored`, and
//! `signed >= applied`.
//!
//! Each rung is the size of the log prefix that reached it, has one writer (the stage that owns it), and never falls
//! (law 6). Whoever waits for a rung subscribes; a reader that asks above a rung is told which one is missing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tally_protocol::id::TreeSize;
use tokio::sync::watch;

/// One reading of all rungs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ladder {
    /// Entries that have an index.
    pub ordered: TreeSize,
    /// Entries whose run is synced to disk.
    pub durable: TreeSize,
    /// Entries that are in the tree.
    pub folded: TreeSize,
    /// Entries under a signed checkpoint.
    pub signed: TreeSize,
    /// Entries whose receipts were given out.
    pub acknowledged: TreeSize,
    /// Entries under a published checkpoint.
    pub published: TreeSize,
    /// Entries whose outcomes are stored and signed; 0 on a node without a follower.
    pub applied: TreeSize,
    /// Entries under a published checkpoint that chains hold for good; 0 on a node that watches none.
    pub anchored: TreeSize,
}

/// Whether the node takes events, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Takes events.
    Running,
    /// Serves reads; does not order and does not sign. The text says what is missing.
    ReadOnly(String),
    /// A durable write or a signature failed; nobody knows what the disk holds. Restart recovers.
    Poisoned(String),
    /// Finishing what it has; takes nothing new.
    Draining,
}

/// Names of the rungs, for metrics and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// See [`Ladder::ordered`].
    Ordered,
    /// See [`Ladder::durable`].
    Durable,
    /// See [`Ladder::folded`].
    Folded,
    /// See [`Ladder::signed`].
    Signed,
    /// See [`Ladder::acknowledged`].
    Acknowledged,
    /// See [`Ladder::published`].
    Published,
    /// See [`Ladder::applied`].
    Applied,
    /// See [`Ladder::anchored`].
    Anchored,
}

impl Rung {
    /// All rungs, in ladder order.
    pub const ALL: [Self; 8] = [
        Self::Ordered,
        Self::Durable,
        Self::Folded,
        Self::Signed,
        Self::Acknowledged,
        Self::Published,
        Self::Applied,
        Self::Anchored,
    ];

    /// The rung's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Durable => "durable",
            Self::Folded => "folded",
            Self::Signed => "signed",
            Self::Acknowledged => "acknowledged",
            Self::Published => "published",
            Self::Applied => "applied",
            Self::Anchored => "anchored",
        }
    }
}

impl Ladder {
    /// One rung's reading.
    #[must_use]
    pub const fn rung(&self, rung: Rung) -> TreeSize {
        match rung {
            Rung::Ordered => self.ordered,
            Rung::Durable => self.durable,
            Rung::Folded => self.folded,
            Rung::Signed => self.signed,
            Rung::Acknowledged => self.acknowledged,
            Rung::Published => self.published,
            Rung::Applied => self.applied,
            Rung::Anchored => self.anchored,
        }
    }
}

/// The rungs and the node's state.
#[derive(Debug)]
pub struct Watermarks {
    rungs: [AtomicU64; 8],
    feed: watch::Sender<Ladder>,
    state: Mutex<NodeState>,
}

impl Watermarks {
    /// The ladder of a log that recovery found: durable and folded to `size`, signed and published as stated.
    #[must_use]
    pub fn new(size: TreeSize, signed: TreeSize, published: TreeSize) -> Self {
        let at = |rung: Rung| match rung {
            Rung::Ordered | Rung::Durable | Rung::Folded => AtomicU64::new(size.get()),
            Rung::Signed | Rung::Acknowledged => AtomicU64::new(signed.get()),
            Rung::Published => AtomicU64::new(published.get()),
            Rung::Applied | Rung::Anchored => AtomicU64::new(0),
        };
        let this =
            Self { rungs: Rung::ALL.map(at), feed: watch::Sender::default(), state: Mutex::new(NodeState::Running) };
        this.feed.send_replace(this.ladder());
        this
    }

    /// Moves a rung up. Panics on a rung that would fall: the pipeline would be lying (law 6).
    pub(crate) fn raise(&self, rung: Rung, to: TreeSize) {
        let before = self.rungs[rung as usize].swap(to.get(), Ordering::AcqRel);
        assert!(before <= to.get(), "rung {} fell from {before} to {to}", rung.name());
        if matches!(rung, Rung::Signed | Rung::Acknowledged | Rung::Published | Rung::Applied | Rung::Anchored) {
            self.feed.send_replace(self.ladder());
        }
    }

    /// One rung.
    #[must_use]
    pub fn get(&self, rung: Rung) -> TreeSize {
        TreeSize::new(self.rungs[rung as usize].load(Ordering::Acquire))
    }

    /// All rungs. Read from the top of the ladder down, so that a reading never shows a lower rung above a higher
    /// one that moved in between.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        let anchored = self.get(Rung::Anchored);
        let applied = self.get(Rung::Applied);
        let published = self.get(Rung::Published);
        let acknowledged = self.get(Rung::Acknowledged);
        let signed = self.get(Rung::Signed);
        let folded = self.get(Rung::Folded);
        let durable = self.get(Rung::Durable);
        let ordered = self.get(Rung::Ordered);
        Ladder { ordered, durable, folded, signed, acknowledged, published, applied, anchored }
    }

    /// Told whenever signed, acknowledged, published, applied or anchored moves.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Ladder> {
        self.feed.subscribe()
    }

    /// Whether the node takes events, and why not.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.state.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |state| state.clone())
    }

    /// Leaves the running state. Poison is final; nothing else replaces it.
    pub(crate) fn enter(&self, next: NodeState) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !matches!(*state, NodeState::Poisoned(_)) {
            *state = next;
        }
        drop(state);
        self.feed.send_replace(self.ladder());
    }

    /// Poisons the node.
    pub(crate) fn poison(&self, why: &str) {
        self.enter(NodeState::Poisoned(why.to_owned()));
    }

    /// Whether the pipeline may go on: running, or finishing what it has.
    #[must_use]
    pub fn may_work(&self) -> bool {
        matches!(self.state(), NodeState::Running | NodeState::Draining)
    }
}
