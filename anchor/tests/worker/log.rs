//! Two logs whose leaves follow from their numbers, so that a size is all there is to know; and ways to forge them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tally_anchor::source::{Answer, LogKind, LogSource, Published, SourceError};
use tally_merkle::{NodeSource, consistency_path, inclusion_path, root_at};
use tally_protocol::hash::{LeafHash, LedgerId, LogId, NodeHash, RootHash, leaf, log_id, node};
use tally_protocol::id::{Index, TreeSize};

/// What was done to a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forgery {
    /// This leaf, if any, is another one.
    pub(crate) rewritten: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    sizes: [u64; 2],
    forgery: Forgery,
    away: bool,
}

/// Sizes in memory, or in a file that two processes share.
pub(crate) struct TestLog {
    state: Mutex<State>,
    file: Option<PathBuf>,
}

struct Leaves {
    kind: LogKind,
    size: u64,
    forgery: Forgery,
}

impl NodeSource for Leaves {
    type Error = String;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, String> {
        if (index + 1) << level > self.size {
            return Err("beyond the log".to_owned());
        }
        if level == 0 {
            return Ok(leaf_of(self.kind, index, self.forgery).node());
        }
        Ok(node(&self.node(level - 1, index * 2)?, &self.node(level - 1, index * 2 + 1)?))
    }
}

pub(crate) fn leaf_of(kind: LogKind, index: u64, forgery: Forgery) -> LeafHash {
    let forged = if kind == LogKind::Events && forgery.rewritten == Some(index) { " forged" } else { "" };
    leaf(format!("{} {index}{forged}", kind.as_str()).as_bytes())
}

fn at(kind: LogKind) -> usize {
    usize::from(kind == LogKind::Outcomes)
}

impl TestLog {
    pub(crate) fn new(events: u64, outcomes: u64) -> Self {
        Self { state: Mutex::new(State { sizes: [events, outcomes], ..State::default() }), file: None }
    }

    /// Reads its sizes from a file each time.
    pub(crate) fn in_file(file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..Self::new(0, 0) }
    }

    pub(crate) fn write_sizes(file: &Path, events: u64, outcomes: u64) {
        let temporary = file.with_extension("new");
        std::fs::write(&temporary, format!("{events} {outcomes}")).unwrap();
        std::fs::rename(temporary, file).unwrap();
    }

    pub(crate) fn grow(&self, events: u64, outcomes: u64) {
        let mut state = self.state.lock().unwrap();
        state.sizes[0] += events;
        state.sizes[1] += outcomes;
    }

    pub(crate) fn truncate(&self, events: u64) {
        self.state.lock().unwrap().sizes[0] = events;
    }

    pub(crate) fn rewrite(&self, index: Option<u64>) {
        self.state.lock().unwrap().forgery = Forgery { rewritten: index };
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
    }

    fn state(&self) -> State {
        let mut state = *self.state.lock().unwrap();
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file).unwrap();
            let (events, outcomes) = text.split_once(' ').unwrap();
            state.sizes = [events.parse().unwrap(), outcomes.parse().unwrap()];
        }
        state
    }

    fn leaves(&self, kind: LogKind) -> Leaves {
        let state = self.state();
        Leaves { kind, size: state.sizes[at(kind)], forgery: state.forgery }
    }

    pub(crate) fn size(&self, kind: LogKind) -> u64 {
        self.state().sizes[at(kind)]
    }

    pub(crate) fn root(&self, kind: LogKind, size: u64) -> RootHash {
        root_at(&self.leaves(kind), TreeSize::new(size)).unwrap()
    }

    pub(crate) fn published(&self, kind: LogKind) -> Option<Published> {
        let size = self.size(kind);
        let root = self.root(kind, size);
        let note = format!("test/{}\n{size}\n{root}\n", kind.as_str());
        (size > 0).then(|| Published { size: TreeSize::new(size), root, note })
    }

    pub(crate) fn path(&self, kind: LogKind, index: u64, size: u64) -> Vec<NodeHash> {
        inclusion_path(&self.leaves(kind), Index::new(index), TreeSize::new(size)).unwrap()
    }

    pub(crate) fn proof(&self, kind: LogKind, old: u64, new: u64) -> Vec<NodeHash> {
        consistency_path(&self.leaves(kind), TreeSize::new(old), TreeSize::new(new)).unwrap()
    }
}

impl LogSource for TestLog {
    fn newest(&self, kind: LogKind) -> Answer<'_, Option<Published>> {
        Box::pin(async move {
            if self.state().away {
                return Err(SourceError::Unreachable("it is away".to_owned()));
            }
            Ok(self.published(kind))
        })
    }

    fn consistency(&self, kind: LogKind, old: TreeSize, new: TreeSize) -> Answer<'_, Vec<NodeHash>> {
        Box::pin(async move {
            consistency_path(&self.leaves(kind), old, new).map_err(|_| SourceError::NoProof { old, new })
        })
    }
}

pub(crate) fn logs() -> Vec<(LogKind, LogId)> {
    let ledger = LedgerId::from_bytes([5; 32]);
    [LogKind::Events, LogKind::Outcomes].map(|kind| (kind, log_id(&ledger, kind))).to_vec()
}
